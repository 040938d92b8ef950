//! The eBPF source: checks what the host allows, loads and attaches the programs, and reads their
//! records.
//!
//! No other module uses aya.

pub(crate) mod btf;
mod endpoints;
pub(crate) mod error;
pub(crate) mod host;
pub(crate) mod loader;
pub(crate) mod loss_counters;
pub(crate) mod object;
pub(crate) mod program;
pub(crate) mod record;
pub(crate) mod ring_reader;
pub(crate) mod syscall;
pub(crate) mod verifier_log;
mod vmlinux;

use std::io::Read as _;

/// The audit's eBPF object, as `cargo xtask build` put it in: compressed, to a quarter of its size.
/// Empty in a build without it.
static PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/imds-audit-programs"));

/// The rehearsal's eBPF object, in the same form.
static REHEARSAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/imds-audit-rehearsal"));

/// Returns the audit's eBPF object; empty in a build without it.
fn audit_object() -> Vec<u8> {
    inflate(PROGRAMS)
}

/// Returns the rehearsal's eBPF object; empty in a build without it.
pub(crate) fn rehearsal_object() -> Vec<u8> {
    inflate(REHEARSAL)
}

/// Inflates what the build compressed.
fn inflate(compressed: &[u8]) -> Vec<u8> {
    let mut object = Vec::new();
    // What the build wrote is whole, or empty.
    if flate2::read::ZlibDecoder::new(compressed).read_to_end(&mut object).is_err() {
        object.clear();
    }
    object
}

/// Returns whether this build has the audit's eBPF object, without which this source does not work.
pub(crate) const fn is_built() -> bool {
    !PROGRAMS.is_empty()
}
