//! The faults that a call can meet.

use std::time::Duration;

/// Longer than a publish waits for an attempt (500 ms), so that some attempts are carried out after their caller has
/// given up.
const USUAL_DELAY: Duration = Duration::from_millis(700);

/// A fault: what happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call arrives late, perhaps when nobody waits for it any more.
    Delay(Duration),
    /// The call does not arrive, and the connection is closed.
    Drop,
    /// The call is answered with status 500 and not carried out.
    InternalError,
    /// The call is throttled and not carried out.
    Throttle,
    /// The call is carried out, but the connection is closed before the response.
    LoseResponse,
    /// The call is carried out, and arrives a second time after this delay.
    Repeat(Duration),
    /// The call is carried out, and the response's body lacks its end without saying so, if it is as long as one with a
    /// record in it.
    CutOff,
}

impl Fault {
    /// Returns the fault's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Drop => "drop",
            Self::InternalError => "internal error",
            Self::Throttle => "throttle",
            Self::LoseResponse => "lost response",
            Self::Repeat(_) => "repeat",
            Self::CutOff => "cut off response",
        }
    }
}

/// Share of the calls that meet a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Calls that meet a fault, of a thousand. Each kind of fault has the same share of them.
    pub per_mille: u16,
}

impl Faults {
    /// No faults.
    pub const NONE: Self = Self { per_mille: 0 };

    /// Chooses the fault of the next call. One delay in four is drawn up to the time for which a signature is valid.
    pub(super) fn choose(self, random: &mut fastrand::Rng, signature_validity: Duration) -> Option<Fault> {
        // Drawn even if no fault follows, so that the same seed gives the same sequence at every rate.
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
