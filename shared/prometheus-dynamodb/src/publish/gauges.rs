//! Checks that each declared gauge exists. A gauge whose name is misspelled would merge by the default, and nobody would
//! notice.

use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Error, IntGauge, Registry};

use crate::publish::gather::{CollectorPanicked, Sources, guarded};

impl Sources {
    /// Checks that every gauge whose merge is declared is registered. If a collector panics, nothing is checked: such a
    /// collector fails a publish, but must not keep the environment from starting.
    pub(super) fn check_gauges(&self) -> Result<(), Error> {
        if self.gauge_merges.is_empty() {
            return Ok(());
        }
        match self.families_and_prefixes() {
            Ok((families, prefixes)) => self.check_gauges_among(&families, &prefixes),
            Err(panicked) => {
                tracing::warn!(
                    error = &panicked as &dyn std::error::Error,
                    "it is not checked whether the gauges of Sources::gauge are registered"
                );
                Ok(())
            }
        }
    }

    /// Returns the families of all registries, and the prefix of each.
    fn families_and_prefixes(&self) -> Result<(Vec<MetricFamily>, Vec<String>), CollectorPanicked> {
        let families = guarded(|| self.registries.iter().flat_map(Registry::gather).collect())?;
        let prefixes = self.registries.iter().map(prefix).collect::<Result<_, _>>()?;
        Ok((families, prefixes))
    }

    fn check_gauges_among(&self, families: &[MetricFamily], prefixes: &[String]) -> Result<(), Error> {
        let is_known = |name: &str| {
            let names = prefixes.iter().map(|prefix| name.strip_prefix(prefix.as_str()));
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
fn prefix(registry: &Registry) -> Result<String, CollectorPanicked> {
    const PROBE: &str = "prometheus_dynamodb_probe";
    let gathered = || guarded(|| registry.gather());
    let Some(families) = probe(PROBE).and_then(|probe| while_registered(registry, &probe, gathered)) else {
        return Ok(String::new());
    };
    let prefix = families?.iter().find_map(|family| family.name().strip_suffix(PROBE).map(str::to_owned));
    Ok(prefix.unwrap_or_default())
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use prometheus::core::{Collector, Desc};
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

    /// A collector that panics once it was asked this often.
    #[derive(Clone)]
    struct PanicsAfter(Arc<AtomicU32>);

    impl Collector for PanicsAfter {
        fn desc(&self) -> Vec<&Desc> {
            Vec::new()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            let left = self.0.load(Ordering::SeqCst).checked_sub(1).expect("out of order");
            self.0.store(left, Ordering::SeqCst);
            Vec::new()
        }
    }

    #[test]
    fn a_collector_that_panics_keeps_no_publisher_from_being_made() {
        for calls in [0, 1] {
            let (registry, left) = (Registry::new(), Arc::new(AtomicU32::new(calls)));
            registry.register(Box::new(PanicsAfter(Arc::clone(&left)))).unwrap();
            let sources = Sources::new(registry.clone()).gauge("last", GaugeMerge::Max);
            assert_eq!(sources.check_gauges().map_err(|error| error.to_string()), Ok(()), "after {calls} calls");
            left.store(3, Ordering::SeqCst);
            assert_eq!(registry.gather(), [], "what was tried out is gone");
            assert!(sources.check_gauges().is_err(), "the name is checked once nothing panics");
        }
    }
}
