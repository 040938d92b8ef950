//! Losses that no comment in a file tells of yet.

use crate::event::{Loss, LossUnit};
use crate::source::pcapng::note::MAX_LOSSES;

/// The reason of a loss of packets that the files could not take.
const NOT_WRITTEN: &str = "capture";

/// Losses that no comment tells of yet: at most [`MAX_LOSSES`], then those of one reason together.
#[derive(Debug, Default)]
pub(super) struct PendingLosses(Vec<Loss>);

impl PendingLosses {
    /// Adds losses.
    pub(super) fn add(&mut self, losses: impl IntoIterator<Item = Loss>) {
        for loss in losses {
            let same = |known: &&mut Loss| {
                (&known.reason, known.what, &known.process)
                    == (&loss.reason, loss.what, &loss.process)
            };
            if let Some(known) = self.0.iter_mut().find(same) {
                known.count = known.count.saturating_add(loss.count);
                continue;
            }
            let alike =
                |known: &&mut Loss| (&known.reason, known.what) == (&loss.reason, loss.what);
            let is_full = self.0.len() >= MAX_LOSSES / 2;
            match self.0.iter_mut().find(alike).filter(|_| is_full) {
                Some(known) => {
                    known.count = known.count.saturating_add(loss.count);
                    known.process = None;
                }
                None => self.0.push(loss),
            }
        }
        self.0.truncate(MAX_LOSSES);
    }

    /// Adds packets that could not be written.
    pub(super) fn add_unwritten(&mut self, count: u64) {
        if count > 0 {
            let reason = NOT_WRITTEN.into();
            self.add([Loss { reason, what: LossUnit::Records, count, process: None }]);
        }
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LossProcess;

    #[test]
    fn losses_of_many_processes_are_counted_together_and_none_is_left_out() {
        let mut losses = PendingLosses::default();
        for pid in 0..1_000 {
            let process = Some(LossProcess { pid, name: None });
            let loss =
                Loss { reason: "request".into(), what: LossUnit::Requests, count: 2, process };
            losses.add([loss]);
        }
        let taken = losses.take();
        assert!(taken.len() <= MAX_LOSSES);
        assert_eq!(taken.iter().map(|loss| loss.count).sum::<u64>(), 2_000);
        assert!(losses.take().is_empty());
    }
}
