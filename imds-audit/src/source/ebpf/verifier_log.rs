//! Output of the kernel's verifier for a refused program.

use std::error::Error;

use super::error::EbpfError;

/// The longest verifier output that is kept, in bytes. Its end says why, so the beginning goes.
const MAX_LOG: usize = 1 << 20;

/// A refusal, its reason apart from the verifier's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reason in one line: what the verifier disliked, else the system's error.
    pub reason: String,
    /// The verifier's output, its last MiB at most; `None` where it did not get that far.
    pub verifier_log: Option<String>,
}

impl Refusal {
    /// Takes an error apart.
    pub(crate) fn of(error: &EbpfError) -> Self {
        let EbpfError::Load { error: refused, .. } = error else {
            return Self { reason: chain(error), verifier_log: None };
        };
        let log = tail(&refused.log).to_owned();
        let io_error = &refused.error;
        let reason = match verdict(&log) {
            Some(verdict) => format!("{verdict} ({io_error})"),
            None => io_error.to_string(),
        };
        Self { reason, verifier_log: (!log.is_empty()).then_some(log) }
    }
}

/// Returns an error with its causes, those left out that it names itself.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Returns the last [`MAX_LOG`] bytes, or a few less: no character is cut in two.
fn tail(log: &str) -> &str {
    let mut start = log.len().saturating_sub(MAX_LOG);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    log.get(start..).unwrap_or_default()
}

/// Returns the line that says what the verifier disliked: the last before its statistics.
fn verdict(log: &str) -> Option<&str> {
    // The third is printed since Linux 7.2, the newest kernel that was tried.
    const STATISTICS: [&str; 4] =
        ["processed ", "verification time ", "insns processed ", "stack depth "];
    let is_statistic = |line: &str| STATISTICS.iter().any(|start| line.starts_with(start));
    log.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_statistic(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_stands_before_the_statistics() {
        let log = "0: (b7) r0 = 1\n1: (85) call bpf_probe_read_kernel#113\n\
                   unknown func bpf_probe_read_kernel#113\nverification time 41 usec\n\
                   stack depth 0\nprocessed 2 insns (limit 1000000)\n\n";
        assert_eq!(verdict(log), Some("unknown func bpf_probe_read_kernel#113"));
        // Linux 7.2, in lockdown.
        let log = "2598: (85) call bpf_probe_read#4\n\
                   program of this type cannot use helper bpf_probe_read#4\n\
                   verification time 303591 usec\nstack depth 64+24+328+168+0 max 0\n\
                   insns processed 5009+151+889+141+0\n\
                   processed 6190 insns (limit 1000000) max_states_per_insn 10\n\n";
        let verdict_of_7_2 = "program of this type cannot use helper bpf_probe_read#4";
        assert_eq!(verdict(log), Some(verdict_of_7_2));
        assert_eq!(verdict("processed 2 insns\n"), None);
        assert_eq!(verdict(""), None);
    }

    #[test]
    fn a_long_log_keeps_its_end_and_whole_characters() {
        let log = format!("{}why", "ü".repeat(MAX_LOG));
        let kept = tail(&log);
        assert!(kept.len() <= MAX_LOG && kept.ends_with("üwhy"));
        assert_eq!(tail("short"), "short");
    }
}
