//! Counts what is under way, for those who wait until nothing is.

use tokio::sync::watch;

/// A guard that is counted for as long as it lives.
pub(crate) struct UnderWay(watch::Sender<u32>);

impl UnderWay {
    pub(crate) fn new(count: &watch::Sender<u32>) -> Self {
        count.send_modify(|guards| *guards += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|guards| *guards -= 1);
    }
}
