//! The result of an audit.

use std::time::Duration;

use crate::{event::StopReason, output::summary::Summary};

/// How an audit ended.
pub struct AuditResult {
    /// The sums over all events.
    pub summary: Summary,
    /// How long everything was attached.
    pub observed: Duration,
    /// Why it ended.
    pub reason: StopReason,
    /// Events that could not be written and that no loss event reports.
    pub unwritten: u64,
    /// The last error of an output.
    pub trouble: Option<String>,
}
