//! Fallbacks of this host, for the `start` event.

use std::path::Path;

use crate::{
    event::Fallback,
    process::Roots,
    source::ebpf::{
        host::{Capability, DAC_READ_SEARCH, Host, Rights, SYS_PTRACE},
        loader,
    },
};

/// Returns the fallbacks of the eBPF programs and those of the host.
pub(super) fn all(
    of_kernel: &[loader::Fallback],
    host: &Host,
    rights: Rights,
    roots: &Roots,
) -> Vec<Fallback> {
    let of_kernel = of_kernel.iter().map(|fallback| Fallback {
        name: fallback.name.to_owned(),
        reason: fallback.reason.clone(),
        consequence: fallback.consequence.to_owned(),
    });
    of_kernel.chain(of_host(host, rights, roots)).collect()
}

/// Returns what is missing for the description of processes.
fn of_host(host: &Host, rights: Rights, roots: &Roots) -> impl Iterator<Item = Fallback> {
    let is_foreign = !host.initial_pid_namespace && roots.procfs == Path::new("/proc");
    let pid_namespace = is_foreign.then(|| Fallback {
        name: "pid-namespace".to_owned(),
        reason: "this program runs in a pid namespace of its own".to_owned(),
        consequence:
            "processes outside of it, and in others, are described by the kernel's snapshot only"
                .to_owned(),
    });
    let is_missing =
        |right: Capability| (!rights.allows(right)).then(|| format!("{} is missing", right.name));
    let trace = is_missing(SYS_PTRACE).map(|reason| Fallback {
        name: "no-ptrace".to_owned(),
        reason,
        consequence: "the full path of other users' programs and their users' names may be absent"
            .to_owned(),
    });
    let unmounted = || roots.cgroup.is_none().then(|| "cgroup v2 is mounted nowhere".to_owned());
    let names = unmounted().or_else(|| is_missing(DAC_READ_SEARCH)).map(|reason| Fallback {
        name: "no-cgroup-names".to_owned(),
        reason,
        consequence: "unit, container and pod are known only while a process still runs".to_owned(),
    });
    [pid_namespace, trace, names].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_to_describe_processes_is_named() {
        let host = Host {
            name: String::new(),
            kernel: String::new(),
            architecture: String::new(),
            lockdown: None,
            initial_pid_namespace: false,
        };
        let mut roots = Roots { cgroup: None, ..Roots::default() };
        let names = |roots: &Roots| -> Vec<_> {
            of_host(&host, Rights::NONE, roots).map(|f| (f.name, f.reason)).collect()
        };
        let found = names(&roots);
        let names_found: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names_found, ["pid-namespace", "no-ptrace", "no-cgroup-names"]);
        assert!(found[2].1.contains("mounted nowhere"), "{found:?}");
        roots.cgroup = Some("/sys/fs/cgroup".into());
        assert!(names(&roots)[2].1.contains("CAP_DAC_READ_SEARCH"));
    }
}
