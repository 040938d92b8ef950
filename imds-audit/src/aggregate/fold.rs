//! Folding of the parts of a path or command line that differ from run to run.
//!
//! Jenkins, GitHub Actions, Ansible and the SSM agent run each step from a file under a random
//! name. Folded, all of them are one caller:
//!
//! | part | example | folded |
//! |---|---|---|
//! | UUID | `_temp/7f1c…-….sh` | `_temp/*.sh` |
//! | hexadecimal run of 8 and more with a digit | `durable-1a2b3c4d` | `durable-*` |
//! | number of 4 and more digits, of 5 behind a letter; with a time in it also its other parts | `ansible-tmp-1700000000.12-34-56` | `ansible-tmp-*` |
//! | date | `2024-01-15` | `*` |
//! | name of `mktemp` and its relatives | `tmp.Kd9sLqX2aB` | `tmp.*` |
//! | random run of 20 and more | a hash of nixpkgs | `*` |
//! | id of AWS or Databricks, host's address | `d-1A2B3C4D5`, `0115-103055-ab12cd3e`, `ip-10-0-1-7` | `d-*`, `*`, `ip-*` |
//! | number of a workspace | `job@2` | `job` |
//!
//! What tells one program from another stays: versions (`python3.11`, `1.2.3`), years
//! (`2024-reports`), ports, short numbers (`app-v2`).

mod tools;

use tools::{
    Folders, address, aws_id, cluster_id, dispatched, is_mixed, ruby_tail, tools_own_part,
};

/// What stands for a folded part.
const FOLDED: char = '*';

/// Folds the random parts of a text, in linear time.
pub(crate) fn fold_random(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut folders = Folders::default();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        if let Some(date) = slashed_date(rest, &folded) {
            folded.push(FOLDED);
            rest = rest.get(date..).unwrap_or_default();
            continue;
        }
        match tools_own_part(part, behind, folders) {
            Some(kept) => {
                folded.push_str(kept);
                folded.push(FOLDED);
            }
            None => fold_part(part, folders.is_temporary, &mut folded),
        }
        folders.enter(part);
        let mut characters = behind.chars();
        if let Some(separator) = characters.next() {
            folded.push(separator);
            if separator != '/' {
                folders = Folders::default();
            }
        }
        rest = characters.as_str();
    }
    folded
}

/// Returns whether a character ends a part of a path.
fn is_separator(character: char) -> bool {
    character == '/' || character.is_whitespace() || matches!(character, '"' | '\'' | '=' | ',')
}

/// Folds one part of a path.
fn fold_part(part: &str, is_temporary: bool, folded: &mut String) {
    if let Some((name, suffix)) = temporary_name(part, is_temporary) {
        folded.push_str(name);
        folded.push(FOLDED);
        return fold_part(suffix, is_temporary, folded);
    }
    if let Some((name, suffix)) = aws_id(part).or_else(|| dispatched(part, is_temporary)) {
        folded.push_str(name);
        folded.push(FOLDED);
        return fold_part(suffix, is_temporary, folded);
    }
    let mut rest = part;
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '@' => workspace_number(rest).inspect(|_| before = Some('@')).map(|end| (end, false)),
            _ if !first.is_ascii_alphanumeric() => None,
            _ if before.is_some_and(|before: char| before.is_ascii_alphanumeric()) => None,
            _ => random_length(rest, before, is_temporary).map(|end| (end, true)),
        };
        if let Some((end, is_shown)) = length.filter(|(end, _)| *end > 0) {
            if is_shown {
                folded.push(FOLDED);
            }
            rest = rest.get(end..).unwrap_or_default();
            before = Some(FOLDED);
            continue;
        }
        // A host by its address, as EC2 names it.
        let is_start = !before.is_some_and(|before| before.is_ascii_alphanumeric());
        if let Some(length) = rest.strip_prefix("ip-").filter(|_| is_start).and_then(address) {
            folded.push_str("ip-*");
            rest = rest.get("ip-".len() + length..).unwrap_or_default();
            before = Some(FOLDED);
            continue;
        }
        // Nothing at the start of this run is random: its numbers may be.
        let end = rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        if run.is_empty() {
            folded.push(first);
            before = Some(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let run_end = fold_numbers(run, before, behind, is_temporary, folded);
            before = run.chars().next_back();
            rest = behind.get(run_end..).unwrap_or_default();
        }
    }
}

