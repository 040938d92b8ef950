//! Literals without escapes, which end with more than a quote: `R"x(…)x"` of C++, `r#"…"#` of
//! Rust, `#"…"#` of Swift.

use super::extent::backslashes;

/// The longest delimiter that C++ allows, in bytes.
const LONGEST_DELIMITER: usize = 16;

/// The most hash signs that are looked at.
const MOST_HASHES: usize = 16;

/// The end of such a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RawString {
    /// A parenthesis, a delimiter, which stands behind the first quote too, and a quote.
    Delimiter {
        /// Where it stands first.
        start: usize,
        /// Its length.
        length: usize,
    },
    /// A quote and so many hash signs.
    Hashes(usize),
}

impl RawString {
    /// Returns where the content of such a literal begins that stands at `start`, and how it ends.
    pub(super) fn open(bytes: &[u8], start: usize) -> Option<(usize, Self)> {
        let rest = bytes.get(start..)?;
        let prefixes: [&[u8]; 9] = [b"R", b"LR", b"uR", b"UR", b"u8R", b"r#", b"br#", b"cr#", b"#"];
        let prefix = prefixes.iter().find(|prefix| rest.starts_with(prefix))?;
        let is_hashes = prefix.ends_with(b"#");
        // From the first hash sign on.
        let mark = start + prefix.len() - usize::from(is_hashes);
        let hashes = hashes(bytes, mark);
        let quote = mark + hashes;
        let quote = quote + backslashes(bytes, quote);
        if bytes.get(quote) != Some(&b'"') {
            return None;
        }
        if is_hashes {
            return Some((quote + 1, Self::Hashes(hashes)));
        }
        let delimiter = bytes.get(quote + 1..)?;
        let is_end =
            |byte: &u8| matches!(byte, b'(' | b')' | b'"' | b'\\') || byte.is_ascii_whitespace();
        let length = delimiter.iter().take(LONGEST_DELIMITER + 1).position(is_end)?;
        let content = quote + 1 + length + 1;
        (delimiter.get(length) == Some(&b'('))
            .then_some((content, Self::Delimiter { start: quote + 1, length }))
    }

    /// Returns whether the literal ends at `index`.
    pub(super) fn ends(self, bytes: &[u8], index: usize) -> bool {
        let is_quote = |at: usize| bytes.get(at + backslashes(bytes, at)) == Some(&b'"');
        match self {
            Self::Delimiter { start, length } => {
                let own = bytes.get(start..start + length);
                bytes.get(index) == Some(&b')')
                    && bytes.get(index + 1..index + 1 + length) == own
                    && is_quote(index + 1 + length)
            }
            Self::Hashes(count) => {
                let quote = index + backslashes(bytes, index);
                bytes.get(quote) == Some(&b'"') && hashes(bytes, quote + 1) >= count
            }
        }
    }
}

/// Returns how many hash signs stand at `start`.
fn hashes(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    rest.iter().take(MOST_HASHES).take_while(|byte| **byte == b'#').count()
}
