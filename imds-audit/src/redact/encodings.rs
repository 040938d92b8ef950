//! Forms that a secret takes on its way through URLs, JSON and base64.

use memchr::memmem::Finder;

/// The least length of an encoded form, in bytes: a shorter one turns up by chance.
const SHORTEST: usize = 9;

/// One form of a secret.
pub(super) struct Form {
    finder: Finder<'static>,
    /// A byte that every text with this form has, if there is one.
    mark: Option<u8>,
}

impl Form {
    fn new(form: &[u8], mark: Option<u8>) -> Self {
        Self { finder: Finder::new(form).into_owned(), mark }
    }

    /// Returns the length of the form in bytes.
    pub(super) fn len(&self) -> usize {
        self.finder.needle().len()
    }

    /// Returns where it stands in a text, at or behind `start`.
    pub(super) fn find(&self, text: &[u8], start: usize) -> Option<usize> {
        let text = text.get(start..)?;
        if self.mark.is_some_and(|mark| memchr::memchr(mark, text).is_none()) {
            return None;
        }
        self.finder.find(text).map(|at| start + at)
    }
}

/// Returns the forms of a secret that differ from itself.
pub(super) fn forms(secret: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    let escaped = |upper: bool| secret.iter().flat_map(move |byte| percent(*byte, upper)).collect();
    let lower: Vec<u8> = escaped(false);
    let upper: Vec<u8> = escaped(true);
    if upper != secret {
        if lower != upper {
            forms.push(Form::new(&lower, Some(b'%')));
        }
        forms.push(Form::new(&upper, Some(b'%')));
    }
    // JSON's own escapes, and those of encoders that keep HTML safe.
    let plain: Vec<u8> = secret.iter().flat_map(|byte| json(*byte)).collect();
    if plain != secret {
        forms.push(Form::new(&plain, Some(b'\\')));
    }
    let safe: Vec<u8> = secret.iter().flat_map(|byte| html_safe(*byte)).collect();
    if safe != secret && safe != plain {
        forms.push(Form::new(&safe, Some(b'\\')));
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
            forms.push(Form::new(&base64.iter().map(url_safe).collect::<Vec<_>>(), None));
        }
        forms.push(Form::new(&base64, None));
    }
    forms
}

/// Returns a byte as in a URL (RFC 3986, section 2.1).
fn percent(byte: u8, upper: bool) -> Vec<u8> {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        return vec![byte];
    }
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or_default();
    vec![b'%', digit(byte >> 4), digit(byte & 15)]
}

/// Returns a byte as in a string of JSON (RFC 8259, section 7).
fn json(byte: u8) -> Vec<u8> {
    match byte {
        b'"' | b'\\' => vec![b'\\', byte],
        _ => vec![byte],
    }
}

/// Returns a byte as encoders write it whose JSON may stand in a page.
fn html_safe(byte: u8) -> Vec<u8> {
    match byte {
        b'/' => vec![b'\\', b'/'],
        b'=' | b'<' | b'>' | b'&' | b'\'' => format!("\\u{byte:04x}").into_bytes(),
        _ => json(byte),
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