/// Returns how many bytes at the start of a text are a UUID, a date, a time with its parts, a
/// hexadecimal run or another random run.
fn random_length(text: &str, before: Option<char>, is_temporary: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let run = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let date = || date(bytes).map(|end| end + time_of_day(bytes.get(end..).unwrap_or_default()));
    uuid(bytes).or_else(|| cluster_id(bytes)).or_else(date).or_else(|| time(bytes)).or_else(|| {
        let behind = bytes.get(run..)?;
        let run = bytes.get(..run)?;
        let is_random = is_hexadecimal(run)
            || is_long_random(run)
            || (is_temporary
                && matches!(before, Some('.' | '-' | '_'))
                && std::str::from_utf8(run).is_ok_and(is_random_suffix));
        is_random.then(|| run.len() + ruby_tail(run, behind))
    })
}

/// Folds the numbers of a run of letters and digits. Returns how many bytes behind the run were
/// folded with it.
fn fold_numbers(
    run: &str,
    before: Option<char>,
    behind: &str,
    is_temporary: bool,
    folded: &mut String,
) -> usize {
    let mut rest = run;
    let mut last = before;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|next: char| next.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (piece, remaining) = rest.split_at(end);
        let is_word = last.is_some_and(|last| last.is_ascii_alphabetic())
            || remaining.starts_with(|next: char| next.is_ascii_alphabetic());
        let is_short = is_temporary && !is_word && piece.len() == 3;
        if is_digit
            && (is_short || is_folded_number(piece, is_word, last, behind, remaining.is_empty()))
        {
            folded.push(FOLDED);
            if piece.len() >= 9 && remaining.is_empty() {
                return numeric_tail(behind.as_bytes());
            }
            if remaining.is_empty() {
                return ruby_tail(piece.as_bytes(), behind.as_bytes());
            }
        } else {
            folded.push_str(piece);
        }
        last = piece.chars().next_back();
        rest = remaining;
    }
    0
}

/// Returns whether a number differs from run to run.
fn is_folded_number(
    digits: &str,
    is_word: bool,
    before: Option<char>,
    behind: &str,
    is_last: bool,
) -> bool {
    let is_next = |end: char| {
        let mut next = behind.chars();
        is_last && next.next() == Some(end) && next.next().is_some_and(|next| next.is_ascii_digit())
    };
    match digits.len() {
        0..=3 => false,
        4 if is_word || before == Some(':') => false,
        // A year, which names a folder for as long as it lasts.
        4 if digits.starts_with("19") || digits.starts_with("20") => false,
        // A version: `2.0.50727`.
        4..=5 => before != Some('.') && before != Some(':') && !is_next('.'),
        _ => true,
    }
}

/// Returns the length of a UUID at the start.
fn uuid(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            matches!(bytes.get(at)?, b'-' | b'_').then_some(())?;
            at += 1;
        }
        bytes.get(at..at + length)?.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        at += length;
    }
    (!bytes.get(at).is_some_and(u8::is_ascii_alphanumeric)).then_some(at)
}

/// Returns the length of a date at the start: year, month and day, with the same sign between.
fn date(bytes: &[u8]) -> Option<usize> {
    let (first, second) = (bytes.get(4)?, bytes.get(7)?);
    let digits = |from: usize, to: usize| {
        let text = bytes.get(from..to).filter(|text| text.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(text).ok()?.parse::<u16>().ok()
    };
    let is_date = matches!(first, b'-' | b'_' | b'.' | b'/')
        && first == second
        && (1990..2100).contains(&digits(0, 4)?)
        && (1..=12).contains(&digits(5, 7)?)
        && (1..=31).contains(&digits(8, 10)?)
        && !bytes.get(10).is_some_and(u8::is_ascii_digit);
    is_date.then_some(10)
}

/// Returns how many bytes at the start are the time that follows a date: `_10_20_30.123`,
/// `T10:20:30Z`.
fn time_of_day(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(b'_' | b'-' | b'.' | b':' | b'T') = bytes.get(end) {
        let behind = bytes.get(end + 1..).unwrap_or_default();
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let next = behind.get(digits);
        if digits == 0 || next.is_some_and(|next| next.is_ascii_alphabetic() && *next != b'Z') {
            break;
        }
        end += 1 + digits;
        if next == Some(&b'Z') {
            return end + 1;
        }
    }
    end
}

/// Returns the length of a date whose parts are folders, at the start of one.
fn slashed_date(rest: &str, before: &str) -> Option<usize> {
    let is_folder = before.is_empty() || before.ends_with('/');
    let end =
        date(rest.as_bytes()).filter(|_| is_folder && rest.as_bytes().get(4) == Some(&b'/'))?;
    (!rest.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric)).then_some(end)
}

