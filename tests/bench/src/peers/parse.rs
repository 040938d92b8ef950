//! Counts the requests in what a tool wrote, as whoever searches it with grep would, and in the
//! tool's favour.
//!
//! imds-audit and the analyzer tell the version themselves. tcpdump, strace and bpftrace show bytes:
//! there each record (a packet, a system call, an event) is looked at by itself. A request begins
//! with a line that ends with `HTTP/1.1` behind a method and a target, and is of version 2 if it is
//! a PUT or a later line of the record begins with the name of the token's header. tcpconnect tells
//! connections: each is taken for a request that was found, of no version.

use anyhow::{Context, Result};
use serde_json::Value;

use super::requests::Truth;

/// How many requests were seen, by the version that was reported for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    v1: u64,
    v2: u64,
    /// Of no version.
    unknown: u64,
}

impl Seen {
    /// Returns what was seen since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            v1: self.v1 - before.v1,
            v2: self.v2 - before.v2,
            unknown: self.unknown - before.unknown,
        }
    }

    /// Returns how many of the requests were found: what is seen twice is not held against it.
    pub fn found(self, truth: Truth) -> u64 {
        truth.requests().min(self.v1 + self.v2 + self.unknown)
    }

    /// Returns how many were reported with the right version.
    pub fn right(self, truth: Truth) -> u64 {
        truth.v1.min(self.v1) + truth.v2.min(self.v2)
    }

    fn add(&mut self, version: Option<u64>) {
        match version {
            Some(1) => self.v1 += 1,
            Some(2) => self.v2 += 1,
            _ => self.unknown += 1,
        }
    }

    fn of(versions: impl Iterator<Item = Option<u64>>) -> Self {
        let mut seen = Self::default();
        versions.for_each(|version| seen.add(version));
        seen
    }
}

/// What begins the line of the token's header, in small letters.
const HEADER: &str = "x-aws-ec2-metadata-token:";
const METHODS: [&str; 3] = ["GET", "PUT", "HEAD"];

/// Returns the versions of the requests in a record.
fn versions(record: &str) -> Vec<Option<u64>> {
    let mut versions = Vec::new();
    for line in record.lines() {
        if let Some(method) = method(line) {
            versions.push(Some(if method == "PUT" { 2 } else { 1 }));
        } else if line.trim_start().to_ascii_lowercase().starts_with(HEADER)
            && let Some(last) = versions.last_mut()
        {
            *last = Some(2);
        }
    }
    versions
}

/// Returns the method of a request line; before it may stand bytes of the packet's headers.
fn method(line: &str) -> Option<&'static str> {
    let mut words = line.trim_end().rsplit(' ');
    let version = words.next()?;
    let target = words.next()?;
    let before = words.next()?;
    let is_request = version.starts_with("HTTP/1.") && target.starts_with('/');
    METHODS.into_iter().find(|method| is_request && before.ends_with(method))
}

/// Counts imds-audit's events.
pub fn audit(text: &str) -> Seen {
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests = events.filter(|event| event["kind"] == "request");
    Seen::of(requests.map(|event| event["imds"]["version"].as_u64()))
}

/// Returns how many requests imds-audit says that it reported, and how many it lost.
///
/// # Errors
/// Returns an error if its last event is none that says so.
pub fn accounts(text: &str) -> Result<(u64, u64)> {
    let last: Value = serde_json::from_str(text.lines().last().context("it wrote nothing")?)?;
    let reported = last["totals"]["requests"].as_u64().context("no total of requests")?;
    let losses = last["losses"].as_array().context("no losses")?;
    let lost = losses.iter().filter(|loss| loss["what"] == "requests");
    Ok((reported, lost.filter_map(|loss| loss["count"].as_u64()).sum()))
}

/// Counts the requests in tcpdump's packets. Of each it writes a line, and then the bytes.
pub fn tcpdump(text: &str) -> Seen {
    let is_packet = |line: &str| {
        line.starts_with(|first: char| first.is_ascii_digit()) && line.contains(": Flags [")
    };
    let mut records = vec![String::new()];
    for line in text.lines() {
        match is_packet(line) {
            true => records.push(String::new()),
            false => {
                if let Some(record) = records.last_mut() {
                    record.push_str(line);
                    record.push('\n');
                }
            }
        }
    }
    Seen::of(records.iter().flat_map(|record| versions(record)))
}

/// Counts the requests in the texts that strace shows of system calls.
pub fn strace(text: &str) -> Seen {
    // What a process reads is what another has sent.
    let sends = |line: &&str| {
        let call = line.split_once('(').map_or("", |(call, _)| call);
        call.ends_with("write") || call.ends_with("writev") || call.contains("send")
    };
    Seen::of(text.lines().filter(sends).flat_map(|line| versions(&quoted(line))))
}

/// Returns the quoted texts of a line, one behind the other.
fn quoted(line: &str) -> String {
    let mut texts = String::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once('"') {
        let mut is_escaped = false;
        let end = after.find(|letter: char| {
            let ends = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            ends
        });
        let Some((text, after)) = end.and_then(|end| after.split_at_checked(end)) else { break };
        texts.push_str(&text.replace("\\r", "").replace("\\n", "\n"));
        rest = after.get(1..).unwrap_or_default();
    }
    texts
}

/// Counts the requests in the lines of the script for bpftrace.
pub fn bpftrace(text: &str) -> Seen {
    let plain = |line: &str| line.replace("\\x0d", "").replace("\\x0a", "\n");
    Seen::of(text.lines().flat_map(|line| versions(&plain(line))))
}

