//! Gathers the content of an environment's next snapshot.

use std::borrow::Cow;
use std::sync::Arc;

use crate::families::merge::{merge, subtract};
use crate::families::structure::Structure;
use crate::families::values::Values;
use crate::families::{Families, FamilyKey, Kind};
use crate::protocol::writer;
use crate::publish::gather::{CollectorPanicked, Sources};
use crate::publish::ledger::Ledger;
use crate::table::wire;

/// Room for the numbers of a counter's or gauge's series to grow once it is admitted, in bytes.
const COUNTER_GROWTH: usize = 10;
/// Room for the numbers of a histogram's series to grow, in bytes: for its sum, and for each bucket.
const SUM_GROWTH: usize = 16;
const BUCKET_GROWTH: usize = 4;

/// Counts of an environment.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Counts as they were gathered.
    Gathered {
        /// Structure of the values: the same `Arc` as long as the structure does not change.
        structure: Arc<Structure>,
        /// Values in the order of the structure.
        values: Values,
    },
    /// Counts as they were read from the table, or added up.
    Families(Families),
}

impl Content {
    /// Returns all counts as families.
    pub(crate) fn families(&self) -> Cow<'_, Families> {
        match self {
            Self::Gathered { structure, values } => Cow::Owned(structure.families_of(values)),
            Self::Families(families) => Cow::Borrowed(families),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Families(Families::new())
    }
}

impl writer::Content for Content {
    fn add(&mut self, other: Self) {
        let mut families = std::mem::take(self).families().into_owned();
        merge(&mut families, other.families().into_owned());
        *self = Self::Families(families);
    }
}

/// Gathers the environment's counts, less the baseline. Both times are in milliseconds since the epoch.
///
/// New series must leave room for the numbers of all series to grow. Where not all of the new series fit, whole families of
/// them are left out, the largest first. Series that have been published stay.
pub(crate) fn content(
    sources: &Sources,
    ledger: &mut Ledger,
    baseline: &Families,
    born_at_ms: u64,
    now_ms: u64,
) -> Result<Content, CollectorPanicked> {
    sources.gather(ledger, now_ms)?;
    let claims = ledger.without_place();
    if !claims.is_empty() {
        let families = less_baseline(ledger, baseline, born_at_ms, now_ms);
        let admitted = admitted(&families, ledger, &claims);
        claims[admitted..].iter().for_each(|key| ledger.close(key));
        ledger.place_all();
    }
    let structure = Arc::clone(ledger.structure());
    let values = if baseline.is_empty() {
        Some(ledger.values(born_at_ms, now_ms))
    } else {
        structure.values(&less_baseline(ledger, baseline, born_at_ms, now_ms))
    };
    let values = values.expect("a baseline takes away numbers, and no series");
    Ok(Content::Gathered { structure, values })
}

/// Returns everything in the ledger, less the baseline.
fn less_baseline(ledger: &mut Ledger, baseline: &Families, born_at_ms: u64, now_ms: u64) -> Families {
    let values = ledger.values(born_at_ms, now_ms);
    let mut families = ledger.structure().families_of(&values);
    subtract(&mut families, baseline);
    families
}

/// Returns the number of claims that fit, in their order. Nearly always all of them fit.
fn admitted(families: &Families, ledger: &Ledger, claims: &[FamilyKey]) -> usize {
    let fits = |admitted: usize| {
        let mut families = families.clone();
        for key in &claims[admitted..] {
            let Some(family) = families.get_mut(key) else { continue };
            family.series.retain(|label_values, _| ledger.has_place(key, label_values));
        }
        families.retain(|_, family| !family.series.is_empty());
        wire::fits(&families, growth(&families))
    };
    // A binary search: `most` claims fit and `too_many` do not, or are more than there are. `most` stays 0 if none fits,
    // which also happens if the series that have a place need all the room by now.
    let (mut most, mut too_many) = (0, claims.len() + 1);
    let mut tried = claims.len();
    while most + 1 < too_many {
        if fits(tried) {
            most = tried;
        } else {
            too_many = tried;
        }
        tried = most + (too_many - most) / 2;
    }
    most
}

