//! Keyed hashes of tokens: a token is recognised without being kept.

use std::hash::{BuildHasher, RandomState};

use crate::event::TokenHash;

/// Hashes tokens with a key that is new at each start and never leaves memory.
///
/// Two requests with the same token have the same hash within one run, which is enough to see
/// one token used by two processes; hashes of two runs cannot be compared. The hash is keyed
/// SipHash-1-3, 64 bits: nobody without the key can test a guess.
#[derive(Debug, Default)]
pub(crate) struct TokenHasher {
    key: RandomState,
}

impl TokenHasher {
    /// Creates a hasher with a fresh random key.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns the hash of a token without the whitespace around it; `None` for an empty token.
    pub(crate) fn hash(&self, token: &[u8]) -> Option<TokenHash> {
        let token = token.trim_ascii();
        (!token.is_empty()).then(|| TokenHash(self.key.hash_one(token)))
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
