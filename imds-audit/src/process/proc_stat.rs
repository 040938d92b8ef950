//! Reads `/proc/PID/stat`.

/// The fields of `/proc/PID/stat` that tell one process and program from another (proc(5),
/// whose numbers the comments give).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process's name (2).
    pub name: Box<[u8]>,
    /// The parent (4).
    pub parent: u32,
    /// When the process started, in clock ticks since boot (22).
    pub start_ticks: u64,
    /// Where its arguments start in memory (48); 0 without the right to know.
    pub arguments_start: u64,
    /// The field with their end (49).
    pub arguments_end: u64,
}

impl Stat {
    /// Reads the line; `None` where a field is missing or no number.
    ///
    /// The name stands in parentheses and may hold any byte but NUL, parentheses and line ends
    /// too; what follows it holds none, so the last `)` ends it.
    pub(crate) fn parse(line: &[u8], pid: u32) -> Option<Self> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let name = line.get(open + 1..close)?;
        if number(line.get(..open)?.trim_ascii())? != u64::from(pid) {
            return None;
        }
        let rest = line.get(close + 1..)?;
        let mut fields = rest.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        // `nth` counts from where the last one ended; the first field is number 3.
        let parent = u32::try_from(number(fields.nth(1)?)?).ok()?;
        let start_ticks = number(fields.nth(17)?)?;
        let arguments_start = number(fields.nth(25)?)?;
        let arguments_end = number(fields.next()?)?;
        Some(Self { name: name.into(), parent, start_ticks, arguments_start, arguments_end })
    }
}

/// Reads an unsigned decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads the number of a process.
pub(super) fn pid(text: &[u8]) -> Option<u32> {
    number(text).and_then(|pid| u32::try_from(pid).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A line as Linux 6.18 writes it, with each field its own number.
    fn line(name: &[u8]) -> Vec<u8> {
        let rest: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        [b"17 (", name, b") S ", rest.join(" ").as_bytes(), b"\n"].concat()
    }

    #[test]
    fn fields_are_found_behind_a_hostile_name() {
        for name in [&b"sleep"[..], b"", b") S 1 2 3", b"a\nb (", b"\xff\xfe)", b"))))"] {
            let stat = Stat::parse(&line(name), 17).unwrap();
            assert_eq!(&*stat.name, name);
            assert_eq!((stat.parent, stat.start_ticks), (4, 22));
            assert_eq!((stat.arguments_start, stat.arguments_end), (48, 49));
        }
    }

    #[test]
    fn a_line_of_another_process_or_without_its_end_is_refused() {
        assert_eq!(Stat::parse(&line(b"x"), 18), None);
        let line = line(b"x");
        assert_eq!(Stat::parse(&line[..line.len() - 15], 17), None);
        assert_eq!(Stat::parse(b"17 )x(", 17), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Stat::parse(&line, 1);
        }

        #[test]
        fn any_name_is_read_back(name in proptest::collection::vec(1u8.., 0..16)) {
            prop_assert_eq!(&*Stat::parse(&line(&name), 17).unwrap().name, &name[..]);
        }
    }
}
