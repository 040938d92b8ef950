//! Session tokens.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// How many tokens are remembered. At the bound the oldest is forgotten; the real service is
/// documented to have no practical limit.
const MAX_TOKENS: usize = 65_536;

/// The longest time to live that can be asked for, in seconds (EC2 User Guide).
const MAX_TTL_SECONDS: u32 = 21_600;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Reads the value of a `X-aws-ec2-metadata-token-ttl-seconds` header: 1 to 21600.
pub(super) fn parse_ttl(value: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(value).ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|seconds| (1..=MAX_TTL_SECONDS).contains(seconds))
}

/// The tokens that were given out and have not expired.
#[derive(Debug, Default)]
pub(super) struct TokenStore {
    expiries: HashMap<String, Instant>,
    order: VecDeque<String>,
}

impl TokenStore {
    /// Gives out a token that is good for `ttl_seconds` from `now`.
    pub(super) fn issue(&mut self, ttl_seconds: u32, now: Instant) -> io::Result<String> {
        let token = generate()?;
        while self.order.len() >= MAX_TOKENS {
            if let Some(oldest) = self.order.pop_front() {
                self.expiries.remove(&oldest);
            }
        }
        self.expiries.insert(token.clone(), now + Duration::from_secs(ttl_seconds.into()));
        self.order.push_back(token.clone());
        Ok(token)
    }

    /// Says how many seconds a token is still good for, rounded up; `None` if it is not.
    pub(super) fn remaining(&self, token: &[u8], now: Instant) -> Option<u64> {
        let expiry = self.expiries.get(std::str::from_utf8(token).ok()?)?;
        let left = expiry.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    /// Gives all tokens that are remembered, oldest first, expired ones among them.
    pub(super) fn issued(&self) -> Vec<String> {
        self.order.iter().cloned().collect()
    }
}

/// Makes a token of the look that public captures show: 56 characters of base64url, starting
/// with `AQAEA` and ending with `==`, 292 bits of it random.
fn generate() -> io::Result<String> {
    let mut bytes = [0; 40];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[..3].copy_from_slice(&[1, 0, 4]);
    bytes[3] &= 0x03;
    Ok(base64url(&bytes))
}

/// Encodes bytes as base64url (RFC 4648, section 5), padded.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, place| {
            bits << 8 | usize::from(group.get(place).copied().unwrap_or_default())
        });
        for place in 0..4 {
            let character = if place <= group.len() {
                ALPHABET.get(bits >> (18 - 6 * place) & 0x3f).copied().map(char::from)
            } else {
                None
            };
            text.push(character.unwrap_or('='));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_matches_the_rfc_vectors() {
        let vectors = [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8=");
    }

    #[test]
    fn tokens_look_like_the_captured_ones_and_differ() {
        let (first, second) = (generate().unwrap(), generate().unwrap());
        assert_eq!(first.len(), 56);
        assert!(first.starts_with("AQAEA") && first.ends_with("=="), "{first}");
        assert_ne!(first, second);
    }

    #[test]
    fn a_token_is_good_until_its_time_to_live_is_over() {
        let mut store = TokenStore::default();
        let now = Instant::now();
        let token = store.issue(10, now).unwrap();
        assert_eq!(store.remaining(token.as_bytes(), now), Some(10));
        assert_eq!(store.remaining(token.as_bytes(), now + Duration::from_millis(9_500)), Some(1));
        assert_eq!(store.remaining(token.as_bytes(), now + Duration::from_secs(10)), None);
        assert_eq!(store.remaining(b"AQAEAbogus==", now), None);
        assert_eq!(store.remaining(b"\xff", now), None);
    }

    #[test]
    fn the_store_forgets_the_oldest_token_at_its_bound() {
        let mut store = TokenStore::default();
        let now = Instant::now();
        let oldest = store.issue(10, now).unwrap();
        for _ in 0..MAX_TOKENS {
            store.issue(10, now).unwrap();
        }
        assert_eq!(store.remaining(oldest.as_bytes(), now), None);
        assert_eq!(store.issued().len(), MAX_TOKENS);
        assert_eq!(store.expiries.len(), MAX_TOKENS);
    }

    #[test]
    fn only_a_time_to_live_of_1_to_21600_is_accepted() {
        assert_eq!(parse_ttl(b"1"), Some(1));
        assert_eq!(parse_ttl(b"21600"), Some(21_600));
        for bad in ["", "0", "21601", "-1", "+5", "1.5", "ten", "99999999999999999999", "1 0"] {
            assert_eq!(parse_ttl(bad.as_bytes()), None, "{bad}");
        }
    }
}
