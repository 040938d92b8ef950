//! A secret, and every form that it could be written in.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// A secret that must not be found.
#[derive(Clone, Debug)]
pub struct PlantedSecret {
    /// Where it was planted.
    pub place: String,
    /// The secret itself.
    pub secret: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl PlantedSecret {
    /// Makes the forms of a secret that was planted at `place`.
    pub fn new(place: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = secret.into();
        assert!(secret.len() >= 12, "{secret} may stand anywhere by chance");
        let bytes = secret.as_bytes();
        let mut forms = vec![
            ("as it is", bytes.to_vec()),
            ("in hexadecimal digits", HEXLOWER.encode(bytes).into_bytes()),
            ("in hexadecimal digits", HEXUPPER.encode(bytes).into_bytes()),
            // How a vector of bytes shows in a debugging log.
            ("as numbers", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into()),
            ("backwards", bytes.iter().rev().copied().collect()),
        ];
        for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
            forms.extend((0..3).map(|shift| ("in base64", shifted(&encoding, shift, bytes))));
        }
        Self { place: place.into(), secret, forms }
    }

    /// Says in which form it stands in a text, if it does.
    pub fn found_in(&self, text: &[u8]) -> Option<&'static str> {
        let holds = |form: &[u8]| memchr::memmem::find(text, form).is_some();
        self.forms.iter().find(|(_, form)| holds(form)).map(|(name, _)| *name)
    }
}

/// Encodes bytes that stand `shift` bytes behind the beginning of a longer text, without the
/// digits that the bytes around them would share.
fn shifted(encoding: &data_encoding::Encoding, shift: usize, bytes: &[u8]) -> Vec<u8> {
    let text = [&vec![0; shift][..], bytes].concat();
    let digits = encoding.encode(&text).into_bytes();
    // A digit is six bits: the first whole one behind the shift, the last whole one before the end.
    let (first, last) = ((shift * 8).div_ceil(6), text.len() * 8 / 6);
    digits[first..last].to_vec()
}

/// Asserts that none of the secrets stands in a text, and says which does, and how.
pub fn assert_absent(needles: &[PlantedSecret], name: &str, text: &[u8]) {
    let forms = || needles.iter().flat_map(|needle| needle.forms.iter().map(move |f| (needle, f)));
    let search = AhoCorasick::new(forms().map(|(_, (_, form))| form)).unwrap();
    let all: Vec<_> = forms().collect();
    let found: BTreeSet<_> = search
        .find_overlapping_iter(text)
        .map(|found| all[found.pattern().as_usize()])
        .map(|(needle, (form, _))| (needle.place.as_str(), *form))
        .collect();
    assert!(found.is_empty(), "in {name}: {found:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_at_every_place() {
        let needle = PlantedSecret::new("here", "planted-4711-x");
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}planted-4711-xyz");
            for (form, written) in [
                ("as it is", text.clone()),
                ("in hexadecimal digits", HEXLOWER.encode(text.as_bytes())),
                ("in base64", data_encoding::BASE64.encode(text.as_bytes())),
                ("in base64", data_encoding::BASE64URL.encode(text.as_bytes())),
                ("as numbers", format!("{:?}", text.as_bytes())),
            ] {
                assert_eq!(needle.found_in(written.as_bytes()), Some(form), "{written}");
            }
        }
        assert_eq!(needle.found_in(b"planted-4711-y"), None);
    }
}
