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
        let prefixes: Vec<_> = self.registries.iter().map(prefix).collect();
        let is_known = |name: &str| {
            let names = prefixes.iter().map(|prefix| name.strip_prefix(prefix));
            self.registries.iter().zip(names).any(|(registry, name)| name.is_some_and(|name| has(registry, name)))
        };
        for name in self.gauge_merges.keys() {
            match families.iter().find(|family| family.name() == name) {
                Some(family) if family.get_field_type() == MetricType::GAUGE => {}
                Some(_) => return Err(Error::Msg(format!("the metric {name:?} of Sources::gauge is not a gauge"))),
                None if is_known(name) => {}
                None => {
                    let gauges = families.iter().filter(|family| family.get_field_type() == MetricType::GAUGE);
                    let mut names: Vec<_> = gauges.map(|family| family.name()).collect();
                    names.sort_unstable();
                    return Err(Error::Msg(format!(
                        "the gauge {name:?} of Sources::gauge is not registered; the gauges with values are {names:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Returns the prefix that a registry puts before the names of its metrics, with the `_` between them, or nothing.
fn prefix(registry: &Registry) -> String {
    const PROBE: &str = "prometheus_dynamodb_probe";
    let prefixed = || registry.gather().iter().find_map(|family| family.name().strip_suffix(PROBE).map(str::to_owned));
    probe(PROBE).and_then(|probe| while_registered(registry, &probe, prefixed)).flatten().unwrap_or_default()
}

/// Returns whether a registry has a metric of this name, without its prefix, even one that has no label values yet and so is
/// not gathered. A registry does not list its names, but refuses another metric under a name that it has.
fn has(registry: &Registry, name: &str) -> bool {
    probe(name).is_some_and(|probe| while_registered(registry, &probe, || ()).is_none())
}

/// Returns a gauge of this name, or `None` if no metric can have it.
fn probe(name: &str) -> Option<IntGauge> {
    IntGauge::new(name, "Registered for a moment, to see what the registry makes of it.").ok()
}

/// Registers a gauge while `look` looks. Returns `None` if the registry refuses it.
fn while_registered<R>(registry: &Registry, probe: &IntGauge, look: impl FnOnce() -> R) -> Option<R> {
    registry.register(Box::new(probe.clone())).ok()?;
    let seen = look();
    // It was registered a moment ago, so it can be taken back.
    let _ = registry.unregister(Box::new(probe.clone()));
    Some(seen)
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

    #[test]
    fn a_gauge_has_the_prefix_of_its_registry() {
        let registry = Registry::new_custom(Some("app".to_owned()), None).unwrap();
        let states = IntGaugeVec::new(Opts::new("states", "By state."), &["state"]).unwrap();
        registry.register(Box::new(states.clone())).unwrap();
        let check = |name: &str| Sources::new(registry.clone()).gauge(name, GaugeMerge::Max).check_gauges().is_ok();
        assert!(check("app_states") && !check("states"));
        states.with_label_values(&["open"]).set(1);
        assert!(check("app_states") && !check("states"));
    }
}
