//! The pipelines: records or packets in, events out.

mod audit_result;
mod caller_share;
mod clock;
mod control;
pub(crate) mod endpoints;
mod event_sink;
mod fallbacks;
pub(crate) mod hardening;
mod heap_trim;
pub(crate) mod host_network;
pub(crate) mod input;
pub(crate) mod interrupt;
mod losses;
pub(crate) mod origin;
mod packet_input;
pub(crate) mod record_tap;
pub(crate) mod replay;
mod session;
pub(crate) mod shutdown;
mod startup_code;
mod wakeup_throttle;

pub(crate) use audit_result::AuditResult;
pub(crate) use control::Control;
pub(crate) use event_sink::{View, is_of};
pub use session::Session;
