//! Reasons why an entry point has nothing to report.

use imds_audit_ebpf::Loss;

/// Why an entry point has nothing to report.
pub enum Skip {
    /// The peer is no audited endpoint.
    NotAudited,
    /// The packet or the socket is not TCP.
    NotTcp,
    /// The packet carries nothing that is looked for.
    Nothing,
    /// It should have been reported.
    Lost(Loss),
    /// It should have been reported, and is counted already.
    Counted,
}
