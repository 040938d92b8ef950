//! Secrets that are known from elsewhere, such as the token that went over the wire.

use std::borrow::Cow;
use std::cell::OnceCell;

use memchr::memmem::Finder;

use super::{MARK, SHORTEST_KNOWN, wire};

/// Secrets that are known, to be removed wherever they stand.
#[derive(Default)]
pub struct Known<'a>(Vec<Needle<'a>>);

/// One of them.
struct Needle<'a> {
    secret: &'a [u8],
    /// What looks for it. Making it takes longer than looking through most texts, and a text that
    /// is shorter than the secret needs none.
    finder: OnceCell<Finder<'a>>,
}

impl<'a> Known<'a> {
    /// Takes the secrets of a request's headers.
    pub fn of_headers(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        Self(wire::secrets(headers).into_iter().map(Needle::new).collect())
    }

    /// Removes every occurrence of each, the longest first: one may be a part of another.
    pub fn remove<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let mut cleaned = Cow::Borrowed(text);
        for needle in &self.0 {
            let without = match needle.remove(&cleaned) {
                Cow::Owned(without) => Some(without),
                Cow::Borrowed(_) => None,
            };
            cleaned = without.map_or(cleaned, Cow::Owned);
        }
        cleaned
    }

    /// Returns whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether one of them stands in a text, so that it would be removed.
    pub fn stand_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|needle| needle.find_in(text, |finder| finder.find(text).is_some()))
    }
}

impl<'a> Needle<'a> {
    const fn new(secret: &'a [u8]) -> Self {
        Self { secret, finder: OnceCell::new() }
    }

    /// Looks for it with `find`, unless the text is too short for it.
    fn find_in<T: Default>(&self, text: &[u8], find: impl FnOnce(&Finder<'a>) -> T) -> T {
        if self.secret.len() < SHORTEST_KNOWN || text.len() < self.secret.len() {
            return T::default();
        }
        find(self.finder.get_or_init(|| Finder::new(self.secret)))
    }

    fn remove<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let places: Vec<usize> = self.find_in(text, |finder| finder.find_iter(text).collect());
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut output = Vec::new();
        let mut done = 0;
        for start in places {
            output.extend_from_slice(text.get(done..start).unwrap_or_default());
            output.extend_from_slice(MARK);
            done = start + self.secret.len();
        }
        output.extend_from_slice(text.get(done..).unwrap_or_default());
        Cow::Owned(output)
    }
}

/// Removes every occurrence of one secret. A secret of less than eight bytes is not looked for.
#[cfg(any(test, fuzzing))]
pub fn known<'t>(text: &'t [u8], secret: &[u8]) -> Cow<'t, [u8]> {
    Needle::new(secret).remove(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_any_text_that_has_room_for_it() {
        let headers: [(&[u8], &[u8]); 2] =
            [(b"X-aws-ec2-metadata-token", b"AQAE-secret=="), (b"Authorization", b"secret==")];
        let known = Known::of_headers(headers.into_iter());
        for (text, clean) in [
            (&b"AQAE-secret=="[..], &b"<redacted>"[..]),
            (b"aAQAE-secret==AQAE-secret==b secret==", b"a<redacted><redacted>b <redacted>"),
            (b"secret==", b"<redacted>"),
        ] {
            assert_eq!(known.remove(text), clean);
            assert!(known.stand_in(text));
        }
        for text in [&b"secret="[..], b"", b"AQAE-secre"] {
            assert_eq!(known.remove(text), text);
            assert!(!known.stand_in(text));
        }
        assert!(Known::default().is_empty() && !known.is_empty());
    }
}
