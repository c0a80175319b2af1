//! Plans the life of each environment of the fleet. The seed decides it before the environment is born.

use std::time::Duration;

use super::settings::Settings;

/// Duration of an invocation: a few milliseconds, and some tens on a busy machine. A kill or a freeze after at most
/// this time may come before, during or after the publish.
const INVOCATION: Duration = Duration::from_millis(40);

/// Number of requests that an environment handles at once, if it handles several.
const SEVERAL: u32 = 8;

/// Function whose handler can be told to take any time.
const SLOW: &str = "jobs";

/// Time-out of an environment that runs into it: long enough for a publish before the deadline, and for one at the
/// usual pace before that.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Longest time that gc may take until it comes to a writer again.
const GC_PERIOD: Duration = Duration::from_millis(2500);

/// The life of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The environment's function.
    pub function: &'static str,
    /// Number of requests that the environment is sent, if it lives long enough.
    pub requests: u32,
    /// Number of requests that it handles at once. Lambda does not freeze an environment that handles several.
    pub at_once: u32,
    /// Freezes, each with the request before or during which it happens.
    pub freezes: Vec<(u32, Freeze)>,
    /// The end of the environment.
    pub end: End,
}

/// A freeze of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freeze {
    /// Time between the request's arrival and the freeze. If `None`, the freeze comes between requests, which is the
    /// only time at which Lambda itself freezes; but a process can be stopped at any time.
    pub after: Option<Duration>,
    /// Duration of the freeze.
    pub duration: Duration,
}

/// The end of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// SIGKILL this long after the last request's arrival.
    Kill(Duration),
    /// SIGKILL this long after the arrival of the last request, whose handler is still running.
    TimeOut(Duration),
    /// SIGTERM between requests.
    Terminate,
    /// The environment outlives all others.
    Survive,
}

impl Plan {
    /// Returns the plan of the environment with this number.
    ///
    /// Every second environment is killed or frozen until it was folded, by turns. Every second killed environment runs
    /// into its time-out; the others are killed without waiting for it. Some of those that are killed without waiting,
    /// and some of those that are neither killed nor frozen for so long, handle several requests at once. The last
    /// environments survive, as many as there are at a time.
    pub(super) fn new(settings: &Settings, number: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed.wrapping_mul(1_000_003).wrapping_add(number.into()));
        let survives = number + Settings::AT_ONCE >= settings.environments;
        let requests = settings.requests.div_ceil(settings.environments);
        let mut freezes = Vec::new();
        let some_request = |random: &mut fastrand::Rng| random.u32(1..requests);
        let is_killed = number.is_multiple_of(4) && !survives;
        if number.is_multiple_of(2) && !is_killed {
            let freeze = Freeze { after: some_moment(&mut random), duration: past_folding(&mut random) };
            freezes.push((some_request(&mut random), freeze));
        }
        for _ in 0..random.u32(..3) {
            let duration = Settings::WRITER_IDLE.mul_f64(random.f64() * 0.3);
            freezes.push((some_request(&mut random), Freeze { after: some_moment(&mut random), duration }));
        }
        let end = match (is_killed, survives) {
            (true, _) if number % 8 == 4 => End::TimeOut(TIMEOUT),
            (true, _) => End::Kill(INVOCATION.mul_f64(random.f64())),
            (false, true) => End::Survive,
            (false, false) => End::Terminate,
        };
        let at_once = if number % 8 == 3 || (is_killed && number % 16 == 8) { SEVERAL } else { 1 };
        if at_once > 1 {
            freezes.clear();
        }
        let function = match end {
            End::TimeOut(_) => SLOW,
            _ if random.u8(..10) < 3 => "encode",
            _ => "verify",
        };
        Self { function, requests, at_once, freezes, end }
    }

    /// Returns `true` if a freeze is so long that gc takes the environment for dead.
    pub(super) fn is_frozen_past_folding(&self) -> bool {
        self.freezes.iter().any(|(_, freeze)| freeze.duration >= Settings::WRITER_IDLE + GC_PERIOD)
    }
}

fn some_moment(random: &mut fastrand::Rng) -> Option<Duration> {
    random.bool().then(|| INVOCATION.mul_f64(random.f64()))
}

/// Returns a duration until the writer was folded, until it was buried, or until only its grave remembers it.
fn past_folding(random: &mut fastrand::Rng) -> Duration {
    let graces = match random.u8(..10) {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    };
    Settings::WRITER_IDLE + (Settings::GRACE + GC_PERIOD / 2) * graces + GC_PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_fleet_is_killed_or_frozen_past_folding_and_all_modes_are_there() {
        for seed in 0..20 {
            let settings = Settings { seed, ..Settings::LONG };
            let plans: Vec<_> = (0..settings.environments).map(|number| Plan::new(&settings, number)).collect();
            let timed_out = plans.iter().filter(|plan| matches!(plan.end, End::TimeOut(_))).count();
            let killed = timed_out + plans.iter().filter(|plan| matches!(plan.end, End::Kill(_))).count();
            let several = |plan: &&Plan| plan.at_once > 1;
            assert!(timed_out >= 20 && plans.iter().filter(several).count() >= 20);
            assert!(plans.iter().filter(several).all(|plan| plan.freezes.is_empty()));
            let frozen = plans.iter().filter(|plan| plan.is_frozen_past_folding()).count();
            assert!(killed >= 40 && frozen >= 40 && killed + frozen >= 100, "{killed} killed, {frozen} frozen");
            assert!(plans.iter().map(|plan| plan.requests).sum::<u32>() >= settings.requests);
            assert_eq!(plans.iter().filter(|plan| plan.end == End::Survive).count(), Settings::AT_ONCE as usize);
        }
    }
}
