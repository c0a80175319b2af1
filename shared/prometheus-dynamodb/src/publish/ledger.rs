//! Keeps all series that an environment publishes, and what it has counted in them.
//!
//! A series that was published once is published for good: if it vanished from a snapshot, a counter would fall. So the
//! ledger keeps each counter and histogram that it has admitted, whatever the program does with it. It admits new series
//! only while there is room: up to a number of series, and up to what fits into an item.
//!
//! From one gathering to the next, hardly ever more than numbers change. A gathering that lists the same series in the same
//! order as the last one is entered by position, without a look at a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::families::rules::check_names;
use crate::families::structure::{FamilyStructure, Structure};
use crate::families::values::{Builder, Values};
use crate::families::{FamilyKey, GaugeMerge, Kind};
use crate::publish::counted::Counted;
use crate::publish::gathered::Gathered;
use crate::publish::process::is_process_metric;
use crate::publish::refusal::{Refusal, Refusals};
use crate::publish::sample::Sample;
use crate::scrape::page::{go_together, sample_names};
use crate::table::wire;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Ledger {
    max_series: usize,
    /// Set if no series are admitted, even if others go.
    is_full: bool,
    series: usize,
    families: BTreeMap<FamilyKey, Entry>,
    /// Names that the page itself needs.
    reserved: &'static [&'static str],
    /// Number of gatherings so far, which is also the present one's number.
    gathering: u64,
    /// Number of series that the present gathering has listed so far.
    listed: usize,
    /// Last gathering. It is absent if that gathering has made room, since another one of the same series could then end
    /// otherwise.
    last: Option<Gathered>,
    /// Structure of all series, once it was asked for.
    structure: Option<Arc<Structure>>,
    /// Times at which the present gathering and the one before it began, in milliseconds since the epoch.
    began_at_ms: [Option<u64>; 2],
    dropped: u64,
    refusals: Refusals,
    changed: bool,
}

#[derive(Debug, Default)]
struct Entry {
    /// Help text of the series that entered last, and once one of them has a place, the same for good.
    help: String,
    /// Set if the family is among the environment's own metrics, which have the first claim on room.
    first: bool,
    /// Set if no new series are admitted, since some did not fit into an item.
    full: bool,
    series: BTreeMap<Vec<String>, Line>,
}

#[derive(Debug)]
struct Line {
    /// Time at which the gathering before the series' first one began. It is absent if the very first gathering had the
    /// series.
    absent_at_ms: Option<u64>,
    state: State,
    /// Number of the last gathering in which the program had the series; the next field is its position in that gathering.
    seen: u64,
    position: usize,
    /// Set once the series has its place in the snapshot, which it keeps.
    placed: bool,
}

#[derive(Debug)]
enum State {
    Counted(Counted),
    Gauge(f64),
}

