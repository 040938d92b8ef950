//! Turns bytes from outside into text of a bounded length.

/// What stands where text was cut.
pub(crate) const CUT: char = '…';

/// The bounds of the texts in an event, in bytes of UTF-8 before the mark of a cut.
pub(crate) mod bound {
    /// A method.
    pub(crate) const METHOD: usize = 32;
    /// A path with its query.
    pub(crate) const PATH: usize = 2048;
    /// A host header.
    pub(crate) const HOST: usize = 256;
    /// A user agent, and each part of the client read from it.
    pub(crate) const USER_AGENT: usize = 512;
    /// The name of a process, a thread, a user, a unit, a container, a pod.
    pub(crate) const NAME: usize = 256;
    /// A file or cgroup path.
    pub(crate) const FILE: usize = 1024;
    /// All arguments of a process together.
    pub(crate) const ARGUMENTS: usize = 8192;
    /// The number of arguments of a process.
    pub(crate) const ARGUMENT_COUNT: usize = 256;
    /// All arguments of an ancestor together.
    pub(crate) const ANCESTOR_ARGUMENTS: usize = 1024;
    /// The number of ancestors.
    pub(crate) const ANCESTORS: usize = 16;
}

/// Returns bytes as UTF-8, what is none replaced by U+FFFD, cut to `limit` bytes at a
/// character's edge and then marked with [`CUT`].
pub(crate) fn text(bytes: &[u8], limit: usize) -> String {
    // One invalid byte becomes three, so `limit` input bytes always suffice to fill the output.
    let (head, long) = match bytes.get(..limit.saturating_add(4)) {
        Some(head) => (head, true),
        None => (bytes, false),
    };
    // A check of the whole is several times as quick as a search for what is to be replaced.
    let mut text = match std::str::from_utf8(head) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(head).into_owned(),
    };
    if long || text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push(CUT);
    }
    text
}

/// Says whether a terminal acts on a character, or whether it hides or reorders others: controls,
/// line and paragraph separators, bidirectional marks, zero-width ones; and whether it is a letter
/// or a mark that looks like a blank.
///
/// These are Unicode's `Default_Ignorable_Code_Point` (DerivedCoreProperties), what separates
/// lines, and the empty pattern of Braille.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Says whether text holds something that is hidden, as [`is_hidden`] says of a character.
pub(crate) fn hides(text: &str) -> bool {
    // Most text is printable ASCII, which a processor sees of many bytes at once.
    !is_plain(text.as_bytes()) && text.contains(is_hidden)
}

/// Says whether text is printable ASCII throughout.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let is_other = |byte: u8| byte.wrapping_sub(b' ') > b'~' - b' ';
    !text.iter().fold(false, |found, byte| found | is_other(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_bound_is_whole() {
        assert_eq!(text("grüße".as_bytes(), 7), "grüße");
    }

    #[test]
    fn a_longer_text_is_cut_between_characters_and_marked() {
        assert_eq!(text("grüße".as_bytes(), 3), "gr…");
        assert_eq!(text(&[b'a'; 100], 4), "aaaa…");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(text(b"a\xffb", 10), "a\u{fffd}b");
    }

    #[test]
    fn plain_is_what_is_ascii_and_no_control() {
        for code in 0..=0x2ff {
            let character = char::from_u32(code).unwrap();
            let text = format!("0123456789abcdef{character}0123456789abcdef");
            assert_eq!(
                is_plain(text.as_bytes()),
                character.is_ascii() && !is_hidden(character),
                "{code:x}"
            );
            assert_eq!(hides(&text), is_hidden(character), "{code:x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_bound_holds(bytes: Vec<u8>, limit in 0_usize..64) {
            proptest::prop_assert!(text(&bytes, limit).len() <= limit + CUT.len_utf8());
        }
    }
}
