//! Secrets that are known from elsewhere, such as the token that went over the wire.

use std::borrow::Cow;
use std::cell::OnceCell;

use memchr::memmem::Finder;

use super::{
    MARK, SHORTEST_KNOWN,
    encodings::{self, Form},
    headers,
};

/// Secrets that are known, to be removed wherever they stand, also in URLs, JSON and base64.
#[derive(Default)]
pub(crate) struct Known<'a>(Vec<SecretPattern<'a>>);

/// One of them.
struct SecretPattern<'a> {
    secret: &'a [u8],
    /// The search for it. Building it takes longer than looking through most texts, and a text
    /// that is shorter than the secret needs none.
    finder: OnceCell<Finder<'a>>,
    /// Its other forms.
    forms: OnceCell<Vec<Form>>,
}

impl<'a> Known<'a> {
    /// Takes the secrets of a request's headers.
    pub(crate) fn of_headers(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        Self(headers::secrets(headers).into_iter().map(SecretPattern::new).collect())
    }

    /// Removes every occurrence of each, the longest first: one may be a part of another.
    pub(crate) fn remove<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
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

    /// Overwrites every occurrence of each, so that the text keeps its length.
    pub(crate) fn overwrite(&self, text: &mut [u8]) {
        for needle in &self.0 {
            let mut done = 0;
            while let Some((start, end)) = needle.find(text, done) {
                text.get_mut(start..end).unwrap_or_default().fill(super::OVERWRITTEN);
                done = end.max(start + 1);
            }
        }
    }

    /// Returns whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a text has one of them, so that it would be removed.
    pub(crate) fn any_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|needle| needle.find(text, 0).is_some())
    }
}

impl<'a> SecretPattern<'a> {
    const fn new(secret: &'a [u8]) -> Self {
        Self { secret, finder: OnceCell::new(), forms: OnceCell::new() }
    }

    /// Returns where it stands in a text, at or behind `start`, in any form.
    fn find(&self, text: &[u8], start: usize) -> Option<(usize, usize)> {
        let length = self.secret.len();
        let rest = text.get(start..)?;
        if length < SHORTEST_KNOWN || rest.len() < length {
            return None;
        }
        let finder = self.finder.get_or_init(|| Finder::new(self.secret));
        let plain = finder.find(rest).map(|at| (start + at, start + at + length));
        let forms = self.forms.get_or_init(|| encodings::forms(self.secret));
        let other = forms.iter().filter_map(|form| {
            let at = form.find(text, start)?;
            Some((at, at + form.len()))
        });
        plain.into_iter().chain(other).min()
    }

    fn remove<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(mut next) = self.find(text, 0) else { return Cow::Borrowed(text) };
        let mut output = Vec::new();
        let mut done = 0;
        loop {
            let (start, end) = next;
            output.extend_from_slice(text.get(done..start).unwrap_or_default());
            output.extend_from_slice(MARK);
            done = end;
            match self.find(text, done) {
                Some(found) => next = found,
                None => break,
            }
        }
        output.extend_from_slice(text.get(done..).unwrap_or_default());
        Cow::Owned(output)
    }
}

/// Removes every occurrence of one secret. A secret of less than eight bytes is not looked for.
#[cfg(any(test, fuzzing))]
pub(crate) fn known<'t>(text: &'t [u8], secret: &[u8]) -> Cow<'t, [u8]> {
    SecretPattern::new(secret).remove(text)
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
            assert!(known.any_in(text));
        }
        for text in [&b"secret="[..], b"", b"AQAE-secre"] {
            assert_eq!(known.remove(text), text);
            assert!(!known.any_in(text));
        }
        assert!(Known::default().is_empty() && !known.is_empty());
    }

    #[test]
    fn a_secret_is_found_in_the_forms_of_urls_json_and_base64() {
        let secret: &[u8] = b"AQAE-se/cr\"et==";
        let known = Known::of_headers([(&b"X-aws-ec2-metadata-token"[..], secret)].into_iter());
        for (text, clean) in [
            (&b"?t=AQAE-se%2Fcr%22et%3D%3D&a=b"[..], &b"?t=<redacted>&a=b"[..]),
            (b"?t=AQAE-se%2fcr%22et%3d%3d", b"?t=<redacted>"),
            (b"{\"t\":\"AQAE-se/cr\\\"et==\"}", b"{\"t\":\"<redacted>\"}"),
            (b"{\"t\":\"AQAE-se\\/cr\\\"et\\u003d\\u003d\"}", b"{\"t\":\"<redacted>\"}"),
            (b"Basic QVFBRS1zZS9jciJldD09", b"Basic <redacted>"),
            (b"x AQAE-se/cr\"et==AQAE-se/cr\"et== y", b"x <redacted><redacted> y"),
        ] {
            assert_eq!(known.remove(text), clean, "{}", text.escape_ascii());
            assert!(known.any_in(text));
        }
        // With a user before it, a letter of each end may stay.
        let basic = known.remove(b"Authorization: Basic bWU6QVFBRS1zZS9jciJldD09");
        assert!(basic.ends_with(b"<redacted>") && basic.len() < 40, "{}", basic.escape_ascii());
    }
}
