//! Losses since they were last reported.

use std::collections::BTreeMap;

use imds_audit_ebpf::Loss as KernelLoss;

use crate::{
    aggregate::counter_delta::CounterDelta,
    audit::describe,
    event::{Loss, LossUnit},
    flow::FlowCounters,
    source::ebpf::loss_counters::Lost,
};

/// The losses in user space that were reported, by reason.
#[derive(Debug, Default)]
pub(super) struct LossDeltas(CounterDelta<&'static str>);

impl LossDeltas {
    /// Returns the losses since the last call: what the tracker could not observe, `malformed`
    /// records, and processes that lack a part because procfs was `late`.
    pub(super) fn delta(&mut self, counters: FlowCounters, malformed: u64, late: u64) -> Vec<Loss> {
        let counts = [
            ("malformed", LossUnit::Records, malformed),
            ("procfs", LossUnit::Processes, late),
            // A response to something that was not seen as a request: one within the declared body
            // of another, for example.
            ("unpaired", LossUnit::Requests, counters.unpaired_responses),
            ("doubtful", LossUnit::Requests, counters.doubtful_requests),
            // A status was reported, and another packet said another: one of the two was forged.
            ("contradicted", LossUnit::Requests, counters.contradicted_responses),
            // Whatever a caller sent over a connection that no longer speaks HTTP.
            ("tunnel", LossUnit::Bytes, counters.tunneled_bytes),
            ("evicted", LossUnit::Connections, counters.evicted),
            ("held", LossUnit::Bytes, counters.held_overflows),
            ("pending", LossUnit::Connections, counters.pending_overflows),
        ];
        counts
            .into_iter()
            .map(|(reason, what, count)| (reason, what, self.0.grow(reason, count, u64::MAX)))
            .filter(|(.., count)| *count > 0)
            .map(|(reason, what, count)| Loss { reason: reason.into(), what, count, process: None })
            .collect()
    }
}

/// Converts the losses of the eBPF programs, one for each reason and process.
pub(super) fn of_kernel(lost: &[Lost]) -> Vec<Loss> {
    // A process that called `exec` in between comes more than once.
    let mut sums = BTreeMap::<_, u64>::new();
    for Lost { loss, count, process } in lost {
        let process = process.map(|process| describe::loss_process(process.pid, &process.comm));
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
        KernelLoss::Connect | KernelLoss::Writer | KernelLoss::Snapshot => LossUnit::Processes,
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
    use crate::source::ebpf::loss_counters::LossOwner;

    #[test]
    fn each_growth_is_reported_once() {
        let mut deltas = LossDeltas::default();
        let counters =
            FlowCounters { unpaired_responses: 3, tunneled_bytes: 9, ..FlowCounters::default() };
        let reasons = |losses: Vec<Loss>| -> Vec<_> {
            losses.into_iter().map(|loss| (loss.reason, loss.count)).collect()
        };
        assert_eq!(
            reasons(deltas.delta(counters, 2, 1)),
            [
                ("malformed".into(), 2),
                ("procfs".into(), 1),
                ("unpaired".into(), 3),
                ("tunnel".into(), 9)
            ]
        );
        assert_eq!(reasons(deltas.delta(counters, 2, 1)), []);
    }

    #[test]
    fn losses_of_the_ebpf_programs_are_reported_with_their_process() {
        let mut comm = [0; COMM_LENGTH];
        comm[..4].copy_from_slice(b"cu\nl");
        let process = Some(LossOwner { pid: 7, comm });
        let lost = Lost { loss: KernelLoss::Request, count: 2, process };
        let losses = of_kernel(&[lost, lost, Lost { process: None, ..lost }]);
        let counted: Vec<_> = losses.iter().map(|loss| (loss.what, loss.count)).collect();
        assert_eq!(counted, [(LossUnit::Requests, 2), (LossUnit::Requests, 4)]);
        let process = losses[1].process.as_ref().unwrap();
        assert_eq!((process.pid, process.name.as_deref()), (7, Some("cu\nl")));
    }
}
