//! The header blocks of HTTP/1 messages (RFC 9112), read without losing a line.
//!
//! A strict parser refuses or drops lines with odd bytes, and a dropped token line would turn
//! IMDSv2 into IMDSv1. So every byte is kept, lines may end with a bare LF, and a header is
//! whatever stands before and after the first colon of its line.

mod line;

use std::fmt;
use std::ops::Range;

use memchr::{memchr, memchr_iter};

use super::scan_cost::count_bytes;
use line::{MAX_METHOD, VERSION_PREFIX, is_tchar, request_line, status_line};

/// Appends to a header block. Where it moves, the allocator clears the memory that it leaves.
pub(super) fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let needed = buffer.len().saturating_add(bytes.len());
    if needed > buffer.capacity() {
        let capacity = needed.max(buffer.capacity().saturating_mul(2)).max(512);
        count_bytes(buffer.len());
        buffer.reserve_exact(capacity.saturating_sub(buffer.len()));
    }
    count_bytes(bytes.len());
    buffer.extend_from_slice(bytes);
}

/// The header block of a request.
///
/// It never prints its bytes; the allocator clears them when it is dropped.
#[derive(Clone)]
pub(crate) struct RequestHead {
    raw: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    minor: u8,
    fields: usize,
}

impl RequestHead {
    /// Reads a header block that is at hand as a whole, with or without its blank line.
    ///
    /// Returns `None` where the first line is no HTTP/1 request line.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut raw = Vec::new();
        let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
        append(&mut raw, bytes.get(start..)?);
        Self::from_raw(raw)
    }

    fn from_raw(mut raw: Vec<u8>) -> Option<Self> {
        let (line, fields) = first_line(&raw);
        let (method, target, minor) = request_line(raw.get(line)?)?;
        unfold(&mut raw, fields);
        Some(Self { raw, method, target, minor, fields })
    }

    /// Returns the method, as sent.
    pub(crate) fn method(&self) -> &[u8] {
        self.raw.get(self.method.clone()).unwrap_or_default()
    }

    /// Returns the request target, as sent: a path, or an absolute URI.
    pub(crate) fn target(&self) -> &[u8] {
        self.raw.get(self.target.clone()).unwrap_or_default()
    }

    /// Returns the minor version: 1 for HTTP/1.1.
    pub(crate) fn minor_version(&self) -> u8 {
        self.minor
    }

    /// Iterates over the headers' names and values, in the order sent.
    ///
    /// Values are without the spaces and tabs around them; continuation lines (`obs-fold`)
    /// belong to the value before them, their line ends replaced by spaces. Lines without a
    /// colon are left out.
    pub(crate) fn headers(&self) -> Headers<'_> {
        Headers { rest: self.raw.get(self.fields..).unwrap_or_default() }
    }

    /// Returns the value of the first header with this name, compared without ASCII case.
    ///
    /// A name with a space before its colon is another name: RFC 9112, section 5.1, has the
    /// server refuse it.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    /// Returns the number of bytes that the header block takes in memory.
    pub(super) fn size(&self) -> usize {
        self.raw.capacity()
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &String::from_utf8_lossy(self.method()))
            .field("headers", &self.headers().count())
            .finish_non_exhaustive()
    }
}

/// The header block of a response, perhaps cut after its status line.
///
/// It never prints its bytes; the allocator clears them when it is dropped.
pub(crate) struct ResponseHead {
    raw: Vec<u8>,
    status: u16,
    minor: u8,
    fields: usize,
    complete: bool,
}

impl ResponseHead {
    /// Reads a header block that is at hand as a whole, with or without its blank line.
    ///
    /// Returns `None` where the first line is no HTTP/1 status line.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut raw = Vec::new();
        append(&mut raw, bytes);
        Self::from_raw(raw, true)
    }

    fn from_raw(mut raw: Vec<u8>, complete: bool) -> Option<Self> {
        let (line, fields) = first_line(&raw);
        let (status, minor) = status_line(raw.get(line)?)?;
        if !complete {
            // A line that is cut could show a part of a value as the whole of it.
            let end = raw.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
            raw.truncate(end.max(fields));
        }
        unfold(&mut raw, fields);
        Some(Self { raw, status, minor, fields, complete })
    }

    /// Returns the number of bytes that the header block takes in memory.
    pub(super) fn size(&self) -> usize {
        self.raw.capacity()
    }

    /// Returns the status code, from 100 to 999.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Returns the minor version: 1 for HTTP/1.1.
    pub(crate) fn minor_version(&self) -> u8 {
        self.minor
    }

    /// Iterates over the headers, as [`RequestHead::headers`].
    pub(crate) fn headers(&self) -> Headers<'_> {
        Headers { rest: self.raw.get(self.fields..).unwrap_or_default() }
    }

    /// Returns whether the header block was seen up to its blank line.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("complete", &self.complete)
            .field("headers", &self.headers().count())
            .finish_non_exhaustive()
    }
}

/// Iterates over the headers of a header block.
#[derive(Clone)]
pub(crate) struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (line, rest) = split_line(self.rest);
            self.rest = rest;
            if line.is_empty() {
                self.rest = &[];
            } else if !matches!(line.first(), Some(b' ' | b'\t'))
                && let Some(colon) = memchr(b':', line)
                && let (name, Some(value)) = (line.get(..colon)?, line.get(colon + 1..))
            {
                return Some((name, trim(value)));
            }
        }
        None
    }
}

