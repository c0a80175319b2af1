//! What can happen to a call.

use std::time::Duration;

/// Longer than a publish waits for an attempt (500 ms), so that some attempts are done after their caller gave them up.
const USUAL_DELAY: Duration = Duration::from_millis(700);

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It arrives late, perhaps when nobody waits for it any more.
    Delay(Duration),
    /// It does not arrive, and the connection is closed.
    Drop,
    /// It is answered 500 and not done.
    InternalError,
    /// It is answered that too much is asked, and not done.
    Throttle,
    /// It is done, but the connection is closed before the response.
    LoseResponse,
    /// It is done, and after this delay it arrives a second time.
    Repeat(Duration),
}

impl Fault {
    /// The fault's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Drop => "drop",
            Self::InternalError => "internal error",
            Self::Throttle => "throttle",
            Self::LoseResponse => "lost response",
            Self::Repeat(_) => "repeat",
        }
    }
}

/// How many calls meet a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Of a thousand calls. Each kind of fault has the same share.
    pub per_mille: u16,
}

impl Faults {
    /// None at all.
    pub const NONE: Self = Self { per_mille: 0 };

    /// What happens to the next call. Now and then a delay is nearly as long as a request can live.
    pub(super) fn choose(self, random: &mut fastrand::Rng, signature_validity: Duration) -> Option<Fault> {
        // Drawn in any case, so that the same seed gives the same sequence at every rate.
        let (meets, kind, share, long) = (random.u16(..1000), random.u8(..6), random.f64(), random.u8(..4) == 0);
        let longest = if long { signature_validity } else { USUAL_DELAY.min(signature_validity) };
        let delay = longest.mul_f64(share);
        (meets < self.per_mille).then_some(match kind {
            0 => Fault::Delay(delay),
            1 => Fault::Drop,
            2 => Fault::InternalError,
            3 => Fault::Throttle,
            4 => Fault::LoseResponse,
            _ => Fault::Repeat(delay),
        })
    }
}
