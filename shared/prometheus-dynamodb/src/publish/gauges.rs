//! Checks that each declared gauge exists. A gauge whose name is misspelled would merge by the default, and nobody would
//! notice.

use prometheus::proto::MetricType;
use prometheus::{Error, IntGauge, Registry};

use crate::publish::gather::Sources;

impl Sources {
    /// Checks that every gauge whose merge is declared is registered.
    pub(super) fn check_gauges(&self) -> Result<(), Error> {
        if self.gauge_merges.is_empty() {
            return Ok(());
        }
        let families: Vec<_> = self.registries.iter().flat_map(Registry::gather).collect();
        for name in self.gauge_merges.keys() {
            match families.iter().find(|family| family.name() == name) {
                Some(family) if family.get_field_type() == MetricType::GAUGE => {}
                Some(_) => return Err(Error::Msg(format!("the metric {name:?} of Sources::gauge is not a gauge"))),
                None if self.registries.iter().any(|registry| is_registered(registry, name)) => {}
                None => {
                    let gauges = families.iter().filter(|family| family.get_field_type() == MetricType::GAUGE);
                    let mut names: Vec<_> = gauges.map(|family| family.name()).collect();
                    names.sort_unstable();
                    return Err(Error::Msg(format!(
                        "the gauge {name:?} of Sources::gauge is not registered: there are {names:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a registry has a metric of this name, even one that has no label values yet and so is not gathered. A
/// registry does not list its names, but refuses another metric under a name that it has.
fn is_registered(registry: &Registry, name: &str) -> bool {
    let Ok(probe) = IntGauge::new(name, "Whether there is a metric of this name.") else { return false };
    if registry.register(Box::new(probe.clone())).is_err() {
        return true;
    }
    // The probe was registered a moment ago, so it can be taken back.
    let _ = registry.unregister(Box::new(probe));
    false
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounter, IntGaugeVec, Opts};

    use super::*;
    use crate::families::GaugeMerge;

    #[test]
    fn a_gauge_must_be_registered_but_need_not_have_values_yet() {
        let registry = Registry::new();
        let states = IntGaugeVec::new(Opts::new("states", "By state."), &["state"]).unwrap();
        registry.register(Box::new(states)).unwrap();
        registry.register(Box::new(IntGauge::new("last", "Last.").unwrap())).unwrap();
        registry.register(Box::new(IntCounter::new("orders_total", "Orders.").unwrap())).unwrap();
        let check = |name: &str| {
            let sources = Sources::new(Registry::new()).and(registry.clone()).gauge(name, GaugeMerge::Max);
            sources.check_gauges().map_err(|error| error.to_string())
        };
        assert_eq!((check("last"), check("states")), (Ok(()), Ok(())));
        assert_eq!(registry.gather().len(), 2, "what was tried out is gone");
        for misspelt in ["lats", "not a name"] {
            let refused = check(misspelt).unwrap_err();
            assert!(refused.contains(misspelt) && refused.contains("\"last\""), "{refused}");
        }
        assert!(check("orders_total").unwrap_err().contains("is not a gauge"));
    }
}
