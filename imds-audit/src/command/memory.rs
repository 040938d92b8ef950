//! Keeps this program's memory to itself: for a moment each, it holds tokens.

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
