//! Length of a message's body (RFC 9112, section 6.3), and the end of a chunked one.

use super::http::{RequestHead, ResponseHead, trim};
use super::scan_cost::count_bytes;

/// What follows a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks, to be read.
    Chunked,
    /// Everything until the sender closes.
    UntilClose,
    /// The header block contradicts itself: where the next message begins is unknown.
    Unknown,
    /// The connection no longer speaks HTTP.
    Tunnel,
}

/// What of a request decides what follows the head of its response.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expectation {
    to_head: bool,
    to_connect: bool,
    to_upgrade: bool,
}

impl Expectation {
    pub(crate) fn of(head: &RequestHead) -> Self {
        Self {
            to_head: head.method() == b"HEAD",
            to_connect: head.method() == b"CONNECT",
            to_upgrade: head.header("upgrade").is_some(),
        }
    }
}

impl Body {
    pub(crate) fn of_request(head: &RequestHead) -> Self {
        match declared(head.headers(), head.minor_version()) {
            Declared::Nothing => Self::Length(0),
            Declared::Length(length) => Self::Length(length),
            Declared::Chunked => Self::Chunked,
            Declared::Unchunked | Declared::Contradiction => Self::Unknown,
        }
    }

    /// Returns what follows the head of a response to a request like this. It is a tunnel only where
    /// the request asked for one (RFC 9110, sections 7.8 and 9.3.6).
    pub(crate) fn of_response(head: &ResponseHead, request: Expectation) -> Self {
        let Expectation { to_head, to_connect, to_upgrade } = request;
        if !head.is_complete() {
            return Self::Unknown;
        }
        match head.status() {
            101 if to_upgrade => return Self::Tunnel,
            101 => return Self::Unknown,
            100..=199 | 204 | 304 => return Self::Length(0),
            200..=299 if to_connect => return Self::Tunnel,
            _ if to_head => return Self::Length(0),
            _ => {}
        }
        match declared(head.headers(), head.minor_version()) {
            Declared::Length(length) => Self::Length(length),
            Declared::Chunked => Self::Chunked,
            Declared::Nothing | Declared::Unchunked => Self::UntilClose,
            Declared::Contradiction => Self::Unknown,
        }
    }
}

enum Declared {
    Nothing,
    Length(u64),
    Chunked,
    Unchunked,
    Contradiction,
}

fn declared<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>, minor: u8) -> Declared {
    let mut coding = None;
    let mut length = None;
    let mut contradiction = false;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coding = value.rsplit(|&b| b == b',').next().map(trim).or(coding);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            for item in value.split(|&b| b == b',') {
                match (decimal(trim(item)), length) {
                    (None, _) => contradiction = true,
                    (Some(n), Some(before)) if n != before => contradiction = true,
                    (Some(n), _) => length = Some(n),
                }
            }
        }
    }
    match (coding, length) {
        // HTTP/1.0 knows no transfer coding: RFC 9112, section 6.1, calls that faulty framing.
        (Some(_), _) if minor == 0 => Declared::Contradiction,
        (Some(last), _) if last.eq_ignore_ascii_case(b"chunked") => Declared::Chunked,
        (Some(_), _) => Declared::Unchunked,
        _ if contradiction => Declared::Contradiction,
        (None, Some(length)) => Declared::Length(length),
        (None, None) => Declared::Nothing,
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, digit| match digit {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// How far a [`Chunks`] came with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkProgress {
    /// All were taken.
    More,
    /// The body ended; so many were taken.
    Complete(usize),
    /// They are no chunks.
    Invalid,
}

/// Follows a chunked body (RFC 9112, section 7.1) without keeping any of it.
#[derive(Debug)]
pub(crate) struct Chunks {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { size: u64, digits: bool },
    Extension { size: u64 },
    Data { left: u64 },
    DataEnd,
    Trailer { blank: bool },
}

impl Chunks {
    pub(crate) fn new() -> Self {
        Self { state: State::Size { size: 0, digits: false } }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> ChunkProgress {
        let mut used = 0;
        count_bytes(bytes.len());
        while let Some(&byte) = bytes.get(used) {
            if let State::Data { left } = &mut self.state {
                let here = (bytes.len() - used) as u64;
                let taken = here.min(*left);
                *left -= taken;
                used += usize::try_from(taken).unwrap_or(bytes.len());
                if *left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            used += 1;
            match step(self.state, byte) {
                Some(Some(state)) => self.state = state,
                Some(None) => return ChunkProgress::Complete(used),
                None => return ChunkProgress::Invalid,
            }
        }
        ChunkProgress::More
    }
}

/// Takes one byte outside of chunk data: the next state, `Some(None)` at the body's end, `None`
/// where the byte may not stand there.
fn step(state: State, byte: u8) -> Option<Option<State>> {
    Some(Some(match (state, byte) {
        (State::Size { size, digits: true }, b'\n') => after_size(size),
        (State::Size { size, digits: true }, b'\r' | b';' | b' ' | b'\t') => {
            State::Extension { size }
        }
        (State::Size { size, .. }, digit) => {
            let digit = char::from(digit).to_digit(16)?;
            State::Size { size: size.checked_mul(16)?.checked_add(u64::from(digit))?, digits: true }
        }
        (State::Extension { size }, b'\n') => after_size(size),
        (State::Extension { size }, _) => State::Extension { size },
        (State::Data { left }, _) => State::Data { left },
        (State::DataEnd, b'\r') => State::DataEnd,
        (State::DataEnd, b'\n') => State::Size { size: 0, digits: false },
        (State::DataEnd, _) => return None,
        (State::Trailer { blank: true }, b'\n') => return Some(None),
        (State::Trailer { .. }, b'\n') => State::Trailer { blank: true },
        (State::Trailer { blank }, b'\r') => State::Trailer { blank },
        (State::Trailer { .. }, _) => State::Trailer { blank: false },
    }))
}

fn after_size(size: u64) -> State {
    if size == 0 { State::Trailer { blank: true } } else { State::Data { left: size } }
}
