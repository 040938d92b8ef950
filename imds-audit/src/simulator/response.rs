//! Puts an answer into bytes.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::answer::Answer;
use super::request::{Head, Version};
use super::settings::{Framing, ResponseVersion, Style};
use super::status::Status;

/// When the metadata is said to have changed last.
const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// A response in bytes.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Status line and headers, the blank line included.
    pub(super) head: Vec<u8>,
    /// The body, as framed.
    pub(super) body: Vec<u8>,
    /// Whether the connection ends with it.
    pub(super) close: bool,
}

/// Puts an answer into bytes. `request` is `None` where none could be read.
pub(super) fn render(answer: &Answer, request: Option<&Head>, style: Style) -> Rendered {
    let requested = request.map_or(Version::Http11, |head| head.version);
    let version = match style.version {
        ResponseVersion::Http11 => requested,
        ResponseVersion::Http10 => Version::Http10,
    };
    let framing = match style.framing {
        Framing::Chunked if version == Version::Http10 => Framing::Length,
        // The captured 405 has a length of 0; a response without a body needs no framing.
        _ if answer.body.is_empty() => Framing::Length,
        framing => framing,
    };
    let close = answer.close
        || style.close
        || style.version == ResponseVersion::Http10
        || framing == Framing::UntilClose
        || !request.is_some_and(Head::keep_alive);

    let mut head = Headers::new(version, answer.status);
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
        head.add("Date", &date);
    }
    head.add("Server", "EC2ws");
    if let Some(media_type) = answer.media_type {
        head.add("Content-Type", media_type);
    }
    match framing {
        Framing::Length => head.add("Content-Length", &answer.body.len().to_string()),
        Framing::Chunked => head.add("Transfer-Encoding", "chunked"),
        Framing::UntilClose => {}
    }
    if answer.status == Status::Ok {
        head.add("Last-Modified", LAST_MODIFIED);
        head.add("Accept-Ranges", "none");
    }
    if let Some(seconds) = answer.token_ttl {
        head.add("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", &seconds.to_string());
    }
    if let Some(methods) = answer.allow {
        head.add("Allow", methods);
    }
    if close {
        head.add("Connection", "close");
    } else if requested == Version::Http10 {
        head.add("Connection", "keep-alive");
    }

    let body = match framing {
        _ if request.is_some_and(|head| head.method == "HEAD") => Vec::new(),
        Framing::Chunked => chunked(&answer.body),
        Framing::Length | Framing::UntilClose => answer.body.clone(),
    };
    Rendered { head: head.finish(), body, close }
}

/// A header block being written.
struct Headers(String);

impl Headers {
    fn new(version: Version, status: Status) -> Self {
        Self(format!("{} {} {}\r\n", version.as_str(), status.code(), status.reason()))
    }

    fn add(&mut self, name: &str, value: &str) {
        self.0.extend([name, ": ", value, "\r\n"]);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// Frames a body in two chunks, so that a reader meets a boundary inside it.
fn chunked(body: &[u8]) -> Vec<u8> {
    let (first, second) = body.split_at(body.len() / 2);
    let mut framed = Vec::with_capacity(body.len() + 32);
    for chunk in [first, second] {
        // An empty chunk would end the body.
        if !chunk.is_empty() {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}
