//! The ground truth: what the service was asked and what it answered.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// The longest target or user agent that is kept, in bytes; the rest is cut off.
const MAX_TEXT: usize = 2_048;

/// Whether a request carried a header named exactly `X-aws-ec2-metadata-token`, the case of its
/// letters ignored.
///
/// Of several such headers the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenHeader {
    /// It did not.
    Absent,
    /// It did, with nothing but blanks as the value.
    Empty,
    /// It did, with a value.
    Present,
}

/// A request, and what it was answered. Holds no token and no body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Counts all requests, from 1.
    pub sequence: u64,
    /// When its header block was complete.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// The caller's end of the connection: what a test joins on.
    pub peer: SocketAddr,
    /// The service's end.
    pub endpoint: SocketAddr,
    /// Counts the requests of the connection, from 1.
    pub request_on_connection: u64,
    /// Whether it could be read as HTTP; if not, the fields from here to `user_agent` are empty.
    pub readable: bool,
    /// The method.
    pub method: String,
    /// The target as it was sent, bytes that are not UTF-8 replaced, cut at 2048 bytes.
    pub target: String,
    /// The version as it was sent, such as `HTTP/1.1`.
    pub version: String,
    /// Its token header.
    pub token: TokenHeader,
    /// Whether it carried a `X-aws-ec2-metadata-token-ttl-seconds` header.
    pub ttl_header: bool,
    /// Its user agent, cut at 2048 bytes.
    pub user_agent: Option<String>,
    /// The status that it was answered with, `None` where the service stayed silent. The entry is
    /// written before the response, so that whoever has the response finds the entry; the
    /// response may fail to reach a caller that is gone.
    pub status: Option<u16>,
}

impl Entry {
    /// Says whether it is what CloudWatch counts as `MetadataNoToken`: served without a token.
    fn is_no_token(&self) -> bool {
        self.is_tokenless_read() && self.status.is_some_and(|status| status / 100 == 2)
    }

    /// Says whether it is what CloudWatch counts as `MetadataNoTokenRejected`.
    fn is_no_token_rejected(&self) -> bool {
        self.is_tokenless_read() && self.status == Some(401)
    }

    fn is_tokenless_read(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD") && self.token == TokenHeader::Absent
    }
}

/// Totals, exact also where entries were not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: u64,
    /// Requests, unreadable ones among them.
    pub requests: u64,
    /// Requests that were counted but not kept, since the log was full.
    pub not_kept: u64,
    /// Entries that could not be written as a JSON line.
    pub write_errors: u64,
    /// Requests without a token that were served, as the CloudWatch metric `MetadataNoToken`.
    /// Assumptions: only 2xx counts, and neither token requests nor empty token headers do.
    pub metadata_no_token: u64,
    /// Requests without a token that were answered 401, as the CloudWatch metric
    /// `MetadataNoTokenRejected`.
    pub metadata_no_token_rejected: u64,
}

/// The ground truth.
pub struct Log {
    state: Mutex<State>,
    capacity: usize,
}

struct State {
    entries: Vec<Entry>,
    counters: Counters,
    writer: Option<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Log").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Log {
    /// Makes an empty log that keeps up to `capacity` entries and writes each as a JSON line.
    pub(super) fn new(capacity: usize, writer: Option<Box<dyn Write + Send>>) -> Self {
        let state = State { entries: Vec::new(), counters: Counters::default(), writer };
        Self { state: Mutex::new(state), capacity }
    }

    /// Gives the entries, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.state().entries.clone()
    }

    /// Gives the totals.
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// Counts a connection.
    pub(super) fn connection(&self) {
        self.state().counters.connections += 1;
    }

    /// Numbers, counts, writes and keeps an entry.
    pub(super) fn push(&self, mut entry: Entry) {
        shorten(&mut entry.target);
        entry.user_agent.as_mut().map(shorten);
        let mut state = self.state();
        let State { entries, counters, writer } = &mut *state;
        counters.requests += 1;
        counters.metadata_no_token += u64::from(entry.is_no_token());
        counters.metadata_no_token_rejected += u64::from(entry.is_no_token_rejected());
        entry.sequence = counters.requests;
        if let Some(writer) = writer
            && write_line(writer, &entry).is_err()
        {
            counters.write_errors += 1;
        }
        if entries.len() < self.capacity {
            entries.push(entry);
        } else {
            counters.not_kept += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_line(writer: &mut dyn Write, entry: &Entry) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(method: &str, token: TokenHeader, status: Option<u16>) -> Entry {
        Entry {
            sequence: 0,
            time: Timestamp::UNIX_EPOCH,
            peer: "10.0.0.5:4000".parse().unwrap(),
            endpoint: "10.0.0.1:80".parse().unwrap(),
            request_on_connection: 1,
            readable: true,
            method: method.into(),
            target: "/".into(),
            version: "HTTP/1.1".into(),
            token,
            ttl_header: false,
            user_agent: None,
            status,
        }
    }

    #[test]
    fn only_tokenless_reads_move_the_cloudwatch_counters() {
        let log = Log::new(100, None);
        log.push(entry("GET", TokenHeader::Absent, Some(200)));
        log.push(entry("HEAD", TokenHeader::Absent, Some(200)));
        log.push(entry("GET", TokenHeader::Absent, Some(401)));
        log.push(entry("GET", TokenHeader::Absent, Some(404)));
        log.push(entry("GET", TokenHeader::Absent, None));
        log.push(entry("GET", TokenHeader::Empty, Some(401)));
        log.push(entry("GET", TokenHeader::Present, Some(200)));
        log.push(entry("PUT", TokenHeader::Absent, Some(200)));
        let counters = log.counters();
        assert_eq!((counters.metadata_no_token, counters.metadata_no_token_rejected), (2, 1));
        assert_eq!(counters.requests, 8);
    }

    #[test]
    fn a_full_log_counts_what_it_does_not_keep() {
        let log = Log::new(2, None);
        for _ in 0..5 {
            log.push(entry("GET", TokenHeader::Absent, Some(200)));
        }
        assert_eq!(log.entries().iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((log.counters().requests, log.counters().not_kept), (5, 3));
    }

    #[test]
    fn long_texts_are_cut_on_a_character() {
        let log = Log::new(1, None);
        let mut long = entry("GET", TokenHeader::Absent, Some(200));
        long.target = "é".repeat(5_000);
        long.user_agent = Some("x".repeat(5_000));
        log.push(long);
        let kept = log.entries().remove(0);
        assert_eq!((kept.target.len(), kept.user_agent.unwrap().len()), (2_048, 2_048));
    }
}
