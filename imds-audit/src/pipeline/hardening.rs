//! Hardens and bounds this process's memory: tokens pass through it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Disables core dumps, and tracing and reading of this process's memory without CAP_SYS_PTRACE
/// (`PR_SET_DUMPABLE`, prctl(2)).
///
/// A core limit of zero alone is ignored where `core_pattern` is a pipe, as to systemd-coredump
/// (core(5)). It is set too, for programs that this one may execute.
pub(crate) fn disable_core_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("cannot disable core dumps error={error}");
    }
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::warn!("cannot set the core limit error={error}");
    }
}

/// Has the allocator return memory to the system early, and use one arena for all threads.
///
/// By default glibc raises its thresholds with the sizes requested: after the first buffer of
/// some megabytes it places the next ones on the heap, where they leave holes, keeps twice as much
/// at the heap's end, and has an arena for each thread (mallopt(3)). Thresholds that are set stay.
pub(crate) fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 256 << 10),
        (libc::M_TRIM_THRESHOLD, 512 << 10),
        (libc::M_ARENA_MAX, 1),
    ] {
        // SAFETY: the function changes nothing but the allocator's parameters.
        if unsafe { libc::mallopt(parameter, value) } == 0 {
            log::warn!("the allocator rejects a threshold parameter={parameter}");
        }
    }
}
