//! Secrets in statements of SQL: `CREATE USER me PASSWORD 'X'`, `IDENTIFIED BY 'X'`,
//! `SET PASSWORD FOR me = 'X'`.

use super::{
    Scan,
    extent::{Extent, begins, skip_space},
    literal, scan_cost, value,
};

/// How far the word `BY` may stand behind `IDENTIFIED` (`IDENTIFIED WITH plugin BY`), in bytes.
const LONGEST_PLUGIN: usize = 80;

/// How long the name of a user may be behind `SET PASSWORD FOR`, in bytes.
const LONGEST_USER: usize = 160;

/// Beginnings of the statements in which a name and a literal side by side are a setting.
const STATEMENTS: [&[u8]; 10] = [
    b"create ",
    b"alter ",
    b"grant ",
    b"set ",
    b"copy ",
    b"unload ",
    b"change ",
    b"attach ",
    b"connect ",
    b"identified ",
];

/// The longest tag of a literal in dollar signs that is looked for, in bytes.
const LONGEST_TAG: usize = 64;

impl Scan<'_> {
    /// Returns the secret behind the name at `start..end` in a statement, if it has one.
    pub(super) fn sql(&mut self, start: usize, end: usize) -> Option<Extent> {
        let bytes = self.bytes;
        if !matches!(self.at(end), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            return None;
        }
        let name = bytes.get(start..end)?;
        if name.eq_ignore_ascii_case(b"identified") {
            self.identified = end;
            return None;
        }
        // `IDENTIFIED BY 'X' REPLACE 'Y'`.
        let replaces = name.eq_ignore_ascii_case(b"replace")
            && self.identified > 0
            && start - self.identified <= LONGEST_USER;
        if replaces {
            return Some(value::word(bytes, skip_space(bytes, end), false));
        }
        let is_by = name.eq_ignore_ascii_case(b"by") || name.eq_ignore_ascii_case(b"as");
        if is_by {
            if self.identified == 0 || start - self.identified > LONGEST_PLUGIN {
                return None;
            }
            let mut next = skip_space(bytes, end);
            // `IDENTIFIED BY PASSWORD 'hash'`, `BY VALUES 'hash'`.
            for word in [&b"password"[..], b"values"] {
                if begins(bytes.get(next..)?, word) {
                    next = skip_space(bytes, next + word.len());
                }
            }
            return Some(value::word(bytes, next, false));
        }
        None
    }

    /// Returns the literal behind the name of a secret that ends at `end`, where a statement has
    /// them side by side or a user between them.
    pub(super) fn sql_setting(&mut self, start: usize, end: usize) -> Option<Extent> {
        let bytes = self.bytes;
        let next = skip_space(bytes, end);
        if next == end || !self.is_sql() {
            return None;
        }
        if begins(bytes.get(start..)?, b"password") && begins(bytes.get(next..)?, b"for ") {
            let near = bytes.get(next..(next + LONGEST_USER).min(bytes.len()))?;
            let sign = next + scan_cost::position(near, |byte| *byte == b'=')?;
            let mut value = skip_space(bytes, sign + 1);
            // `= PASSWORD('X')`.
            if begins(bytes.get(value..)?, b"password(") {
                value = skip_space(bytes, value + b"password(".len());
            }
            return Some(value::word(bytes, value, false));
        }
        if let Some(text) = dollar_quoted(bytes, next) {
            return Some(text);
        }
        literal::is_literal(bytes, next).then(|| value::word(bytes, next, false))
    }

    /// Returns whether the text has a statement with settings.
    fn is_sql(&mut self) -> bool {
        let bytes = self.bytes;
        *self.is_sql.get_or_insert_with(|| {
            scan_cost::count(bytes.len());
            let mut words = memchr::memchr2_iter(b' ', b'\n', bytes);
            words.any(|blank| {
                let start = bytes.get(..blank).unwrap_or_default();
                STATEMENTS.iter().any(|statement| {
                    let word = statement.get(..statement.len() - 1).unwrap_or_default();
                    start.len() >= word.len()
                        && start
                            .get(start.len() - word.len()..)
                            .is_some_and(|end| end.eq_ignore_ascii_case(word))
                })
            })
        })
    }
}

/// Returns the text of the literal at `start`, as PostgreSQL has it in `$$X$$` or `$tag$X$tag$`.
fn dollar_quoted(bytes: &[u8], start: usize) -> Option<Extent> {
    let rest = bytes.get(start..)?;
    let tag = rest.strip_prefix(b"$")?.iter().take(LONGEST_TAG + 1);
    let length = tag.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let mark = rest.get(..length + 2).filter(|mark| mark.ends_with(b"$"))?;
    let text = rest.get(mark.len()..)?;
    // Without an end a tag is a variable of a shell.
    let length = scan_cost::find(text, mark).or((length == 0).then_some(text.len()))?;
    let start = start + mark.len();
    Some(Extent { start, end: start + length })
}