/// Returns by how many bytes the numbers of these families may grow.
fn growth(families: &Families) -> usize {
    let of_series = |kind: &Kind| match kind {
        Kind::Counter | Kind::Gauge(_) => COUNTER_GROWTH,
        Kind::Histogram(bounds) => SUM_GROWTH + BUCKET_GROWTH * (bounds.as_slice().len() + 1),
    };
    families.iter().map(|(key, family)| family.series.len() * of_series(&key.kind)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::refusal::Refusal;
    use prometheus::{CounterVec, IntCounter, IntCounterVec, Opts, Registry};

    /// Returns a label value of 1,000 random characters, which hardly compress.
    fn long(random: &mut fastrand::Rng) -> String {
        std::iter::repeat_with(|| random.alphanumeric()).take(1000).collect()
    }

    #[test]
    fn what_does_not_fit_leaves_the_rest_and_what_was_published() {
        let mut random = fastrand::Rng::with_seed(1);
        let (own, registry) = (Registry::new(), Registry::new());
        let alive = IntCounter::new("zzz_alive_total", "Alive.").unwrap();
        own.register(Box::new(alive)).unwrap();
        let vec = |name: &str| {
            let vec = IntCounterVec::new(Opts::new(name, "By user."), &["user"]).unwrap();
            registry.register(Box::new(vec.clone())).unwrap();
            vec
        };
        let (a, b, c) = (vec("a_total"), vec("b_total"), vec("c_total"));
        let sources = Sources::new(registry.clone()).led_by(own);
        let mut ledger = Ledger::new(10_000, &[]);
        let published = |ledger: &mut Ledger| {
            let content = content(&sources, ledger, &Families::new(), 1, 2).unwrap();
            let families = content.families();
            wire::encode(&families, 0).unwrap();
            families.iter().map(|(key, family)| (key.name.clone(), family.series.len())).collect::<Vec<_>>()
        };
        let found =
            |found: &[(&str, usize)]| found.iter().map(|&(name, series)| (name.to_owned(), series)).collect::<Vec<_>>();

        (0..20).for_each(|_| a.with_label_values(&[long(&mut random)]).inc());
        assert_eq!(published(&mut ledger), found(&[("a_total", 20), ("zzz_alive_total", 1)]));
        (0..700).for_each(|_| a.with_label_values(&[long(&mut random)]).inc());
        (0..10).for_each(|_| b.with_label_values(&[long(&mut random)]).inc());
        (0..600).for_each(|_| c.with_label_values(&[long(&mut random)]).inc());
        let all = found(&[("a_total", 20), ("b_total", 10), ("zzz_alive_total", 1)]);
        assert_eq!(published(&mut ledger), all);
        assert_eq!(ledger.refusals().series(Refusal::TooLarge), 1300);
        // There is no second try, which would cost as much each time.
        assert_eq!(published(&mut ledger), all);
        assert_eq!(ledger.refusals().series(Refusal::TooLarge), 1300);
    }

    /// What has a place keeps it, so a family that gets no further place needs room all the same.
    #[test]
    fn what_has_a_place_is_reckoned_with_where_no_more_is_admitted() {
        let mut random = fastrand::Rng::with_seed(1);
        let registry = Registry::new();
        let vec = |name: &str| {
            let vec = IntCounterVec::new(Opts::new(name, "By user."), &["user"]).unwrap();
            registry.register(Box::new(vec.clone())).unwrap();
            vec
        };
        let (large, small) = (vec("large_total"), vec("small_total"));
        let sources = Sources::new(registry.clone());
        let mut ledger = Ledger::new(10_000, &[]);
        let mut series = || {
            let content = content(&sources, &mut ledger, &Families::new(), 1, 2).unwrap();
            wire::encode(&content.families(), 0).unwrap();
            content.families().values().map(|family| family.series.len()).collect::<Vec<_>>()
        };
        (0..320).for_each(|_| large.with_label_values(&[long(&mut random)]).inc());
        assert_eq!(series(), [320]);
        (0..270).for_each(|_| large.with_label_values(&[long(&mut random)]).inc());
        (0..260).for_each(|_| small.with_label_values(&[long(&mut random)]).inc());
        assert_eq!(series(), [320], "with the smaller family, too, it is too much");
    }

    /// What was counted before and after a reset can be of different magnitudes, so that no single number has all of it.
    #[test]
    fn what_fits_still_does_after_its_program_has_reset_it_time_and_again() {
        let mut random = fastrand::Rng::with_seed(1);
        let registry = Registry::new();
        let counters = CounterVec::new(Opts::new("a_total", "By user."), &["user"]).unwrap();
        registry.register(Box::new(counters.clone())).unwrap();
        let users: Vec<_> = (0..480).map(|_| long(&mut random)).collect();
        let sources = Sources::new(registry);
        let mut ledger = Ledger::new(10_000, &[]);
        for exponent in (-900..900).rev().step_by(60) {
            for user in &users {
                counters.with_label_values(&[user]).inc_by(2f64.powi(exponent) * (1.0 + random.f64()));
            }
            let content = content(&sources, &mut ledger, &Families::new(), 1, 2).unwrap();
            wire::encode(&content.families(), 0).unwrap();
            assert_eq!(content.families().values().map(|family| family.series.len()).sum::<usize>(), 480);
            counters.reset();
        }
    }

    /// Two registries can have one metric, each with a help text of its own.
    #[test]
    fn a_help_text_that_is_too_long_costs_its_own_series_and_no_others() {
        let mut random = fastrand::Rng::with_seed(1);
        let long: String = std::iter::repeat_with(|| long(&mut random)).take(700).collect();
        for is_there_from_the_beginning in [false, true] {
            let (first, second) = (Registry::new(), Registry::new());
            let vec = |registry: &Registry, help: &str| {
                let vec = IntCounterVec::new(Opts::new("a_total", help), &["user"]).unwrap();
                registry.register(Box::new(vec.clone())).unwrap();
                vec
            };
            let (good, bad) = (vec(&first, "A."), vec(&second, &long));
            let sources = Sources::new(first).and(second);
            let mut ledger = Ledger::new(10, &[]);
            good.with_label_values(&["m"]).inc();
            if is_there_from_the_beginning {
                bad.with_label_values(&["n"]).inc();
            }
            content(&sources, &mut ledger, &Families::new(), 1, 2).unwrap();
            bad.with_label_values(&["n"]).inc();
            let content = content(&sources, &mut ledger, &Families::new(), 1, 2).unwrap();
            let families = content.families();
            wire::encode(&families, 0).unwrap();
            let users: Vec<_> = families.values().flat_map(|family| family.series.keys()).collect();
            assert_eq!(users, [&["m"]], "the good series");
            assert_eq!(ledger.refusals().series(Refusal::TooLarge), 1);
        }
    }

    #[test]
    fn a_series_grows_by_what_its_numbers_may_need() {
        use crate::families::{Bounds, Family, Series, Value};

        let family = |kind: Kind, series: usize| {
            let key = FamilyKey { name: "a".into(), kind, label_names: vec!["l".into()] };
            let one =
                |number: usize| (vec![number.to_string()], Series { created_at_ms: 0, value: Value::Extreme(0.0) });
            Families::from([(key, Family { series: (0..series).map(one).collect(), ..Family::default() })])
        };
        let histogram = Kind::Histogram(Bounds::new(vec![1.0, 2.0, 3.0]).unwrap());
        for (kind, series, bytes) in [
            (Kind::Counter, 5, 5 * COUNTER_GROWTH),
            (Kind::Gauge(Default::default()), 5, 5 * COUNTER_GROWTH),
            (histogram, 5, 5 * (SUM_GROWTH + 4 * BUCKET_GROWTH)),
        ] {
            assert_eq!(growth(&family(kind.clone(), series)), bytes, "{kind:?}");
        }
    }
}