/// Cuts off the spaces and tabs around a value.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', bytes);
    count_bytes(end.unwrap_or(bytes.len()));
    let Some(end) = end else { return (bytes, &[]) };
    let line = bytes.get(..end).unwrap_or_default();
    (line.strip_suffix(b"\r").unwrap_or(line), bytes.get(end + 1..).unwrap_or_default())
}

/// Returns where the first line lies, and where the next begins.
fn first_line(raw: &[u8]) -> (Range<usize>, usize) {
    let (line, rest) = split_line(raw);
    (0..line.len(), raw.len() - rest.len())
}

/// Joins continuation lines to the header before them (RFC 9112, section 5.2).
fn unfold(raw: &mut [u8], fields: usize) {
    count_bytes(raw.len());
    let rest = raw.get(fields..).unwrap_or_default();
    let is_folded = |end| matches!(rest.get(end + 1), Some(b' ' | b'\t'));
    if !memchr_iter(b'\n', rest).any(is_folded) {
        return;
    }
    let mut header_before = false;
    let mut start = fields;
    while let Some(rest) = raw.get(start..).filter(|rest| !rest.is_empty()) {
        let end = memchr(b'\n', rest).map_or(raw.len(), |i| start + i);
        let folded = matches!(raw.get(start), Some(b' ' | b'\t'));
        if folded && header_before {
            for i in [start.wrapping_sub(1), start.wrapping_sub(2)] {
                if let Some(byte @ (b'\r' | b'\n')) = raw.get_mut(i) {
                    *byte = b' ';
                }
            }
        }
        header_before = (folded && header_before)
            || (!folded && raw.get(start..end).is_some_and(|line| line.contains(&b':')));
        start = end + 1;
    }
}

/// Returns whether a segment evidently begins with a request line: a method in capitals, a
/// space, a path or a URI, and, where the line ends within it, an HTTP/1 version.
pub(super) fn begins_request(bytes: &[u8]) -> bool {
    count_bytes(bytes.len());
    let Some(space) = bytes.iter().take(MAX_METHOD + 1).position(|&b| b == b' ') else {
        return false;
    };
    let (method, rest) = bytes.split_at(space);
    let target = rest.get(1..).unwrap_or_default();
    let shaped = method.len() >= 3
        && method.iter().all(u8::is_ascii_uppercase)
        && (target.starts_with(b"/") || target.starts_with(b"http") || target.starts_with(b"* "));
    shaped && (!bytes.contains(&b'\n') || request_line(split_line(bytes).0).is_some())
}

/// Whose header block a [`HeadParser`] collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// How far a [`HeadParser`] came with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All were taken; the blank line is still to come.
    More,
    /// The blank line came; so many were taken.
    Complete(usize),
    /// They cannot be what was asked for.
    Invalid,
    /// The header block is longer than allowed.
    TooLong,
}

/// Collects a header block from pieces of any size, looking at each byte once.
pub(crate) struct HeadParser {
    kind: Kind,
    limit: usize,
    raw: Vec<u8>,
    line: usize,
    first: bool,
}

impl HeadParser {
    pub(crate) fn new(kind: Kind, limit: usize) -> Self {
        Self { kind, limit, raw: Vec::new(), line: 0, first: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        self.raw.capacity()
    }

    /// Returns whether the whole first line has come.
    pub(super) fn has_first_line(&self) -> bool {
        !self.first
    }

    /// Returns the first bytes, where so many have come.
    pub(super) fn start<const N: usize>(&self) -> Option<[u8; N]> {
        self.raw.first_chunk().copied()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Progress {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let line_end = memchr(b'\n', rest);
            let part = rest.get(..line_end.map_or(rest.len(), |i| i + 1)).unwrap_or(rest);
            count_bytes(part.len());
            if self.raw.len() + part.len() > self.limit {
                return Progress::TooLong;
            }
            append(&mut self.raw, part);
            used += part.len();
            if self.first && !self.plausible(line_end.is_some()) {
                return Progress::Invalid;
            }
            if line_end.is_some() {
                let line = self.raw.get(self.line..).unwrap_or_default();
                let blank = matches!(line, b"\n" | b"\r\n");
                self.line = self.raw.len();
                if blank && !self.first {
                    return Progress::Complete(used);
                }
                self.first = false;
            }
        }
        Progress::More
    }

    fn plausible(&self, whole: bool) -> bool {
        if whole {
            let line = split_line(&self.raw).0;
            return match self.kind {
                Kind::Request => request_line(line).is_some(),
                Kind::Response => status_line(line).is_some(),
            };
        }
        // Only its start: a long line that comes byte by byte would be read again for each.
        match self.kind {
            Kind::Request => {
                let start = self.raw.get(..MAX_METHOD + 1).unwrap_or(&self.raw);
                count_bytes(start.len());
                match start.iter().position(|&b| b == b' ') {
                    Some(space) => space > 0 && start.iter().take(space).all(is_tchar),
                    None => start.len() <= MAX_METHOD && start.iter().all(is_tchar),
                }
            }
            Kind::Response => {
                let length = self.raw.len().min(VERSION_PREFIX.len());
                self.raw.get(..length) == VERSION_PREFIX.get(..length)
            }
        }
    }

    pub(crate) fn into_request(self) -> Option<RequestHead> {
        RequestHead::from_raw(self.raw)
    }

    /// Returns the response's header block. One that lacks its blank line must have at least
    /// its whole status line.
    pub(crate) fn into_response(self, complete: bool) -> Option<ResponseHead> {
        if self.first { None } else { ResponseHead::from_raw(self.raw, complete) }
    }
}