/// Returns the length of a number of 9 and more digits at the start, a time since 1970 or an id, and
/// of the numbers that it is joined with.
fn time(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = bytes.get(digits..)?;
    (digits >= 9 && !behind.first().is_some_and(u8::is_ascii_alphanumeric))
        .then(|| digits + numeric_tail(behind))
}

/// Returns how many bytes at the start are numbers, each behind a dot, dash or underscore.
fn numeric_tail(bytes: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let Some(b'.' | b'-' | b'_') = bytes.get(end) else { return end };
        let behind = bytes.get(end + 1..).unwrap_or_default();
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || behind.get(digits).is_some_and(u8::is_ascii_alphabetic) {
            return end;
        }
        end += 1 + digits;
    }
}

/// Returns the length of `@2`, by which Jenkins tells workspaces of one job apart.
fn workspace_number(text: &str) -> Option<usize> {
    let digits = text.bytes().skip(1).take_while(u8::is_ascii_digit).count();
    let is_end = matches!(text.as_bytes().get(1 + digits), None | Some(b'@'));
    ((1..=3).contains(&digits) && is_end).then_some(1 + digits)
}

/// Returns whether a run is of 8 and more hexadecimal digits in one case, numbers among them.
fn is_hexadecimal(run: &[u8]) -> bool {
    let is_lower = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let is_upper = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'A'..=b'F');
    run.len() >= 8
        && run.iter().any(u8::is_ascii_digit)
        && (run.iter().all(is_lower) || run.iter().all(is_upper))
}

/// Returns whether a run is long and changes between letters and digits as no word does.
fn is_long_random(run: &[u8]) -> bool {
    let changes = run
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if a.is_ascii_digit() != b.is_ascii_digit()));
    run.len() >= 20 && changes.count() >= 5
}

/// Returns whether a run behind a joint in a folder of temporary files is random: letters and
/// digits in turn, or both cases where they are no words put together (`runJob`).
fn is_random_suffix(name: &str) -> bool {
    if is_mixed(name) {
        return true;
    }
    let bytes = name.as_bytes();
    if !(6..=12).contains(&bytes.len()) || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let has = |is: fn(&u8) -> bool| bytes.iter().any(is);
    if has(u8::is_ascii_digit) {
        let changes = bytes
            .windows(2)
            .filter(|pair| matches!(pair, [a, b] if a.is_ascii_digit() != b.is_ascii_digit()));
        return changes.count() >= 2;
    }
    let mut words = bytes.split(u8::is_ascii_uppercase).enumerate();
    let is_word =
        |(place, rest): (usize, &[u8])| rest.len() >= 2 || (place == 0 && rest.is_empty());
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && words.any(|word| !is_word(word))
}

/// Splits a name that `mktemp` (`tmp.` and ten letters), Python (`tmp` and eight) or Perl (ten
/// letters) makes into what is before and behind its random part.
fn temporary_name(part: &str, is_temporary: bool) -> Option<(&str, &str)> {
    let stem = part.find('.').filter(|end| *end > 3).unwrap_or(part.len());
    if let Some(random) = part.strip_prefix("tmp.") {
        let end = random.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(random.len());
        return matches!(end, 6 | 8 | 10 | 12).then(|| (&part[..4], &random[end..]));
    }
    // Salt's `__salt.tmp.` and eight characters of Python's.
    if let Some((before, random)) = part.split_once(".tmp.") {
        let end = random.find(|next: char| !(next.is_ascii_alphanumeric() || next == '_'));
        let (random, suffix) = random.split_at(end.unwrap_or(random.len()));
        let is_random = matches!(random.len(), 6 | 8 | 10)
            && (is_temporary || random.bytes().any(|byte| byte.is_ascii_digit()));
        let kept = part.get(..before.len() + ".tmp.".len());
        if let Some(kept) = kept.filter(|_| is_random) {
            return Some((kept, suffix));
        }
    }
    let name = part.get(..stem)?;
    let is_python = |random: &str| {
        random.len() == 8
            && random
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if let Some(start) = name.rfind("tmp").map(|start| start + 3)
        && is_python(&name[start..])
        && (is_temporary || name[start..].bytes().any(|byte| byte.is_ascii_digit()))
    {
        return Some((&part[..start], &part[stem..]));
    }
    (is_temporary && name.len() == 10 && is_mixed(name)).then(|| ("", &part[stem..]))
}

#[cfg(test)]
mod tests;
