//! Pairs of a name and a value that are members of one object:
//! `ParameterKey=DBPassword,ParameterValue=X`, `{"name": "DB_PASSWORD", "value": "X"}`,
//! `<name>fs.s3a.secret.key</name><value>X</value>`.

use super::{
    Scan,
    extent::{Extent, skip_space},
    literal, markup, scan_cost,
    secret_name::{self, Key},
    value,
};

/// The longest name that is read, in bytes.
const LONGEST_NAME: usize = 128;

/// How far a value may stand from its name, in bytes.
const FARTHEST: usize = 256;

/// What a member of an object is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The name of what the object is about.
    Name,
    /// Its value.
    Value,
}

impl Role {
    fn of(member: &[u8]) -> Option<Self> {
        if !(3..=15).contains(&member.len()) {
            return None;
        }
        let is = |names: &[&[u8]]| names.iter().any(|name| member.eq_ignore_ascii_case(name));
        match member.last().map(u8::to_ascii_lowercase) {
            Some(b'e' | b'y' | b'd') if is(NAMES) => Some(Self::Name),
            Some(b'e' | b'l' | b't' | b'g' | b'a') if is(VALUES) => Some(Self::Value),
            _ => None,
        }
    }
}

const NAMES: &[&[u8]] = &[
    b"name",
    b"key",
    b"parameterkey",
    b"optionname",
    b"variable",
    b"envvar",
    b"field",
    b"propertyname",
];

const VALUES: &[&[u8]] = &[
    b"value",
    b"parametervalue",
    b"optionvalue",
    b"stringvalue",
    b"val",
    b"plaintext",
    b"content",
    b"default",
    b"defaultvalue",
    b"currentvalue",
];

/// Members of an object that is itself a secret's (`"token": {"value": "X"}`).
const INNER: &[&[u8]] = &[
    b"value",
    b"key",
    b"data",
    b"secret",
    b"val",
    b"s",
    b"b",
    b"stringvalue",
    b"default",
    b"string",
    b"plaintext",
    b"text",
    b"raw",
    b"content",
    b"pw",
];

/// The object at hand.
#[derive(Clone, Copy, Default)]
pub(super) struct Object {
    /// Where the name of a secret ended, whose value has not come yet.
    named: Option<usize>,
    /// A value whose name has not come yet.
    valued: Option<Extent>,
    /// How far the object reaches at most that is a secret's own, whose values are all secret.
    secret_until: usize,
}

impl Object {
    /// Returns an object that is a secret's own, up to `end` at most.
    pub(super) const fn of_secret(end: usize) -> Self {
        Self { named: None, valued: None, secret_until: end }
    }

    /// Returns whether nothing of it has come.
    pub(super) const fn is_empty(&self) -> bool {
        self.named.is_none() && self.valued.is_none() && self.secret_until == 0
    }
}

impl Scan<'_> {
    /// Reads the member at `start..end` of an object. Returns how its value is read if it is a
    /// secret.
    pub(super) fn member(&mut self, start: usize, end: usize) -> Option<Key> {
        let bytes = self.bytes;
        let name = bytes.get(start..end)?;
        if start < self.object.secret_until
            && INNER.iter().any(|inner| name.eq_ignore_ascii_case(inner))
        {
            return value::separator(bytes, end).map(|_| Key::Word);
        }
        // `--name X`, `env[0].name=X`.
        let member = name.rsplit(|byte| matches!(byte, b'-' | b'.')).next().unwrap_or_default();
        let role = Role::of(member)?;
        let text = markup::element(bytes, start, end).or_else(|| {
            let after = value::separator(bytes, end)?;
            (!self.is_value_of_comma(start, end)).then(|| self.member_value(after.value))
        })?;
        match role {
            Role::Name => {
                let name = bytes.get(text.start..text.end)?;
                let is_secret = is_secret_name(name);
                if let Some(value) = self.object.valued.take().filter(|_| is_secret)
                    && self.is_same_object(value.end, start)
                {
                    self.secret(value.start, value.end);
                    return None;
                }
                self.object.named = is_secret.then_some(text.end);
                None
            }
            Role::Value => {
                let named = self.object.named.take().filter(|named| {
                    start.saturating_sub(*named) <= FARTHEST && self.is_near(*named, start)
                });
                if named.is_some() {
                    return Some(Key::Word);
                }
                self.object.valued = (text.start < text.end).then_some(text);
                None
            }
        }
    }

    /// Returns the value of a member at `start`, a name or a value of one word.
    fn member_value(&self, start: usize) -> Extent {
        let bytes = self.bytes;
        let (from, quote) = literal::open(bytes, start);
        let near = bytes.get(..(from + LONGEST_NAME).min(bytes.len())).unwrap_or_default();
        if quote.is_some() {
            return Extent { start: from, end: literal::end(near, from, quote) };
        }
        let rest = near.get(from..).unwrap_or_default();
        let is_end = |byte: &u8| {
            matches!(byte, b',' | b'}' | b']' | b'"' | b'\'' | b'\\' | b';' | b'&')
                || byte.is_ascii_whitespace()
        };
        let length = scan_cost::position(rest, is_end).unwrap_or(rest.len());
        Extent { start: from, end: from + length }
    }

    /// Returns whether the members at two places belong to one object: no other begins between.
    fn is_near(&self, from: usize, to: usize) -> bool {
        let between = self.bytes.get(from..to).unwrap_or_default();
        scan_cost::count(between.len());
        let is_brace = |byte: &u8| matches!(byte, b'{' | b'}');
        !between.iter().any(is_brace) && memchr::memmem::find(between, b"- ").is_none()
    }

    /// Returns whether a value that ends at `from` and a name at `to` are members of one object.
    fn is_same_object(&self, from: usize, to: usize) -> bool {
        let between = self.bytes.get(from..to).unwrap_or_default();
        let is_joint =
            |byte: &u8| matches!(byte, b',' | b'"' | b'\'' | b'\\') || byte.is_ascii_whitespace();
        between.len() <= 64
            && between.iter().all(is_joint)
            && (between.contains(&b',') || between.contains(&b'\n'))
    }

    /// Returns whether the name at `start..end` stands in quotes as a value of its own, so that
    /// what follows the comma behind it is another member.
    pub(super) fn is_value_of_comma(&self, start: usize, end: usize) -> bool {
        let bytes = self.bytes;
        if literal::opening_quote(bytes, start).is_none() {
            // `"…/api/token", …` is a text that ends like a name.
            return value::separator(bytes, end).is_some_and(|after| after.is_comma);
        }
        if bytes.get(skip_space(bytes, literal::closed(bytes, end))) != Some(&b',') {
            return false;
        }
        let before = bytes.get(start.saturating_sub(16)..start - 1).unwrap_or_default();
        let is_joint = |byte: &&u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b'"' | b'\'');
        before.iter().rev().find(is_joint) == Some(&b':')
    }
}

/// Returns whether `name` is one of a secret, also with a path or a prefix before it.
fn is_secret_name(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| matches!(byte, b'/' | b':')).next().unwrap_or_default();
    !last.is_empty()
        && last.iter().all(|byte| secret_name::is_name(*byte))
        && (Key::of(last).is_some() || secret_name::is_variable_of_a_key(last))
}
