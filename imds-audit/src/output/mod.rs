//! Writes events: as text for people or JSON lines for machines, and a summary at the end.

pub(crate) mod destination;
pub(crate) mod filter;
pub mod json;
pub(crate) mod log_file;
pub(crate) mod loss;
pub(crate) mod queue;
pub(crate) mod rotate;
pub(crate) mod sink;
pub(crate) mod summary;
pub(crate) mod syslog;
pub(crate) mod text;
pub(crate) mod writer;

use std::sync::OnceLock;

/// Called on every thread that writes when it starts.
static THREAD_START: OnceLock<fn()> = OnceLock::new();

/// Has `act` called on every thread that writes, of those that are started from now on. Only the
/// first call counts. Capabilities belong to a thread, so each gives up its own.
pub(crate) fn on_thread_start(act: fn()) {
    THREAD_START.get_or_init(|| act);
}

fn thread_started() {
    if let Some(act) = THREAD_START.get() {
        act();
    }
}
