//! Parts of the engine that the benchmarks, the guests of the virtual machines and the end-to-end
//! tests use one by one. They change without notice.

pub mod misclassification;

pub use crate::audit::{auditor::Auditor, clock::Clock};
pub use crate::flow::Limits;
pub use crate::output::{
    filter::EventFilter,
    json,
    sink::{Format, Sink},
    writer::Writer,
};
pub use crate::pipeline::{Session, endpoints::default_endpoints};
pub use crate::process::Roots;
pub use crate::redact::text as redact;
pub use crate::rehearsal::programs::try_load as try_rehearsal;
pub use crate::segment::{Direction, Timestamp};
pub use crate::source::ebpf::{
    host::CgroupRoot,
    loader::{KernelReads, Loaded, Options, Program, try_each},
    record::Record,
};
