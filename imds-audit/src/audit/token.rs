//! Makes a token recognisable without keeping it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Hashes tokens with a key that is new at each start and never leaves memory.
///
/// Two requests with the same token have the same hash within one run, which is enough to see
/// one token used by two processes; hashes of two runs cannot be compared. The hash is keyed
/// SipHash-1-3, 64 bits: nobody without the key can test a guess.
#[derive(Debug, Default)]
pub struct TokenHasher {
    key: RandomState,
}

impl TokenHasher {
    /// Makes a hasher with a fresh random key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the hash of a token, whitespace around it ignored; none for an empty token.
    pub fn hash(&self, token: &[u8]) -> Option<TokenHash> {
        let token = token.trim_ascii();
        (!token.is_empty()).then(|| TokenHash(self.key.hash_one(token)))
    }
}

/// A token's hash, 16 hexadecimal digits in an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct TokenHash(u64);

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_has_one_hash_in_one_run_and_another_in_the_next() {
        let (run, next) = (TokenHasher::new(), TokenHasher::new());
        assert_eq!(run.hash(b"AQAEone=="), run.hash(b" AQAEone== "));
        assert_ne!(run.hash(b"AQAEone=="), run.hash(b"AQAEtwo=="));
        assert_ne!(run.hash(b"AQAEone=="), next.hash(b"AQAEone=="));
    }

    #[test]
    fn an_empty_token_has_no_hash() {
        assert_eq!(TokenHasher::new().hash(b" "), None);
    }

    #[test]
    fn a_hash_is_sixteen_digits() {
        assert_eq!(TokenHash(0xab).to_string(), "00000000000000ab");
    }
}
