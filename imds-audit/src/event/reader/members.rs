//! Members of a JSON object, found without a look at what they hold.
//!
//! What is in a value that nobody asks for is skipped: strings at the speed of `memchr`, the rest byte
//! by byte. It is not checked for more than that its brackets and quotes end.

/// The object does not end, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The members of an object, each with its name and its value as they stand there.
#[derive(Debug)]
pub(super) struct Members<'a> {
    rest: &'a [u8],
    is_first: bool,
}

/// A member's name and its value, as they stand in the line.
type Member<'a> = (&'a [u8], &'a [u8]);

impl<'a> Members<'a> {
    /// Begins with the members of an object.
    pub(super) fn of(object: &'a [u8]) -> Result<Self, Damaged> {
        let rest = object.trim_ascii_start().strip_prefix(b"{").ok_or(Damaged)?;
        Ok(Self { rest, is_first: true })
    }

    /// Returns the next member; `None` at the end of the object, behind which there may be nothing.
    pub(super) fn next(&mut self) -> Result<Option<Member<'a>>, Damaged> {
        let rest = self.rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b"}") {
            return if behind.trim_ascii().is_empty() { Ok(None) } else { Err(Damaged) };
        }
        let rest = match (self.is_first, rest.strip_prefix(b",")) {
            (true, _) => rest,
            (false, Some(rest)) => rest.trim_ascii_start(),
            (false, None) => return Err(Damaged),
        };
        self.is_first = false;
        let text = rest.strip_prefix(b"\"").ok_or(Damaged)?;
        let end = end_of_string(text).ok_or(Damaged)?;
        let (name, rest) = (text.get(..end).ok_or(Damaged)?, text.get(end + 1..).ok_or(Damaged)?);
        let rest = rest.trim_ascii_start().strip_prefix(b":").ok_or(Damaged)?.trim_ascii_start();
        let end = end_of_value(rest).ok_or(Damaged)?;
        let (value, rest) = rest.split_at_checked(end).ok_or(Damaged)?;
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

/// Returns the length of a value at the start.
fn end_of_value(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => Some(end_of_string(text.get(1..)?)? + 2),
        b'{' | b'[' => end_of_brackets(text),
        _ => {
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            text.iter().position(is_end).filter(|end| *end > 0)
        }
    }
}

/// Returns the length of an object or array at the start.
fn end_of_brackets(text: &[u8]) -> Option<usize> {
    let (mut place, mut depth) = (0, 0_usize);
    loop {
        match *text.get(place)? {
            b'"' => place += end_of_string(text.get(place + 1..)?)? + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(place + 1);
                }
            }
            _ => {}
        }
        place += 1;
    }
}

/// Returns the place of the quote that ends a string, whose first quote is not in `text`.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut place = 0;
    loop {
        place += memchr::memchr2(b'"', b'\\', text.get(place..)?)?;
        if text.get(place) == Some(&b'"') {
            return Some(place);
        }
        // What is escaped ends no string.
        place += 2;
    }
}

/// Returns the text of a string that has no escapes; `None` for any other value.
pub(super) fn plain(value: &[u8]) -> Option<&str> {
    let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', text).is_some() {
        return None;
    }
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn members(object: &[u8]) -> Result<Vec<(String, Value)>, Damaged> {
        let mut found = Vec::new();
        let mut members = Members::of(object)?;
        while let Some((name, value)) = members.next()? {
            let name = serde_json::from_str(&format!("\"{}\"", str::from_utf8(name).unwrap()));
            found.push((name.unwrap(), serde_json::from_slice(value).map_err(|_| Damaged)?));
        }
        Ok(found)
    }

    #[test]
    fn members_are_found_whatever_they_hold() {
        let text = br#" { "a" : 1 ,"b":"x\"}]\\", "c":[{"d":"]"},[]],"e":{"f":"{"} , "g":null} "#;
        let names: Vec<_> = members(text).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c", "e", "g"]);
        assert_eq!(members(b"{}"), Ok(Vec::new()));
    }

    #[test]
    fn an_object_that_does_not_end_or_has_something_behind_it_is_damaged() {
        let whole = br#"{"a":{"b":["c\"",1]},"d":2}"#;
        assert!(members(whole).is_ok());
        for end in 0..whole.len() {
            assert_eq!(members(&whole[..end]), Err(Damaged), "{end}");
        }
        for text in
            [&b"{} x"[..], b"{\"a\":1}{", b"[1]", b"{,}", b"{\"a\" 1}", b"{\"a\":1 \"b\":2}"]
        {
            assert_eq!(members(text), Err(Damaged), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_object_has_the_members_that_serde_finds(
            map in prop::collection::btree_map(".{0,5}", prop_oneof![
                any::<i64>().prop_map(Value::from),
                ".{0,9}".prop_map(Value::from),
                prop::collection::vec(".{0,5}", 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", ".{0,4}", 0..3)
                    .prop_map(|map| serde_json::to_value(map).unwrap()),
            ], 0..6),
            is_pretty in any::<bool>(),
        ) {
            let text = if is_pretty {
                serde_json::to_string_pretty(&map)
            } else {
                serde_json::to_string(&map)
            };
            let found = members(text.unwrap().as_bytes()).unwrap();
            prop_assert_eq!(found, map.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = members(&bytes);
        }
    }
}
