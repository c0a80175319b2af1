//! Helpers that the unit tests share.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::families::exact_sum::ExactSum;
use crate::families::{Bounds, Families, Family, FamilyKey, GaugeMerge, Kind, Series, Value};

/// Returns families that collide often, since there are few names, kinds, labels and bounds.
pub(crate) fn families() -> impl Strategy<Value = Families> {
    prop::collection::btree_map(key(), Just(()), 0..4).prop_flat_map(|keys| {
        keys.into_keys()
            .map(|key| family(&key).prop_map(move |family| (key.clone(), family)))
            .collect::<Vec<_>>()
            .prop_map(|families| families.into_iter().collect())
    })
}

fn key() -> impl Strategy<Value = FamilyKey> {
    let kind = prop_oneof![
        Just(Kind::Counter),
        prop::sample::select(vec![
            GaugeMerge::LiveSum,
            GaugeMerge::LiveMax,
            GaugeMerge::LiveMin,
            GaugeMerge::MostRecent,
            GaugeMerge::Max,
            GaugeMerge::Min,
        ])
        .prop_map(Kind::Gauge),
        prop::sample::select(vec![vec![], vec![0.5], vec![0.5, 1.0, 2.0]])
            .prop_map(|bounds| Kind::Histogram(Bounds::new(bounds).unwrap())),
    ];
    let label_names = prop::sample::subsequence(vec!["code".to_owned(), "method".to_owned()], 0..=2);
    (prop::sample::select(vec!["a", "b_total"]), kind, label_names).prop_map(|(name, kind, label_names)| FamilyKey {
        name: name.into(),
        kind,
        label_names,
    })
}

fn family(key: &FamilyKey) -> impl Strategy<Value = Family> + use<> {
    let label_values = prop::collection::vec("[ab]", key.label_names.len());
    let one = (0u64..3, value(&key.kind)).prop_map(|(created_at_ms, value)| Series { created_at_ms, value });
    let series = prop::collection::btree_map(label_values, one, 0..3);
    ("[a-c]?", 0u64..3, series).prop_map(|(help, born_at_ms, series)| Family {
        help,
        born_at_ms,
        series,
        ..Family::default()
    })
}

fn value(kind: &Kind) -> BoxedStrategy<Value> {
    // The numbers differ so much in magnitude that plain addition would lose digits. There are halves among them, so that
    // ties occur.
    let number = prop_oneof![-4.0f64..4.0, (0u32..8).prop_map(|n| f64::from(n) / 2.0), -1e30f64..1e30, Just(1e-30)];
    match kind {
        Kind::Counter | Kind::Gauge(GaugeMerge::LiveSum) => {
            prop::collection::vec(number, 0..4).prop_map(|numbers| Value::Sum(ExactSum::of(numbers))).boxed()
        }
        Kind::Gauge(GaugeMerge::MostRecent) => {
            (0u64..3, number).prop_map(|(at_ms, value)| Value::Latest { at_ms, value }).boxed()
        }
        Kind::Gauge(_) => number.prop_map(Value::Extreme).boxed(),
        Kind::Histogram(bounds) => {
            let counts = prop::collection::vec(0u64..1000, bounds.as_slice().len() + 1);
            let sum = prop::collection::vec(number, 0..4).prop_map(ExactSum::of);
            (counts, sum).prop_map(|(counts, sum)| Value::Histogram { counts, sum }).boxed()
        }
    }
}

/// Returns these families as one writer has them: all of them were born when the writer was.
pub(crate) fn of_one_writer(mut families: Families) -> Families {
    families.values_mut().for_each(|family| family.born_at_ms = 1);
    families
}

/// Returns the families of another writer that has the same structure.
pub(crate) fn values_like(families: Families) -> impl Strategy<Value = Families> {
    let series: Vec<_> =
        families.iter().flat_map(|(key, family)| family.series.values().map(|_| (0u64..4, value(&key.kind)))).collect();
    (0u64..4, series).prop_map(move |(born_at_ms, values)| {
        let mut families = families.clone();
        let mut values = values.into_iter();
        for family in families.values_mut() {
            family.born_at_ms = born_at_ms;
            for series in family.series.values_mut() {
                (series.created_at_ms, series.value) = values.next().expect("there is one for each series");
            }
        }
        families
    })
}

/// Returns one series of a metric without labels.
pub(crate) fn one(name: &str, kind: Kind, value: Value) -> Families {
    let key = FamilyKey { name: name.into(), kind, label_names: Vec::new() };
    let series = BTreeMap::from([(Vec::new(), Series { created_at_ms: 0, value })]);
    let family = Family { series, ..Family::default() };
    Families::from([(key, family)])
}
