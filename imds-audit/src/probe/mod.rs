//! Checks what the host allows, loads and attaches the kernel half, and reads its records.
//!
//! This station knows aya. Nothing else does.

mod bpf;
pub mod btf;
pub mod host;
pub mod loader;
pub mod losses;
pub mod object;
pub mod record;
pub mod refusal;
pub mod source;
mod vmlinux;

/// The kernel half, as `cargo xtask build` put it in; empty in a build without it.
#[cfg(kernel_half)]
static KERNEL_HALF: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/imds-audit-programs"));
#[cfg(not(kernel_half))]
static KERNEL_HALF: &[u8] = &[];

/// Returns whether this build has its kernel half, without which nothing can be audited.
pub const fn is_built() -> bool {
    !KERNEL_HALF.is_empty()
}
