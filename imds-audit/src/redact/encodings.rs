//! Forms that a secret takes on its way through URLs, JSON and base64.

use std::cell::OnceCell;

use memchr::memmem::Finder;

/// The least length of an encoded form, in bytes: a shorter one turns up by chance.
const SHORTEST: usize = 9;

/// One form of a secret.
pub(super) struct Form {
    form: Vec<u8>,
    /// The search for it. Building it takes longer than to see that a text cannot have the form.
    finder: OnceCell<Finder<'static>>,
    sign: Sign,
}

/// What every text has that has a form.
#[derive(Clone, Copy)]
enum Sign {
    /// This byte.
    Byte(u8),
    /// As many letters of base64 in a row as the form is long.
    Base64,
}

impl Form {
    const fn new(form: Vec<u8>, sign: Sign) -> Self {
        Self { form, finder: OnceCell::new(), sign }
    }

    /// Returns the length of the form in bytes.
    pub(super) const fn len(&self) -> usize {
        self.form.len()
    }

    /// Returns where it stands in a text, at or behind `start`.
    pub(super) fn find(&self, text: &[u8], start: usize) -> Option<usize> {
        let text = text.get(start..)?;
        let may_have = match self.sign {
            Sign::Byte(byte) => memchr::memchr(byte, text).is_some(),
            Sign::Base64 => has_base64(text, self.form.len()),
        };
        if !may_have {
            return None;
        }
        let finder = self.finder.get_or_init(|| Finder::new(&self.form).into_owned());
        finder.find(text).map(|at| start + at)
    }
}

/// Returns the forms of a secret that differ from itself.
pub(super) fn forms(secret: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    let lower = encoded(secret, |byte, form| percent(byte, b"0123456789abcdef", form));
    let upper = encoded(secret, |byte, form| percent(byte, b"0123456789ABCDEF", form));
    if upper != secret {
        if lower != upper {
            forms.push(Form::new(lower, Sign::Byte(b'%')));
        }
        forms.push(Form::new(upper, Sign::Byte(b'%')));
    }
    // JSON's own escapes, and those of encoders that keep HTML safe.
    let plain = encoded(secret, json);
    let safe = encoded(secret, html_safe);
    if safe != secret && safe != plain {
        forms.push(Form::new(safe, Sign::Byte(b'\\')));
    }
    if plain != secret {
        forms.push(Form::new(plain, Sign::Byte(b'\\')));
    }
    for offset in 0..3 {
        let base64 = base64_core(secret, offset);
        if base64.len() < SHORTEST {
            continue;
        }
        let is_url_safe = base64.iter().any(|byte| matches!(byte, b'+' | b'/'));
        if is_url_safe {
            let url_safe = |byte: &u8| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            };
            forms.push(Form::new(base64.iter().map(url_safe).collect(), Sign::Base64));
        }
        forms.push(Form::new(base64, Sign::Base64));
    }
    forms
}

/// Returns whether a text has so many letters of base64 in a row, in either alphabet (RFC 4648, sections
/// 4 and 5). Where it has not, few of its bytes are looked at.
fn has_base64(text: &[u8], length: usize) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let mut start = 0;
    while let Some(window) = text.get(start..start + length) {
        match window.iter().rposition(|byte| !is_letter(byte)) {
            Some(at) => start += at + 1,
            None => return true,
        }
    }
    false
}

/// Returns a secret with every byte encoded.
fn encoded(secret: &[u8], encode: impl Fn(u8, &mut Vec<u8>)) -> Vec<u8> {
    // A token has few bytes that are not themselves.
    let mut form = Vec::with_capacity(secret.len() + 16);
    for byte in secret {
        encode(*byte, &mut form);
    }
    form
}

/// Appends a byte as in a URL (RFC 3986, section 2.1).
fn percent(byte: u8, digits: &[u8; 16], form: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        form.push(byte);
        return;
    }
    let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or_default();
    form.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

/// Appends a byte as in a string of JSON (RFC 8259, section 7).
fn json(byte: u8, form: &mut Vec<u8>) {
    if matches!(byte, b'"' | b'\\') {
        form.push(b'\\');
    }
    form.push(byte);
}

/// Appends a byte as encoders write it whose JSON may stand in a page.
fn html_safe(byte: u8, form: &mut Vec<u8>) {
    match byte {
        b'/' => form.extend_from_slice(b"\\/"),
        b'=' | b'<' | b'>' | b'&' | b'\'' => {
            form.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        }
        _ => json(byte, form),
    }
}

/// Returns the part of a secret's base64 (RFC 4648) that does not depend on what stands around it,
/// where `offset` bytes of a group of three stand before it.
fn base64_core(secret: &[u8], offset: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // The first letters have bits of what stands before.
    let whole = secret.get((3 - offset) % 3..).unwrap_or_default();
    let groups = whole.as_chunks::<3>().0;
    let mut core = Vec::with_capacity(4 * groups.len());
    for group in groups {
        let [a, b, c] = *group;
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        for shift in [18, 12, 6, 0] {
            let letter = LETTERS.get((bits >> shift & 63) as usize).copied();
            core.push(letter.unwrap_or_default());
        }
    }
    core
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_letters_in_a_row_are_found() {
        for (text, length, expected) in [
            ("abc", 3, true),
            ("abc", 4, false),
            ("ab c-_+/ d", 5, true),
            ("ab c-_+/ d", 6, false),
            ("a.bcd", 3, true),
            ("abc.de.f", 4, false),
            ("", 1, false),
        ] {
            assert_eq!(has_base64(text.as_bytes(), length), expected, "{text:?} {length}");
        }
    }

    #[test]
    fn base64_is_found_whatever_stands_around_it() {
        // `printf 'x:secret-token=='; …` with none, one and two letters before it.
        let all: Vec<Vec<u8>> =
            (0..3).map(|offset| base64_core(b"secret-token==", offset)).collect();
        for (text, core) in [
            ("c2VjcmV0LXRva2VuPT0=", "c2VjcmV0LXRva2Vu"),
            ("eHNlY3JldC10b2tlbj09", "Y3JldC10b2tlbj09"),
            ("eHlzZWNyZXQtdG9rZW49PQ==", "ZWNyZXQtdG9rZW49"),
        ] {
            assert!(text.contains(core), "{text}");
            assert!(all.contains(&core.as_bytes().to_vec()), "{core}");
        }
    }
}
