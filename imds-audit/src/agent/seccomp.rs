//! A seccomp filter of the system calls that an attached agent makes; every other one fails with
//! EPERM, or with ENOSYS if the C library has something to fall back to.

use std::collections::BTreeMap;

use libc::{c_long, c_ulong};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Why a filter cannot be made or installed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct FilterError(#[from] seccompiler::Error);

impl From<seccompiler::BackendError> for FilterError {
    fn from(error: seccompiler::BackendError) -> Self {
        Self(seccompiler::Error::Backend(error))
    }
}

/// System calls that are let through whatever their arguments.
const ALLOWED: &[c_long] = &[
    // Memory, threads, time, signals.
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_timer_create,
    libc::SYS_uname,
    // Who and what this process is.
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getuid,
    libc::SYS_prlimit64,
    // Files.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_open_by_handle_at,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting, and the sockets that are open.
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// The older calls that x86_64 has beside those.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Commands of bpf(2) that read and write the elements of open maps: no program is loaded.
const BPF_MAP_COMMANDS: [u32; 4] = [1, 2, 3, 4];
/// Requests of ioctl(2): whether a file waits, and about terminals.
const IOCTLS: [c_ulong; 4] = [libc::FIONBIO, libc::FIOCLEX, libc::TCGETS, libc::TIOCGWINSZ];
/// Operations of prctl(2): the name of a thread, and the name of memory (`PR_SET_VMA`).
const PRCTLS: [i32; 3] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
/// The bits of a socket's type that are no flags (`SOCK_TYPE_MASK` in `include/linux/net.h`).
const SOCKET_TYPE: u64 = 0xf;

/// Installs the filter on every thread.
///
/// # Errors
/// Returns an error if the kernel has no seccomp or a thread refuses.
pub(super) fn install(uses_udp: bool) -> Result<(), FilterError> {
    for filter in filters(uses_udp)? {
        apply_filter_all_threads(&filter)?;
    }
    Ok(())
}

/// Makes the filters; the kernel takes the strictest verdict of all.
fn filters(uses_udp: bool) -> Result<[BpfProgram; 2], FilterError> {
    let refuse = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    // Its flags are in memory, where no filter can look: without it the C library calls `clone`.
    let missing = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    let missing =
        SeccompFilter::new(missing, SeccompAction::Allow, refuse(libc::ENOSYS), architecture)?;
    let allowed = SeccompFilter::new(
        rules(uses_udp)?,
        refuse(libc::EPERM),
        SeccompAction::Allow,
        architecture,
    )?;
    Ok([missing.try_into()?, allowed.try_into()?])
}

fn rules(uses_udp: bool) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, FilterError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_clone3, vec![]);
    // A thread of this process, and no process.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![rule(&[masked(0, thread, thread)?])?]);
    rules.insert(libc::SYS_bpf, any_of(&BPF_MAP_COMMANDS.map(u64::from))?);
    rules.insert(libc::SYS_ioctl, any_of_at(1, &IOCTLS.map(u64::from))?);
    rules.insert(libc::SYS_prctl, any_of(&PRCTLS.map(|call| u64::from(call.unsigned_abs())))?);
    // Datagrams only: syslog and the service manager take them, container engines do not.
    let families: &[i32] =
        if uses_udp { &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] } else { &[libc::AF_UNIX] };
    let datagram = u64::from(libc::SOCK_DGRAM.unsigned_abs());
    let sockets = families.iter().map(|family| {
        let family = u64::from(family.unsigned_abs());
        rule(&[equal(0, family)?, masked(1, SOCKET_TYPE, datagram)?])
    });
    if uses_udp {
        // Of datagrams: there are no other sockets that it could be called with.
        rules.insert(libc::SYS_bind, vec![]);
    }
    rules.insert(libc::SYS_socket, sockets.collect::<Result<_, _>>()?);
    Ok(rules)
}

fn any_of(values: &[u64]) -> Result<Vec<SeccompRule>, FilterError> {
    any_of_at(0, values)
}

fn any_of_at(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, FilterError> {
    values.iter().map(|value| rule(&[equal(argument, *value)?])).collect()
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, FilterError> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, FilterError> {
    let equal = SeccompCmpOp::Eq;
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, value)?)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, FilterError> {
    let masked = SeccompCmpOp::MaskedEq(mask);
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, masked, value)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        io::ErrorKind,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixListener, UnixStream},
        process::Command,
        thread,
    };

    use super::*;

    /// Runs `act` on a thread of its own under the filter; other threads have none.
    fn filtered<T: Send + 'static>(uses_udp: bool, act: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            for filter in filters(uses_udp).unwrap() {
                seccompiler::apply_filter(&filter).unwrap();
            }
            act()
        });
        thread.join().unwrap()
    }

    fn is_refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn no_program_can_be_started() {
        assert!(filtered(true, || is_refused(Command::new("/bin/true").status())));
    }

    #[test]
    fn no_network_connection_can_be_opened() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for uses_udp in [true, false] {
            assert!(filtered(uses_udp, move || is_refused(TcpStream::connect(address))));
            assert!(filtered(uses_udp, || is_refused(TcpListener::bind("127.0.0.1:0"))));
        }
        assert!(filtered(false, || is_refused(UdpSocket::bind("127.0.0.1:0"))));
        // Such as a container engine's.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine");
        let _engine = UnixListener::bind(&path).unwrap();
        assert!(filtered(true, move || is_refused(UnixStream::connect(path))));
    }

    #[test]
    fn no_call_that_leads_out_is_let_through() {
        let calls = [
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_writev", libc::SYS_process_vm_writev),
            ("mount", libc::SYS_mount),
            ("setns", libc::SYS_setns),
            ("unshare", libc::SYS_unshare),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("init_module", libc::SYS_init_module),
            ("kexec_load", libc::SYS_kexec_load),
            ("kill", libc::SYS_kill),
            ("execve", libc::SYS_execve),
            ("execveat", libc::SYS_execveat),
            ("memfd_create", libc::SYS_memfd_create),
            ("socketpair", libc::SYS_socketpair),
            ("listen", libc::SYS_listen),
            ("bind", libc::SYS_bind),
            ("fchmodat", libc::SYS_fchmodat),
            // `BPF_PROG_LOAD`.
            ("bpf", libc::SYS_bpf),
        ];
        for (name, call) in calls {
            let errno = filtered(false, move || {
                // SAFETY: the filter refuses the call before the kernel looks at an argument; if
                // it did not, these would be refused too, with another error.
                let result = unsafe { libc::syscall(call, 5, 0, 0, 0, 0, 0) };
                assert_eq!(result, -1, "{name}");
                io::Error::last_os_error().raw_os_error()
            });
            assert_eq!(errno, Some(libc::EPERM), "{name}");
        }
    }

    #[test]
    fn the_agent_s_own_work_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        filtered(false, move || {
            let file = folder.path().join("events");
            fs::write(&file, "a\n").unwrap();
            fs::rename(&file, folder.path().join("events.1")).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
            assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
            UnixDatagram::unbound().unwrap().send_to(b"READY=1", &path).unwrap();
            fs::read_link("/proc/self/exe").unwrap();
            rustix::fs::statvfs("/").unwrap();
        });
        let mut message = [0; 10];
        assert_eq!(server.recv(&mut message).unwrap(), 7);
        assert!(filtered(true, || UdpSocket::bind("127.0.0.1:0").is_ok()));
    }
}
