//! Losses that the eBPF programs counted, with the process.

use std::collections::BTreeMap;

use imds_audit_ebpf::{COMM_LENGTH, Loss, LossCount, LossKey};

use crate::aggregate::counter_delta::CounterDelta;

/// How much of each [`Loss`] there was, in the order of [`Loss::ALL`].
pub(crate) type Totals = [u64; Loss::ALL.len()];

/// A loss that was not reported before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Why, and of what.
    pub loss: Loss,
    /// How much.
    pub count: u64,
    /// The process that lost it, if it is known.
    pub process: Option<LossOwner>,
}

/// A process that lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LossOwner {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// The name of the thread that acted, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
}

/// Remembers how much of the eBPF programs' counters was reported; they only grow.
///
/// The totals are exact. The counts by process are a part of them, read at another moment and
/// forgotten for some processes where there are many; so they never add to a total, they only say
/// for a part of it by process.
#[derive(Debug, Default)]
pub(crate) struct KernelLossDelta {
    reported: Totals,
    /// As many as the eBPF programs' map holds.
    blamed: CounterDelta<LossKey>,
}

impl KernelLossDelta {
    /// Returns whether there is something to tell.
    pub(crate) fn has_grown(&self, totals: &Totals) -> bool {
        totals.iter().zip(&self.reported).any(|(total, reported)| total > reported)
    }

    /// Takes the counters as they are now. Returns what was lost since the last call.
    pub(crate) fn take(
        &mut self,
        totals: &Totals,
        counts: &BTreeMap<LossKey, LossCount>,
    ) -> Vec<Lost> {
        let mut lost = Vec::new();
        for ((loss, total), reported) in Loss::ALL.into_iter().zip(totals).zip(&mut self.reported) {
            let mut left = total.saturating_sub(*reported);
            *reported = (*reported).max(*total);
            let of_loss = counts.iter().filter(|(key, _)| key.loss == loss as u32);
            for (key, LossCount { count, comm }) in of_loss {
                // Less than before where the process was forgotten in between.
                let grown = self.blamed.grow(*key, *count, left);
                if grown > 0 {
                    let process = Some(LossOwner { pid: key.pid, comm: *comm });
                    lost.push(Lost { loss, count: grown, process });
                    left -= grown;
                }
            }
            if left > 0 {
                lost.push(Lost { loss, count: left, process: None });
            }
        }
        self.blamed.retain(|key| counts.contains_key(key));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: usize = Loss::Request as usize;

    fn totals(requests: u64) -> Totals {
        let mut totals = Totals::default();
        totals[REQUEST] = requests;
        totals
    }

    fn counts(processes: &[(u32, u64)]) -> BTreeMap<LossKey, LossCount> {
        let entry = |&(pid, count): &(u32, u64)| {
            let key = LossKey { loss: Loss::Request as u32, pid, start_time: 1, exec_id: 0 };
            (key, LossCount { count, comm: [0; COMM_LENGTH] })
        };
        processes.iter().map(entry).collect()
    }

    fn reported(lost: &[Lost]) -> Vec<(u64, Option<u32>)> {
        lost.iter().map(|lost| (lost.count, lost.process.map(|process| process.pid))).collect()
    }

    #[test]
    fn what_has_grown_is_told_once_with_whose_it_was() {
        let mut ledger = KernelLossDelta::default();
        assert!(!ledger.has_grown(&totals(0)));
        assert!(ledger.has_grown(&totals(5)));
        let lost = ledger.take(&totals(5), &counts(&[(7, 3)]));
        assert_eq!(reported(&lost), [(3, Some(7)), (2, None)]);
        assert!(!ledger.has_grown(&totals(5)));
        assert_eq!(reported(&ledger.take(&totals(5), &counts(&[(7, 3)]))), []);
        let lost = ledger.take(&totals(7), &counts(&[(7, 4), (8, 1)]));
        assert_eq!(reported(&lost), [(1, Some(7)), (1, Some(8))]);
    }

    #[test]
    fn a_process_that_was_forgotten_begins_anew() {
        let mut ledger = KernelLossDelta::default();
        ledger.take(&totals(5), &counts(&[(7, 5)]));
        let lost = ledger.take(&totals(7), &counts(&[(7, 2)]));
        assert_eq!(reported(&lost), [(2, Some(7))]);
        let lost = ledger.take(&totals(9), &counts(&[]));
        assert_eq!(reported(&lost), [(2, None)]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_told_adds_up_to_the_total_whatever_is_said_of_processes(
            steps in proptest::collection::vec(
                (0..9u64, proptest::collection::vec((1..4u32, 0..9u64), 0..4)), 0..20,
            ),
        ) {
            let (mut ledger, mut total, mut sum) = (KernelLossDelta::default(), 0, 0);
            for (grown, processes) in steps {
                total += grown;
                let lost = ledger.take(&totals(total), &counts(&processes));
                sum += lost.iter().map(|lost| lost.count).sum::<u64>();
                proptest::prop_assert_eq!(sum, total);
            }
        }
    }
}
