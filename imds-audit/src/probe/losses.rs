//! What the kernel half lost, and whose it was.

use std::collections::BTreeMap;

use imds_audit_ebpf::{COMM_LENGTH, Loss, LossCount, LossKey};

/// How much of each [`Loss`] there was, in the order of [`Loss::ALL`].
pub type Totals = [u64; Loss::ALL.len()];

/// A loss that was not told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why, and of what.
    pub loss: Loss,
    /// How much.
    pub count: u64,
    /// Whose it was, where that is known.
    pub process: Option<Loser>,
}

/// A process of which something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loser {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// The name of the thread that acted, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
}

/// Remembers what was told of the kernel half's counters, which only grow.
///
/// The totals are exact. The counts by process are a part of them, read at another moment and
/// forgotten for some processes where there are many; so they never add to a total, they only say
/// of a part of it whose it was.
#[derive(Debug, Default)]
pub struct Ledger {
    told: Totals,
    /// As many as the kernel half's map holds.
    blamed: BTreeMap<LossKey, u64>,
}

impl Ledger {
    /// Returns whether there is something to tell.
    pub fn has_grown(&self, totals: &Totals) -> bool {
        totals.iter().zip(&self.told).any(|(total, told)| total > told)
    }

    /// Takes the counters as they are now. Returns what was lost since the last call.
    pub fn take(&mut self, totals: &Totals, counts: &BTreeMap<LossKey, LossCount>) -> Vec<Lost> {
        let mut lost = Vec::new();
        for ((loss, total), told) in Loss::ALL.into_iter().zip(totals).zip(&mut self.told) {
            let mut left = total.saturating_sub(*told);
            *told = (*told).max(*total);
            let of_loss = counts.iter().filter(|(key, _)| key.loss == loss as u32);
            for (key, LossCount { count, comm }) in of_loss {
                let before = self.blamed.entry(*key).or_default();
                // Less than before where the kernel half forgot the process in between.
                let grown = count.checked_sub(*before).unwrap_or(*count).min(left);
                *before = if count < before { grown } else { *before + grown };
                if grown > 0 {
                    let process = Some(Loser { pid: key.pid, comm: *comm });
                    lost.push(Lost { loss, count: grown, process });
                    left -= grown;
                }
            }
            if left > 0 {
                lost.push(Lost { loss, count: left, process: None });
            }
        }
        self.blamed.retain(|key, _| counts.contains_key(key));
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

    fn told(lost: &[Lost]) -> Vec<(u64, Option<u32>)> {
        lost.iter().map(|lost| (lost.count, lost.process.map(|process| process.pid))).collect()
    }

    #[test]
    fn what_has_grown_is_told_once_with_whose_it_was() {
        let mut ledger = Ledger::default();
        assert!(!ledger.has_grown(&totals(0)));
        assert!(ledger.has_grown(&totals(5)));
        let lost = ledger.take(&totals(5), &counts(&[(7, 3)]));
        assert_eq!(told(&lost), [(3, Some(7)), (2, None)]);
        assert!(!ledger.has_grown(&totals(5)));
        assert_eq!(told(&ledger.take(&totals(5), &counts(&[(7, 3)]))), []);
        let lost = ledger.take(&totals(7), &counts(&[(7, 4), (8, 1)]));
        assert_eq!(told(&lost), [(1, Some(7)), (1, Some(8))]);
    }

    #[test]
    fn a_process_that_was_forgotten_begins_anew() {
        let mut ledger = Ledger::default();
        ledger.take(&totals(5), &counts(&[(7, 5)]));
        let lost = ledger.take(&totals(7), &counts(&[(7, 2)]));
        assert_eq!(told(&lost), [(2, Some(7))]);
        let lost = ledger.take(&totals(9), &counts(&[]));
        assert_eq!(told(&lost), [(2, None)]);
        assert!(ledger.blamed.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn what_is_told_adds_up_to_the_total_whatever_is_said_of_processes(
            steps in proptest::collection::vec(
                (0..9u64, proptest::collection::vec((1..4u32, 0..9u64), 0..4)), 0..20,
            ),
        ) {
            let (mut ledger, mut total, mut sum) = (Ledger::default(), 0, 0);
            for (grown, processes) in steps {
                total += grown;
                let lost = ledger.take(&totals(total), &counts(&processes));
                sum += lost.iter().map(|lost| lost.count).sum::<u64>();
                proptest::prop_assert_eq!(sum, total);
            }
        }
    }
}