impl Ledger {
    /// Creates an empty ledger for at most `max_series` series, none of which may have one of the reserved names.
    pub(crate) fn new(max_series: usize, reserved: &'static [&'static str]) -> Self {
        Self {
            max_series,
            is_full: false,
            series: 0,
            families: BTreeMap::new(),
            reserved,
            gathering: 0,
            listed: 0,
            last: None,
            structure: None,
            began_at_ms: [None; 2],
            dropped: 0,
            refusals: Refusals::default(),
            changed: false,
        }
    }

    /// Goes on in a copy of the environment, for which everything until now was gathered in another environment. Forgets
    /// when series came up. If any series were left out for lack of room, no more are admitted: they would bring what they
    /// had counted before into each copy.
    pub(crate) fn continue_in_copy(&mut self) {
        self.is_full |= self.dropped > 0;
        self.began_at_ms = [None; 2];
        let lines = self.families.values_mut().flat_map(|entry| entry.series.values_mut());
        lines.for_each(|line| line.absent_at_ms = None);
    }

    /// Returns the last gathering. One that lists the same series may be entered by [`enter_again`](Self::enter_again).
    pub(crate) fn last(&self) -> Option<&Gathered> {
        self.last.as_ref()
    }

    /// Forgets the last gathering, so that the next one is entered by its names, whatever it lists.
    #[cfg(test)]
    pub(crate) fn forget_last(&mut self) {
        self.last = None;
    }

    /// Enters a gathering at `now_ms`, in milliseconds since the epoch, that lists the same series as the last one, in the same
    /// order. `read` reads the sample at a position; it may use the buffer for buckets.
    pub(crate) fn enter_again(
        &mut self,
        now_ms: u64,
        read: impl for<'a> Fn(usize, &Kind, &'a mut Vec<u64>) -> Sample<'a>,
    ) {
        self.next_gathering(now_ms);
        // The other refusals, and the dropped series, are the same again.
        self.refusals.begin_only(Refusal::NotFinite);
        let mut buckets = Vec::new();
        for (key, entry) in &mut self.families {
            let is_restless = is_restless(&key.name);
            for line in entry.series.values_mut().filter(|line| line.seen + 1 == self.gathering) {
                line.seen = self.gathering;
                let sample = read(line.position, &key.kind, &mut buckets);
                if !sample.is_summable() {
                    self.refusals.add(&key.name, Refusal::NotFinite, 1);
                }
                self.changed |= line.state.see(sample) && !is_restless;
            }
        }
    }

    /// Begins a gathering at `now_ms`, in milliseconds since the epoch.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.next_gathering(now_ms);
        (self.listed, self.last) = (0, None);
        self.dropped = 0;
        self.refusals.begin();
    }

    fn next_gathering(&mut self, now_ms: u64) {
        self.gathering += 1;
        self.began_at_ms = [Some(now_ms), self.began_at_ms[0]];
    }

    /// Enters the sample of one series, or refuses it. The environment's own metrics, which are `first`, enter even if there
    /// are too many series: they tell that others are left out.
    pub(crate) fn enter(
        &mut self,
        key: FamilyKey,
        label_values: Vec<String>,
        help: &str,
        first: bool,
        sample: Sample<'_>,
    ) {
        let name = key.name.clone();
        match self.try_enter(key, label_values, help, first, sample) {
            Ok(()) => self.listed += 1,
            Err(refusal) => self.refuse(&name, refusal),
        }
    }

    /// Counts a series of this metric as refused.
    pub(crate) fn refuse(&mut self, metric: &str, refusal: Refusal) {
        self.listed += 1;
        self.refusals.add(metric, refusal, 1);
    }

    /// Ends the gathering. A counter or histogram that the program no longer has stands still, and a gauge is removed.
    pub(crate) fn end(&mut self, gathered: Gathered) {
        let gathering = self.gathering;
        let before = self.series;
        for entry in self.families.values_mut() {
            let before = entry.series.len();
            entry.series.retain(|_, line| match &mut line.state {
                _ if line.seen == gathering => true,
                State::Counted(counted) => {
                    counted.reset();
                    true
                }
                State::Gauge(_) => false,
            });
            self.series -= before - entry.series.len();
        }
        self.families.retain(|_, entry| entry.full || !entry.series.is_empty());
        if self.series == before {
            self.last = Some(gathered);
        } else {
            (self.changed, self.structure) = (true, None);
        }
    }

    /// Returns the structure of all series.
    pub(crate) fn structure(&mut self) -> &Arc<Structure> {
        let families = &self.families;
        self.structure.get_or_insert_with(|| {
            let entries = families.iter().filter(|(_, entry)| !entry.series.is_empty());
            let family = |(key, entry): (&FamilyKey, &Entry)| FamilyStructure {
                key: key.clone(),
                help: entry.help.clone(),
                series: entry.series.keys().cloned().collect(),
            };
            Arc::new(Structure::new(entries.map(family).collect()))
        })
    }

    /// Returns the present values of all series, in the order of the structure. Both times are in milliseconds since the
    /// epoch.
    pub(crate) fn values(&self, born_at_ms: u64, now_ms: u64) -> Values {
        let mut values = Builder::new(born_at_ms);
        for (key, entry) in &self.families {
            for line in entry.series.values() {
                values.start(line.absent_at_ms.unwrap_or(born_at_ms));
                match (&line.state, &key.kind) {
                    (State::Counted(counted), _) => counted.lay_out(&mut values),
                    (State::Gauge(value), Kind::Gauge(GaugeMerge::LiveSum)) => values.number(*value),
                    (State::Gauge(value), Kind::Gauge(GaugeMerge::MostRecent)) => values.gauge_at(*value, now_ms),
                    (State::Gauge(value), _) => values.gauge(*value),
                }
            }
        }
        values.finish()
    }

    /// Returns the families that have series without a place. Those with the first claim come first.
    pub(crate) fn without_place(&self) -> Vec<FamilyKey> {
        let mut claims: Vec<_> = self
            .families
            .iter()
            .map(|(key, entry)| (!entry.first, entry.series.values().filter(|line| !line.placed).count(), key))
            .filter(|(_, series, _)| *series > 0)
            .collect();
        // A family that grows without bounds is the largest one, and so goes last.
        claims.sort();
        claims.into_iter().map(|(_, _, key)| key.clone()).collect()
    }

    /// Returns whether this series has a place.
    pub(crate) fn has_place(&self, key: &FamilyKey, label_values: &[String]) -> bool {
        self.families.get(key).and_then(|entry| entry.series.get(label_values)).is_some_and(|line| line.placed)
    }

    /// Gives a place to each series, which the series keeps.
    pub(crate) fn place_all(&mut self) {
        self.families.values_mut().flat_map(|entry| entry.series.values_mut()).for_each(|line| line.placed = true);
    }

    /// Refuses this family's series that have no place, and all series of the family that come up later.
    pub(crate) fn close(&mut self, key: &FamilyKey) {
        let Some(entry) = self.families.get_mut(key) else { return };
        let before = entry.series.len();
        entry.series.retain(|_, line| line.placed);
        entry.full = true;
        (self.last, self.structure) = (None, None);
        let refused = before - entry.series.len();
        // A family without series stays, and counts as one series: a program may have ever new such families.
        self.series -= refused - usize::from(entry.series.is_empty());
        self.refusals.add(&key.name, Refusal::TooLarge, refused as u64);
    }

    /// Returns the number of series that the present gathering left out because there are too many.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the refusals of the present gathering.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Returns whether anything has changed since the last publish.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Notes that the content of the ledger was published.
    pub(crate) fn published(&mut self) {
        self.changed = false;
    }

    fn try_enter(
        &mut self,
        key: FamilyKey,
        label_values: Vec<String>,
        help: &str,
        first: bool,
        sample: Sample<'_>,
    ) -> Result<(), Refusal> {
        if !self.families.contains_key(&key) {
            self.check_family(&key)?;
            if !first && !self.has_room() {
                self.dropped += 1;
                return Ok(());
            }
        }
        let is_restless = is_restless(&key.name);
        let has_room = first || self.has_room();
        // A base could not hold it.
        let fits = wire::always_fits(&key, help, &label_values);
        let entry = self.families.entry(key).or_default();
        entry.first = first;
        let (seen, position) = (self.gathering, self.listed);
        let changed = match entry.series.get_mut(&label_values) {
            Some(line) if line.seen == self.gathering => return Err(Refusal::Duplicate),
            Some(line) => {
                (line.seen, line.position) = (seen, position);
                line.state.see(sample)
            }
            None if entry.full || !fits => return Err(Refusal::TooLarge),
            None if !has_room => {
                self.dropped += 1;
                return Ok(());
            }
            None => {
                self.series += 1;
                self.structure = None;
                let [_, absent_at_ms] = self.began_at_ms;
                let line = Line { absent_at_ms, state: State::new(sample), seen, position, placed: false };
                entry.series.insert(label_values, line);
                true
            }
        };
        // Series with a place were admitted with the help text that they have: with a longer one, the snapshot might not fit
        // any more.
        if entry.help != help && fits && !entry.series.values().any(|line| line.placed) {
            (entry.help, self.structure) = (help.to_owned(), None);
        }
        self.changed |= changed && !is_restless;
        if sample.is_summable() { Ok(()) } else { Err(Refusal::NotFinite) }
    }

    /// Returns whether there is room for another series.
    fn has_room(&self) -> bool {
        !self.is_full && self.series < self.max_series
    }

    /// Checks a new family against what readers ask of an item and of a page.
    fn check_family(&self, key: &FamilyKey) -> Result<(), Refusal> {
        check_names(key)?;
        if !self.named(&key.name).all(|known| go_together(&known.kind, &key.kind)) {
            return Err(Refusal::TypeConflict);
        }
        let is_taken = |sample: &String| {
            let histograms = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| sample.strip_suffix(suffix));
            self.reserved.contains(&sample.as_str())
                || (*sample != key.name && self.named(sample).next().is_some())
                || histograms
                    .filter(|name| *name != key.name)
                    .any(|name| self.named(name).any(|known| matches!(known.kind, Kind::Histogram(_))))
        };
        let taken = sample_names(&key.name, matches!(key.kind, Kind::Histogram(_))).iter().any(is_taken);
        if taken { Err(Refusal::NameConflict) } else { Ok(()) }
    }

    /// Returns the families of this name.
    fn named(&self, name: &str) -> impl Iterator<Item = &FamilyKey> {
        let first = FamilyKey { name: name.to_owned(), kind: Kind::Counter, label_names: Vec::new() };
        let name = first.name.clone();
        self.families.range(first..).map(|(key, _)| key).take_while(move |key| key.name == name)
    }
}

