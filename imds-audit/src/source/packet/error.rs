//! Reasons why the packet source does not run.

use std::io;

use imds_audit_ebpf::MAX_ENDPOINTS;

/// Why the packet source does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    /// More endpoints than there are places.
    #[error("at most {MAX_ENDPOINTS} endpoints can be audited, {0} were given")]
    TooManyEndpoints(usize),
    /// The right to open a packet socket is missing.
    #[error(
        "not allowed to open a packet socket: CAP_NET_RAW is missing. Run as root, or with: \
         setpriv --inh-caps +net_raw --ambient-caps +net_raw …; in a container: \
         docker run --cap-add NET_RAW ({0})"
    )]
    Rights(#[source] io::Error),
    /// The kernel has no packet sockets, or a filter of system calls forbids them.
    #[error("cannot open a packet socket: {0}")]
    Open(#[source] io::Error),
    /// The kernel refuses a setting of the socket.
    #[error("the kernel refuses {what} of the packet socket: {error}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
}
