//! Makes text from outside safe to show on one line of a terminal.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use crate::text::bounded::{CUT, is_hidden};

/// Returns text with every character escaped that a terminal acts on or that hides or reorders
/// others: controls, line and paragraph separators, bidirectional marks, zero-width ones.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        push(&mut escaped, character);
    }
    escaped
}

/// Returns text as one word of a command line: escaped, and in single quotes where it holds
/// anything that could be taken for the end of the word, for another column or for a quote.
pub(crate) fn word(text: &str) -> String {
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", escape(&text.replace('\'', r"'\''")))
}

/// Returns whether a character shows as itself and needs no quotes.
fn is_plain(character: char) -> bool {
    const SIGNS: &[u8] = b"-_./:=@%+,?&#~<>{}$*![]^";
    match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() => byte.is_ascii_alphanumeric() || SIGNS.contains(&byte),
        _ => character == CUT || (character.is_alphanumeric() && !is_hidden(character)),
    }
}

/// Returns a command line, its words separated by blanks.
pub(crate) fn command(args: &[String]) -> String {
    let words: Vec<String> = args.iter().map(|argument| word(argument)).collect();
    words.join(" ")
}

/// Cuts text to `width` columns of a terminal, the last one a mark; 0 leaves nothing.
///
/// Characters without a column of their own, which stand over the one before, count once there
/// are more of them than columns: however many there are, the text is short.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let mut shortened = String::new();
    let (mut used, mut without) = (0, 0);
    for character in text.chars() {
        let own = character.width().unwrap_or(0);
        without += usize::from(own == 0);
        used += own;
        if used > width || without > width {
            break;
        }
        shortened.push(character);
    }
    if shortened.len() == text.len() {
        return shortened;
    }
    while !shortened.is_empty() && columns(&shortened) >= width {
        shortened.pop();
    }
    if width > 0 {
        shortened.push(CUT);
    }
    shortened
}

/// Returns text filled with blanks to `width` columns; longer text stays as it is.
pub(crate) fn pad(text: &str, width: usize) -> String {
    let mut padded = text.to_owned();
    padded.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(text))));
    padded
}

/// Returns the number of columns that text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

fn push(escaped: &mut String, character: char) {
    match character {
        '\n' => escaped.push_str(r"\n"),
        '\r' => escaped.push_str(r"\r"),
        '\t' => escaped.push_str(r"\t"),
        _ if !is_hidden(character) => escaped.push(character),
        // Writing to a string does not fail.
        _ if character.is_ascii() => {
            let _ = write!(escaped, r"\x{:02x}", u32::from(character));
        }
        _ => {
            let _ = write!(escaped, r"\u{{{:x}}}", u32::from(character));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(escape("a\nb\r\tc\x1b[31m\x7f\u{9b}"), r"a\nb\r\tc\x1b[31m\x7f\u{9b}");
        assert_eq!(
            escape("a\u{202e}b\u{2066}c\u{200b}\u{2028}"),
            r"a\u{202e}b\u{2066}c\u{200b}\u{2028}"
        );
        assert_eq!(escape("a\u{3164}\u{2800}b\u{fe0f}"), r"a\u{3164}\u{2800}b\u{fe0f}");
        assert_eq!(escape("grüße 日本 ←"), "grüße 日本 ←");
    }

    #[test]
    fn a_word_that_could_pass_for_a_column_is_quoted() {
        assert_eq!(word("http://h/a?b=c"), "http://h/a?b=c");
        assert_eq!(word("a  ← init[1]"), "'a  ← init[1]'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word(""), "''");
        assert_eq!(word("a\nb"), r"'a\nb'");
        // A letter that looks like a blank, and would do for a column's edge.
        assert_eq!(word("a\u{3164}\u{3164}v2"), r"'a\u{3164}\u{3164}v2'");
    }

    #[test]
    fn a_text_is_cut_to_its_columns() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("日本語", 4), "日…");
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abc", 0), "");
        let heap = format!("a{}b", "\u{301}".repeat(5000));
        assert!(shorten(&heap, 10).chars().count() <= 20);
        assert_eq!(pad("日", 4), "日  ");
    }
}
