//! The part of an option's value or of an operand that is secret.

use super::super::{extent::Extent, literal, scan_cost, value};
use super::table::Takes;

/// Adds a value to `found`, if it is what is taken; returns whether it is.
pub(super) fn redact(bytes: &[u8], value: Extent, takes: Takes, found: &mut Vec<Extent>) -> bool {
    let text = bytes.get(value.start..value.end).unwrap_or_default();
    let is_file = value::is_path(text);
    let is_option = text.starts_with(b"--")
        || (text.starts_with(b"-") && matches!(text.get(1), Some(b'a'..=b'z' | b'A'..=b'Z')));
    let start = match takes {
        Takes::End | Takes::Nothing => return false,
        Takes::Secret | Takes::Apart | Takes::Attached if is_file || value::is_ports(text) => {
            return true;
        }
        Takes::Secret | Takes::Apart | Takes::Token if is_option => return false,
        Takes::Token if text.contains(&b'=') => return true,
        Takes::Secret | Takes::Apart | Takes::Token | Takes::Anything | Takes::Attached => {
            value.start
        }
        Takes::Behind(joint) => {
            let near = text.get(..value::LONGEST_USER).unwrap_or(text);
            scan_cost::count(near.len());
            if is_option || text.starts_with(b"@") || scan_cost::find(near, b"://").is_some() {
                return false;
            }
            match memchr::memchr(joint, near) {
                Some(at) if at > 0 || joint == b':' => value.start + at + 1,
                _ => return true,
            }
        }
        Takes::Prefixed if text.starts_with(b"pass:") => value.start + b"pass:".len(),
        Takes::Prefixed => return true,
        Takes::Pair => match memchr::memchr(b'=', text) {
            Some(at) if text.get(at + 1) != Some(&b'@') => value.start + at + 1,
            _ => return !is_option,
        },
    };
    // Behind the slash of a login to Oracle stands the password, and then a database.
    let end = match takes {
        Takes::Behind(b'/') => {
            let rest = bytes.get(start..value.end).unwrap_or_default();
            memchr::memrchr(b'@', rest).map_or(value.end, |at| start + at)
        }
        _ => value.end,
    };
    let (start, quote) =
        if start > value.start { literal::open(bytes, start) } else { (start, None) };
    let end =
        if quote.is_some() { literal::end(bytes, start, quote).min(end.max(start)) } else { end };
    let kept = value::expression(bytes, start).filter(|kept| *kept <= end);
    let start = kept.unwrap_or(start);
    if start < end && !value::is_substitution(bytes, start) {
        found.push(Extent { start, end });
    }
    true
}