/// Counts the connections that tcpconnect tells.
pub fn tcpconnect(text: &str) -> Seen {
    Seen::of(text.lines().filter(|line| line.contains(" 169.254.169.254 ")).map(|_| None))
}

/// Counts the analyzer's verdicts.
pub fn analyzer(text: &str) -> Seen {
    let verdict = |line: &str| {
        let (level, rest) = line.strip_prefix('[')?.split_once("] ")?;
        ["INFO", "WARNING", "ERROR"].contains(&level).then_some(())?;
        let rest = rest.strip_prefix("{missing payload} ").unwrap_or(rest);
        if rest.starts_with("imdsv1(!) ") {
            return Some(Some(1));
        }
        rest.starts_with("imdsv2 ").then_some(Some(2))
    };
    Seen::of(text.lines().filter_map(verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_EACH: Seen = Seen { v1: 1, v2: 1, unknown: 0 };

    #[test]
    fn what_is_seen_is_held_against_the_truth() {
        let truth = Truth { v1: 10, v2: 10 };
        let seen = Seen { v1: 12, v2: 3, unknown: 1 };
        assert_eq!((seen.found(truth), seen.right(truth)), (16, 13));
        let twice = Seen { v1: 20, v2: 20, unknown: 0 };
        assert_eq!((twice.found(truth), twice.right(truth)), (20, 20));
    }

    #[test]
    fn requests_are_told_by_their_lines() {
        let text = "E..e..GET /latest/x HTTP/1.1\nHost: a\n\n\
                    GET /y HTTP/1.1\nX-aws-ec2-Metadata-token: A==\n\nPUT /latest/api/token HTTP/1.1\n";
        assert_eq!(versions(text), [Some(1), Some(2), Some(2)]);
        let named = "GET /x?X-aws-ec2-metadata-token HTTP/1.1\nHost: a\n";
        assert_eq!(versions(named), [Some(1)]);
        // The second half of a request tells none.
        assert_eq!(versions("X-aws-ec2-metadata-token: A==\n\n"), []);
        assert_eq!(versions("HTTP/1.1 200 OK\nServer: EC2ws\n"), []);
    }

    #[test]
    fn events_are_counted_by_version_and_the_last_accounts_for_all() {
        let text = r#"{"kind":"start"}
{"kind":"request","imds":{"version":1}}
{"kind":"request","imds":{"version":2}}
{"kind":"stop","totals":{"requests":2},"losses":[{"what":"requests","count":3},{"what":"records","count":5}]}"#;
        assert_eq!(audit(text), ONE_EACH);
        assert_eq!(accounts(text).unwrap(), (2, 3));
        assert!(accounts("{\"kind\":\"start\"}").is_err());
    }

    #[test]
    fn packets_are_records_of_their_own() {
        let text = "20:01:02.345678 lo    In  IP 10.0.0.2.4 > 169.254.169.254.80: Flags [P.], length 40: HTTP: GET /a HTTP/1.1\n\
            E..Q..@.@.GET /a HTTP/1.1\nHost: a\n\n\
            20:01:02.345679 lo    In  IP 10.0.0.2.4 > 169.254.169.254.80: Flags [P.], length 40\n\
            E..Q..@.@.X-aws-ec2-metadata-token: A==\n\n\
            20:01:02.345679 lo    In  IP 10.0.0.2.4 > 169.254.169.254.80: Flags [P.], length 40\n\
            E..Q..@.@.GET /a HTTP/1.1\nX-aws-ec2-metadata-token: A==\n\n";
        assert_eq!(tcpdump(text), ONE_EACH);
    }

    #[test]
    fn system_calls_are_records_of_their_own() {
        let text = r#"7  write(3, "GET /a HTTP/1.1\r\nHost: \"a\"\r\n\r\n", 30) = 30
7  writev(3, [{iov_base="GET /a HTTP/1.1\r\n", iov_len=17}, {iov_base="X-aws-ec2-metadata-token: A==\r\n", iov_len=9}], 2) = 26
8  recvfrom(4, "GET /a HTTP/1.1\r\n", 100, 0, NULL, NULL) = 17
7  sendfile(3, 4, [0] => [30], 30) = 30"#;
        assert_eq!(strace(text), ONE_EACH);
    }

    #[test]
    fn events_of_the_script_are_records_of_their_own() {
        let text = "Attaching 1 probe...\n\
            7 client GET /a HTTP/1.1\\x0d\\x0aHost: a\\x0d\\x0a\\x0d\\x0a\n\
            7 client GET /a HTTP/1.1\\x0d\\x0aX-aws-ec2-metadata-token: A==\\x0d\\x0a\n";
        assert_eq!(bpftrace(text), ONE_EACH);
    }

    #[test]
    fn connections_are_requests_of_no_version() {
        let text = "PID     COMM         IP SADDR            DADDR            DPORT\n\
                    7       client       4  10.0.0.2         169.254.169.254  80\n";
        assert_eq!(tcpconnect(text), Seen { unknown: 1, ..Seen::default() });
    }

    #[test]
    fn verdicts_are_the_lines_that_tell_one() {
        let text = "Starting ImdsPacketAnalyzer...\n\
            [WARNING] imdsv1(!) (pid:7:client argv:client) req details: get /a\n\
            [ERROR] {missing payload} imdsv2 (pid:7:client argv:client) req details:\n\
            Info:  [Errno 2] No such file or directory\n";
        assert_eq!(analyzer(text), ONE_EACH);
    }
}
