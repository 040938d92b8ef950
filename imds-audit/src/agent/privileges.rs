//! Rights that are given up once the programs are attached.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::{config::PrivilegesConfig, seccomp};

/// Rights that reading processes needs: other users' programs and paths (CAP_SYS_PTRACE), and
/// cgroups by their number when their processes are gone (CAP_DAC_READ_SEARCH).
const READING: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Rights that stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remaining {
    /// The capabilities of the main thread and of those that it starts from now on.
    pub capabilities: CapabilitySet,
    /// Whether a seccomp filter is in force.
    pub has_filter: bool,
}

/// Why rights could not be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegesError {
    /// The kernel refuses it.
    #[error("cannot give up {0}")]
    Refused(&'static str, #[source] std::io::Error),
    /// The filter cannot be made or installed.
    #[error("cannot install the seccomp filter")]
    Filter(#[from] seccomp::FilterError),
}

/// Gives up what an attached agent has no use for.
///
/// `can_read_counters` tries whether the kernel lets the loss counters be read. Before Linux 5.19
/// that takes CAP_BPF where `kernel.unprivileged_bpf_disabled` is not 0, so it is tried without,
/// and that right is kept only where it is needed. `uses_udp` leaves datagrams to other hosts for
/// syslog.
///
/// # Errors
/// Returns an error if the kernel refuses any of it.
pub(super) fn reduce(
    config: PrivilegesConfig,
    uses_udp: bool,
    can_read_counters: impl Fn() -> bool,
) -> Result<Remaining, PrivilegesError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| PrivilegesError::Refused("new privileges", error.into()))?;
    if config.drop_capabilities {
        drop_capabilities(can_read_counters)
            .map_err(|error| PrivilegesError::Refused("capabilities", error.into()))?;
    }
    if config.seccomp {
        seccomp::install(uses_udp)?;
    }
    let capabilities = capabilities(None)
        .map_err(|error| PrivilegesError::Refused("capabilities", error.into()))?
        .effective;
    Ok(Remaining { capabilities, has_filter: config.seccomp })
}

fn drop_capabilities(can_read_counters: impl Fn() -> bool) -> rustix::io::Result<()> {
    let held = capabilities(None)?;
    let reading = held.permitted & READING;
    // Only the effective ones first: they can be had back.
    set_capabilities(None, CapabilitySets { effective: reading, ..held })?;
    let keep =
        if can_read_counters() { reading } else { reading | (held.permitted & CapabilitySet::BPF) };
    rustix::thread::clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() },
    )
}

/// Returns the capabilities that an agent with the rights held now keeps, found out in a thread that
/// gives up its own; `None` if the kernel refuses.
pub(crate) fn kept(can_read_counters: impl Fn() -> bool + Send) -> Option<Vec<String>> {
    let try_it = || {
        drop_capabilities(can_read_counters).ok()?;
        capabilities(None).ok()
    };
    let sets = std::thread::scope(|scope| scope.spawn(try_it).join().ok().flatten())?;
    Some(sets.effective.iter_names().map(|(name, _)| format!("CAP_{name}")).collect())
}

/// Gives up every capability of a thread that writes to files and sockets only: rights are a
/// thread's own, and these threads are started before the programs are attached.
pub(super) fn drop_all_of_thread() {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    if let Err(error) = set_capabilities(None, sets) {
        log::warn!("a thread cannot give up its capabilities error={error}");
    }
}

impl std::fmt::Display for Remaining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.capabilities.iter_names().map(|(name, _)| name).collect();
        let capabilities = if names.is_empty() { "none".to_owned() } else { names.join(",") };
        let filter = if self.has_filter { "on" } else { "off" };
        write!(f, "capabilities={capabilities} no_new_privs=on seccomp={filter}")
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Rights are a thread's own: a thread of the test's gives up its own.
    fn after(can_read_counters: bool) -> CapabilitySet {
        let thread = thread::spawn(move || {
            drop_capabilities(|| can_read_counters).unwrap();
            capabilities(None).unwrap()
        });
        let sets = thread.join().unwrap();
        assert_eq!((sets.permitted, sets.inheritable), (sets.effective, CapabilitySet::empty()));
        sets.effective
    }

    #[test]
    fn only_what_reading_needs_stays_and_bpf_where_the_counters_need_it() {
        let held = capabilities(None).unwrap().permitted;
        assert_eq!(after(true), held & READING);
        assert_eq!(after(false), held & (READING | CapabilitySet::BPF));
    }

    #[test]
    fn a_thread_that_writes_has_no_right_left() {
        let thread = thread::spawn(|| {
            drop_all_of_thread();
            capabilities(None).unwrap()
        });
        let sets = thread.join().unwrap();
        assert!(sets.effective.is_empty() && sets.permitted.is_empty());
    }
}
