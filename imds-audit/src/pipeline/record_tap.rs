//! Observer of every record of a live audit, beside the auditor.

use imds_audit_ebpf::{COMM_LENGTH, Task};

use crate::audit::auditor::Auditor;
use crate::event::Loss;
use crate::segment::{ConnectionId, Segment, Timestamp};

/// Sees every record of a live audit.
pub trait RecordTap {
    /// Takes an attempt to connect, with the thread that makes it.
    fn connect(&mut self, connection: ConnectionId, task: Task, comm: [u8; COMM_LENGTH]);

    /// Takes a segment, with the name of the thread that sent it, and with the packet's own IP and
    /// TCP headers, which are empty where the source does not have them.
    fn segment(&mut self, segment: &Segment<'_>, comm: [u8; COMM_LENGTH], headers: &[u8]);

    /// Takes a connection whose owner is looked for; [`Self::owner`] follows, its segments too.
    fn await_owner(&mut self, connection: ConnectionId);

    /// Takes the process that holds a connection's socket, `None` where it was not found.
    fn owner(&mut self, connection: ConnectionId, owner: Option<(Task, [u8; COMM_LENGTH])>);

    /// Takes what the source lost.
    fn losses(&mut self, losses: &[Loss]);

    /// Does what is due, after a batch of records.
    fn turn(&mut self, auditor: &mut Auditor, now: Timestamp);

    /// Returns when [`Self::turn`] is due if no record comes before.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Ends: nothing more comes.
    fn finish(&mut self, auditor: &mut Auditor, now: Timestamp);
}
