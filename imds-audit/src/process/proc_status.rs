//! Reads `/proc/PID/status`.

use super::proc_stat::pid;

/// What `/proc/PID/status` says of a process (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// The process; of a thread, the one that it belongs to.
    pub(super) process: u32,
    /// The real user.
    pub(super) uid: u32,
    /// The real group.
    pub(super) gid: u32,
    /// The process in its own pid namespace.
    pub(super) namespace_pid: Option<u32>,
}

impl Status {
    /// Reads the file; `None` where it lacks the process, its user or its group.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let field = |name: &[u8]| {
            let line =
                text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name))?;
            Some(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
        };
        let first = |name: &[u8]| field(name)?.next().and_then(pid);
        Some(Self {
            process: first(b"Tgid:")?,
            uid: first(b"Uid:")?,
            gid: first(b"Gid:")?,
            namespace_pid: field(b"NSpid:").and_then(|mut words| words.next_back().and_then(pid)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_process_is_stands_in_its_status() {
        let text = b"Name:\tUid: 5\nTgid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t7\t3\n";
        let status = Status::parse(text).unwrap();
        assert_eq!((status.process, status.uid, status.gid), (7, 1, 5));
        assert_eq!(status.namespace_pid, Some(3));
        assert_eq!(Status::parse(b"Tgid:\tx"), None);
    }
}
