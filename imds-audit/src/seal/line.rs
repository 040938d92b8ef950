//! The form of a sealed line.
//!
//! ```text
//! {…,"seal":{"chain":"CHAIN","line":N,"previous":"HASH","sha256":"HASH"}}
//! ```
//!
//! The hash covers every byte before `,"sha256":`. Standard tools find it from the line's end.

use std::fmt;
use std::io::Write;

use sha2::{Digest, Sha256};

/// What comes before the hash, and behind it.
const BEFORE_HASH: &[u8] = br#","sha256":""#;
const BEHIND_HASH: &[u8] = br#""}}"#;
const BEFORE_PREVIOUS: &[u8] = br#","previous":""#;
const BEFORE_LINE: &[u8] = br#"","line":"#;
const BEFORE_CHAIN: &[u8] = br#","seal":{"chain":""#;
/// The digits of a hash.
const DIGITS: usize = 64;
/// The digits of a chain's id.
const CHAIN: usize = 32;
/// The longest number of a line.
const MAX_NUMBER: usize = 20;

/// A SHA-256 hash.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Hash {
    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub(super) fn parse(digits: &[u8]) -> Option<Self> {
        let mut hash = [0; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(hash))
    }
}

/// Reads a digit; only lower-case ones, so that a hash has one form.
const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Appends an object's line with its seal, and a line feed. Returns the line's hash.
pub(super) fn append(
    out: &mut Vec<u8>,
    object: &[u8],
    chain: &str,
    line: u64,
    previous: Hash,
) -> Hash {
    let start = out.len();
    out.extend_from_slice(object.strip_suffix(b"}").unwrap_or(object));
    for part in [BEFORE_CHAIN, chain.as_bytes(), BEFORE_LINE] {
        out.extend_from_slice(part);
    }
    // A vector takes whatever it is given.
    let _ = write!(out, "{line}");
    out.extend_from_slice(BEFORE_PREVIOUS);
    let _ = write!(out, "{previous}\"");
    let hash = Hash::of(out.get(start..).unwrap_or_default());
    out.extend_from_slice(BEFORE_HASH);
    let _ = write!(out, "{hash}");
    out.extend_from_slice(BEHIND_HASH);
    out.push(b'\n');
    hash
}

/// A line that has a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedLine<'a> {
    /// The chain.
    pub chain: &'a str,
    /// The number.
    pub number: u64,
    /// The hash of the line before.
    pub previous: Hash,
    /// The hash that the line states.
    pub stated: Hash,
    /// The bytes that it covers.
    covered: &'a [u8],
}

impl<'a> SealedLine<'a> {
    /// Reads a line, without its line feed; `None` if it has no seal.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(BEHIND_HASH)?;
        let (covered, stated) = hash_at_end(rest, BEFORE_HASH)?;
        let rest = covered.strip_suffix(b"\"")?;
        let (rest, previous) = hash_at_end(rest, BEFORE_PREVIOUS)?;
        let digits = rest.iter().rev().take(MAX_NUMBER).take_while(|byte| byte.is_ascii_digit());
        let (rest, number) = rest.split_at(rest.len() - digits.count());
        let number = std::str::from_utf8(number).ok()?;
        // One form for one number.
        let number = number.parse().ok().filter(|_| !number.starts_with('0'))?;
        let rest = rest.strip_suffix(BEFORE_LINE)?;
        let (rest, chain) = rest.split_at(rest.len().checked_sub(CHAIN)?);
        let is_id = chain.iter().all(|byte| digit(*byte).is_some());
        let chain = std::str::from_utf8(chain).ok().filter(|_| is_id)?;
        rest.ends_with(BEFORE_CHAIN).then_some(Self { chain, number, previous, stated, covered })
    }

    /// Returns the hash that the line should state.
    pub(super) fn hash(&self) -> Hash {
        Hash::of(self.covered)
    }
}

/// Splits off a hash with what comes before it.
fn hash_at_end<'a>(bytes: &'a [u8], before: &[u8]) -> Option<(&'a [u8], Hash)> {
    let (rest, digits) = bytes.split_at(bytes.len().checked_sub(DIGITS)?);
    Some((rest.strip_suffix(before)?, Hash::parse(digits)?))
}
