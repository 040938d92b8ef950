//! Keeps this program's memory to itself, for it holds tokens for a moment each, and keeps it small.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Has the kernel write no core dump of this program, and let no one trace it or read its memory
/// without CAP_SYS_PTRACE (`PR_SET_DUMPABLE`, prctl(2)).
///
/// A core limit of zero alone would not do: it does not hold where `core_pattern` is a pipe, as
/// to systemd-coredump (core(5)). It is set too, for whatever this program might become.
pub fn keep_to_itself() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("core dumps cannot be switched off error={error}");
    }
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::warn!("the limit of core dumps cannot be set error={error}");
    }
}

/// Has the allocator give memory back to the system soon, and use one heap for all threads.
///
/// Left to itself, glibc raises its bounds with what it is asked for: after the first buffer of
/// some megabytes it puts the next ones between everything else, where they leave holes, keeps
/// twice as much at the heap's end, and has a heap for each thread (mallopt(3)). Bounds that are
/// set stay.
pub fn stay_small() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 256 << 10),
        (libc::M_TRIM_THRESHOLD, 512 << 10),
        (libc::M_ARENA_MAX, 1),
    ] {
        // SAFETY: the function changes nothing but the allocator's parameters.
        if unsafe { libc::mallopt(parameter, value) } == 0 {
            log::warn!("the allocator does not take a bound parameter={parameter}");
        }
    }
}