/// Returns whether the metric changes by itself, which is no reason to publish.
fn is_restless(metric: &str) -> bool {
    metric.starts_with("prometheus_dynamodb_") || is_process_metric(metric)
}

impl State {
    fn new(sample: Sample<'_>) -> Self {
        match sample {
            Sample::Gauge(value) => Self::Gauge(value),
            Sample::Counted(reading) => {
                let mut counted = Counted::new(reading.counts.len());
                counted.see(reading);
                Self::Counted(counted)
            }
        }
    }

    /// Takes the sample. Returns whether it differs from the last one.
    fn see(&mut self, sample: Sample<'_>) -> bool {
        match (self, sample) {
            (Self::Counted(counted), Sample::Counted(reading)) => counted.see(reading),
            (Self::Gauge(last), Sample::Gauge(value)) => std::mem::replace(last, value).to_bits() != value.to_bits(),
            (state, sample) => unreachable!("a family's kind decides its samples, not {state:?} and {sample:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Bounds;
    use crate::publish::counted::Reading;
    use crate::table::item::MAX_ENCODED_BYTES;
    use strum::VariantArray;

    fn counter(name: &str) -> FamilyKey {
        FamilyKey { name: name.into(), kind: Kind::Counter, label_names: vec!["user".into()] }
    }

    fn counted(sum: f64) -> Sample<'static> {
        Sample::Counted(Reading { counts: &[], sum })
    }

    /// Gathers once, and returns the series that are there afterwards.
    fn gather(ledger: &mut Ledger, samples: &[(FamilyKey, &str, Sample<'_>)]) -> Vec<(String, String)> {
        ledger.begin(0);
        for (key, user, sample) in samples {
            ledger.enter(key.clone(), vec![(*user).to_owned()], "", false, *sample);
        }
        ledger.end(Gathered::default());
        let series = |family: &FamilyStructure| {
            family.series.iter().map(|labels| (family.key.name.clone(), labels.concat())).collect::<Vec<_>>()
        };
        ledger.structure().families().iter().flat_map(series).collect()
    }

    fn texts(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|&(name, user)| (name.to_owned(), user.to_owned())).collect()
    }

    #[test]
    fn a_series_beyond_the_cap_is_left_out_and_one_that_was_there_never_is() {
        let mut ledger = Ledger::new(2, &[]);
        let of = |user| (counter("requests_total"), user, counted(1.0));
        let both = texts(&[("requests_total", "m"), ("requests_total", "n")]);
        assert_eq!(gather(&mut ledger, &[of("m"), of("n")]), both);
        assert_eq!(gather(&mut ledger, &[of("a"), of("m"), of("z")]), both, "also that which the program has removed");
        assert_eq!(ledger.dropped(), 2);
    }

    #[test]
    fn a_copy_does_not_make_up_for_what_was_left_out() {
        let gauge = FamilyKey { kind: Kind::Gauge(GaugeMerge::Max), ..counter("gauge") };
        for is_copy in [false, true] {
            let mut ledger = Ledger::new(2, &[]);
            let of = |user| (counter("requests_total"), user, counted(1.0));
            gather(&mut ledger, &[(gauge.clone(), "g", Sample::Gauge(1.0)), of("m"), of("n")]);
            if is_copy {
                ledger.continue_in_copy();
            }
            // The gauge is gone and leaves room.
            gather(&mut ledger, &[of("m"), of("n")]);
            let found = gather(&mut ledger, &[of("m"), of("n")]);
            let admitted = if is_copy { &["m"][..] } else { &["m", "n"] };
            assert_eq!(found.iter().map(|(_, user)| user.as_str()).collect::<Vec<_>>(), admitted);
        }
    }

    #[test]
    fn a_copy_of_which_nothing_was_left_out_admits_what_comes_up() {
        let mut ledger = Ledger::new(2, &[]);
        let of = |user| (counter("requests_total"), user, counted(1.0));
        gather(&mut ledger, &[of("m")]);
        ledger.continue_in_copy();
        let both = texts(&[("requests_total", "m"), ("requests_total", "n")]);
        assert_eq!(gather(&mut ledger, &[of("m"), of("n")]), both);
    }

    #[test]
    fn the_first_metrics_claim_a_place_first_and_then_the_smallest_families() {
        let mut ledger = Ledger::new(10, &[]);
        ledger.begin(0);
        for (name, users, first) in [("a", 2, false), ("b", 1, false), ("own", 3, true)] {
            for user in 0..users {
                ledger.enter(counter(name), vec![user.to_string()], "", first, counted(1.0));
            }
        }
        assert_eq!(ledger.without_place(), ["own", "b", "a"].map(counter));
        assert!(!ledger.has_place(&counter("a"), &["0".to_owned()]));
        ledger.place_all();
        assert_eq!(ledger.without_place(), []);
        assert!(ledger.has_place(&counter("a"), &["0".to_owned()]));
        assert!(!ledger.has_place(&counter("a"), &["2".to_owned()]));
    }

    #[test]
    fn a_closed_family_without_series_takes_the_room_of_one() {
        let mut ledger = Ledger::new(5, &[]);
        let users = ["m", "n", "o", "p", "q"];
        let of = |name: &'static str, number: usize| {
            users[..number].iter().map(move |user| (counter(name), *user, counted(1.0)))
        };
        gather(&mut ledger, &of("a", 3).collect::<Vec<_>>());
        ledger.close(&counter("a"));
        let found = gather(&mut ledger, &of("a", 3).chain(of("b", 5)).collect::<Vec<_>>());
        assert_eq!((found.len(), ledger.dropped()), (4, 1), "{found:?}");
        assert!(found.iter().all(|(name, _)| name == "b"), "{found:?}");
    }

    #[test]
    fn a_gauge_that_is_gone_makes_room() {
        let mut ledger = Ledger::new(1, &[]);
        let gauge =
            |user| (FamilyKey { kind: Kind::Gauge(GaugeMerge::Max), ..counter("open") }, user, Sample::Gauge(f64::NAN));
        assert_eq!(gather(&mut ledger, &[gauge("m")]), texts(&[("open", "m")]));
        assert_eq!(gather(&mut ledger, &[]), []);
        assert_eq!(gather(&mut ledger, &[(counter("open"), "n", counted(1.0))]), texts(&[("open", "n")]));
        assert_eq!(ledger.refusals().series(Refusal::TypeConflict), 0, "of another type, even");
    }

    #[test]
    fn what_a_page_would_refuse_is_refused_for_its_reason_and_the_rest_is_not() {
        let histogram = FamilyKey { kind: Kind::Histogram(Bounds::default()), ..counter("seconds") };
        let observed = Sample::Counted(Reading { counts: &[1], sum: 1.0 });
        let labelled = |label: &str, kind: Kind| FamilyKey { label_names: vec![label.into()], kind, ..counter("x") };
        let twice = FamilyKey { label_names: vec!["a".into(), "a".into()], ..counter("y") };
        for (key, sample, refusal) in [
            (counter("my-app_total"), counted(1.0), Refusal::MetricName),
            (labelled("__tenant", Kind::Counter), counted(1.0), Refusal::LabelNames),
            (labelled("team-name", Kind::Counter), counted(1.0), Refusal::LabelNames),
            (labelled("le", histogram.kind.clone()), observed, Refusal::LabelNames),
            (twice, counted(1.0), Refusal::LabelNames),
            (
                FamilyKey { kind: Kind::Gauge(GaugeMerge::Max), ..counter("good") },
                Sample::Gauge(1.0),
                Refusal::TypeConflict,
            ),
            (counter("seconds_count"), counted(1.0), Refusal::NameConflict),
            (FamilyKey { name: "good".into(), ..histogram.clone() }, observed, Refusal::TypeConflict),
            (FamilyKey { name: "part".into(), ..histogram.clone() }, observed, Refusal::NameConflict),
            (counter("reserved"), counted(1.0), Refusal::NameConflict),
            (counter("good"), counted(2.0), Refusal::Duplicate),
            (counter("poor"), counted(f64::NAN), Refusal::NotFinite),
            (counter("poor"), counted(-1.0), Refusal::NotFinite),
        ] {
            let mut ledger = Ledger::new(10, &["reserved"]);
            let good = (counter("good"), "m", counted(1.0));
            let others = [(histogram.clone(), "m", observed), (counter("part_sum"), "m", counted(1.0))];
            let bad = (key, "m", sample);
            let found = gather(&mut ledger, &[good, others[0].clone(), others[1].clone(), bad]);
            let refused: Vec<_> =
                Refusal::VARIANTS.iter().copied().filter(|one| ledger.refusals().series(*one) > 0).collect();
            assert_eq!(refused, [refusal]);
            let all_good = texts(&[("good", "m"), ("part_sum", "m"), ("seconds", "m")]);
            assert!(all_good.iter().all(|series| found.contains(series)), "{refusal:?}: {found:?}");
            assert_eq!(found.len(), 3 + usize::from(refusal == Refusal::NotFinite), "{found:?}");
        }
    }

    #[test]
    fn what_changes_by_itself_is_no_change() {
        let mut ledger = Ledger::new(10, &[]);
        let gathered = |ledger: &mut Ledger, cpu: f64, requests: f64| {
            let cpu = (counter("process_cpu_seconds_total"), "", counted(cpu));
            // A program may count what it calls processes.
            gather(ledger, &[cpu, (counter("process_requests_total"), "", counted(requests))]);
            ledger.has_changed()
        };
        assert!(gathered(&mut ledger, 0.1, 1.0));
        assert!(gathered(&mut ledger, 0.1, 1.0), "it was not published yet");
        ledger.published();
        assert!(!gathered(&mut ledger, 0.2, 1.0));
        assert!(gathered(&mut ledger, 0.3, 2.0));
    }

    #[test]
    fn a_gauge_has_changed_when_its_value_has() {
        let mut ledger = Ledger::new(10, &[]);
        let gauge = FamilyKey { kind: Kind::Gauge(GaugeMerge::Max), ..counter("open") };
        for (value, changed) in [(0.0, true), (0.0, false), (-0.0, true), (f64::NAN, true), (f64::NAN, false)] {
            gather(&mut ledger, &[(gauge.clone(), "m", Sample::Gauge(value))]);
            assert_eq!(ledger.has_changed(), changed, "{value}");
            ledger.published();
        }
    }

    #[test]
    fn the_structure_stays_until_a_series_or_a_help_text_is_another() {
        let mut ledger = Ledger::new(10, &[]);
        let mut structure = |user: &str, help: &str| {
            ledger.begin(0);
            ledger.enter(counter("a"), vec![user.to_owned()], help, false, counted(1.0));
            ledger.end(Gathered::default());
            Arc::clone(ledger.structure())
        };
        let first = structure("m", "A.");
        assert_eq!(first.families()[0].help, "A.");
        assert!(Arc::ptr_eq(&first, &structure("m", "A.")));
        assert_eq!(structure("m", "Another.").families()[0].help, "Another.");
        assert_eq!(structure("n", "Another.").families()[0].series.len(), 2);
    }

    /// A second registry can have the same metric with another help text, and a collector can change its own.
    #[test]
    fn a_help_text_stays_once_series_have_their_place_and_one_that_does_not_fit_is_never_taken() {
        let mut ledger = Ledger::new(10, &[]);
        let mut help_and_users = |samples: &[(&str, &str)]| {
            ledger.begin(0);
            for (user, help) in samples {
                ledger.enter(counter("a"), vec![(*user).to_owned()], help, false, counted(1.0));
            }
            ledger.end(Gathered::default());
            let family = ledger.structure().families()[0].clone();
            let refused = [Refusal::TooLarge, Refusal::Duplicate].map(|refusal| ledger.refusals().series(refusal));
            ledger.place_all();
            (family.help, family.series.concat().concat(), refused)
        };
        let long = "h".repeat(9 * 1024);
        let found = |users: &str, refused| ("A.".to_owned(), users.to_owned(), refused);
        assert_eq!(help_and_users(&[("m", "A."), ("m", "Twice."), ("n", &long)]), found("m", [1, 1]));
        assert_eq!(help_and_users(&[("m", "A."), ("o", "Another.")]), found("mo", [0, 0]));
        assert_eq!(help_and_users(&[("m", &long), ("o", "Another.")]), found("mo", [0, 0]));
    }

    #[test]
    fn the_first_metrics_enter_where_there_is_no_room() {
        let mut ledger = Ledger::new(1, &[]);
        ledger.begin(0);
        for (name, first) in [("own", true), ("also_own", true), ("other", false)] {
            ledger.enter(counter(name), vec![String::new()], "", first, counted(1.0));
        }
        let names: Vec<_> = ledger.families.keys().map(|key| key.name.as_str()).collect();
        assert_eq!((names, ledger.dropped()), (vec!["also_own", "own"], 1));
    }

    #[test]
    fn a_series_that_a_base_could_not_hold_is_refused_and_others_are_not() {
        let mut ledger = Ledger::new(10, &[]);
        let long = "m".repeat(MAX_ENCODED_BYTES);
        let found = gather(&mut ledger, &[(counter("a"), &long, counted(1.0)), (counter("a"), "n", counted(1.0))]);
        assert_eq!(found, texts(&[("a", "n")]));
        assert_eq!(ledger.refusals().series(Refusal::TooLarge), 1);
    }
}
