//! Bounds on what is read and kept of processes.

/// The largest number of argument bytes kept of an ancestor; the rest is cut and marked.
pub(super) const MAX_ANCESTOR_ARGUMENT_BYTES: usize = 2048;
/// The largest number of bytes of a command line that is read to find what runs: a Java virtual
/// machine's class stands behind its class path. Linux allows one argument of this length.
pub(super) const MAX_COMMAND_LINE: usize = 128 * 1024;
/// The largest number of bytes of an environment that is read for the variables that name a
/// cluster. Most take a few KiB; Linux allows 6 MiB.
pub(super) const MAX_ENVIRONMENT: usize = 256 * 1024;
/// The largest number of ancestors known of a process.
pub(super) const MAX_ANCESTORS: usize = 16;
/// How long an incomplete process is taken as it is before procfs is asked again, in
/// nanoseconds: it bounds what a process that never verifies can cost.
pub(super) const RETRY_AFTER: u64 = 1_000_000_000;
