//! What the stations lost since it was last told.

use std::collections::BTreeMap;

use imds_audit_ebpf::Loss as KernelLoss;

use crate::{
    audit::{
        build,
        event::{Loss, LossUnit},
    },
    flow::Counters,
    probe::losses::Lost,
};

/// Remembers what was told of counters that only grow.
#[derive(Debug, Default)]
pub struct Told {
    counters: Counters,
    malformed: u64,
    late: u64,
}

impl Told {
    /// Returns what the flow station could not see as it was, and the records of the kernel half
    /// that could not be read, and how many processes are known in part only because procfs was
    /// `late`, since the last call.
    pub fn grown(&mut self, counters: Counters, malformed: u64, late: u64) -> Vec<Loss> {
        let told = &self.counters;
        let grown = [
            ("malformed", LossUnit::Records, malformed, self.malformed),
            ("procfs", LossUnit::Processes, late, self.late),
            // The service answered something that was not seen to be a request: one inside what
            // another request declared as its body, say.
            ("unpaired", LossUnit::Requests, counters.unpaired_responses, told.unpaired_responses),
            ("doubtful", LossUnit::Requests, counters.doubtful_requests, told.doubtful_requests),
            ("evicted", LossUnit::Connections, counters.evicted, told.evicted),
            ("held", LossUnit::Bytes, counters.held_overflows, told.held_overflows),
            ("pending", LossUnit::Connections, counters.pending_overflows, told.pending_overflows),
        ];
        (self.counters, self.malformed, self.late) = (counters, malformed, late);
        grown
            .into_iter()
            .map(|(reason, what, count, told)| (reason, what, count.saturating_sub(told)))
            .filter(|(.., count)| *count > 0)
            .map(|(reason, what, count)| Loss { reason: reason.into(), what, count, process: None })
            .collect()
    }
}

/// Turns what the kernel half lost into losses, one for each reason and process.
pub fn of_kernel(lost: &[Lost]) -> Vec<Loss> {
    // A process that called `exec` in between comes more than once.
    let mut sums = BTreeMap::<_, u64>::new();
    for Lost { loss, count, process } in lost {
        let process = process.map(|process| build::loser(process.pid, &process.comm));
        let sum = sums.entry((*loss, process)).or_default();
        *sum = sum.saturating_add(*count);
    }
    sums.into_iter()
        .map(|((loss, process), count)| Loss {
            reason: loss.name().into(),
            what: unit(loss),
            count,
            process,
        })
        .collect()
}

fn unit(loss: KernelLoss) -> LossUnit {
    match loss {
        KernelLoss::Connect | KernelLoss::Writer => LossUnit::Processes,
        KernelLoss::Request => LossUnit::Requests,
        KernelLoss::RequestRest
        | KernelLoss::Response
        | KernelLoss::Control
        | KernelLoss::Unreadable => LossUnit::Records,
    }
}

#[cfg(test)]
mod tests {
    use imds_audit_ebpf::COMM_LENGTH;

    use super::*;
    use crate::probe::losses::Loser;

    #[test]
    fn each_growth_is_told_once() {
        let mut told = Told::default();
        let counters = Counters { unpaired_responses: 3, ..Counters::default() };
        let reasons = |losses: Vec<Loss>| -> Vec<_> {
            losses.into_iter().map(|loss| (loss.reason, loss.count)).collect()
        };
        assert_eq!(
            reasons(told.grown(counters, 2, 1)),
            [("malformed".into(), 2), ("procfs".into(), 1), ("unpaired".into(), 3)]
        );
        assert_eq!(reasons(told.grown(counters, 2, 1)), []);
    }

    #[test]
    fn what_the_kernel_half_lost_is_told_with_its_process() {
        let mut comm = [0; COMM_LENGTH];
        comm[..4].copy_from_slice(b"cu\nl");
        let process = Some(Loser { pid: 7, comm });
        let lost = Lost { loss: KernelLoss::Request, count: 2, process };
        let losses = of_kernel(&[lost, lost, Lost { process: None, ..lost }]);
        let told: Vec<_> = losses.iter().map(|loss| (loss.what, loss.count)).collect();
        assert_eq!(told, [(LossUnit::Requests, 2), (LossUnit::Requests, 4)]);
        let process = losses[1].process.as_ref().unwrap();
        assert_eq!((process.pid, process.name.as_deref()), (7, Some("cu\nl")));
    }
}
