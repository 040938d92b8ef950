//! Random parts that one tool, or AWS or Databricks, gives a form of its own.

/// Folders whose files have random names.
const TEMPORARY: [&str; 6] = ["tmp", "temp", "_temp", ".tmp", "TMP", "Temp"];

/// The folders above a part of a path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folders<'a> {
    /// Whether one of them is a folder of temporary files.
    pub(super) is_temporary: bool,
    grandparent: &'a str,
    parent: &'a str,
}

impl<'a> Folders<'a> {
    pub(super) fn enter(&mut self, part: &'a str) {
        self.is_temporary |= TEMPORARY.contains(&part) || part.ends_with("@tmp");
        self.grandparent = self.parent;
        self.parent = part;
    }
}

/// Returns what stays of a part that one tool makes in a folder of its own: GitLab's
/// `builds/RUNNER/0`, CodeBuild's `codebuild/output/src396`, Tekton's
/// `tekton/scripts/script-0-x2x7z`.
pub(super) fn tools_own_part<'a>(
    part: &'a str,
    behind: &str,
    folders: Folders<'_>,
) -> Option<&'a str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (folders.grandparent, folders.parent) {
        (_, "builds") => {
            let next = behind.strip_prefix('/').and_then(|next| next.split_once('/'));
            let is_runner =
                (6..=12).contains(&part.len()) && next.is_some_and(|(n, _)| is_number(n));
            (is_runner || is_mixed(part)).then_some("")
        }
        ("codebuild", "output") => {
            part.strip_prefix("src").filter(|n| is_number(n)).and(Some("src"))
        }
        ("tekton", "scripts") if part.starts_with("script-") => {
            let (stem, random) = part.rsplit_once('-')?;
            (random.len() == 5).then_some(())?;
            part.get(..=stem.len())
        }
        _ => None,
    }
}

/// Returns the length of the id of a cluster of Databricks at the start: a day, a time and a word.
pub(super) fn cluster_id(bytes: &[u8]) -> Option<usize> {
    let run = |from: usize, is_part: fn(&u8) -> bool| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| is_part(byte)).count()
    };
    let is_part = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let has_dashes = bytes.get(4) == Some(&b'-') && bytes.get(11) == Some(&b'-');
    let word = run(12, is_part);
    let fits = has_dashes
        && run(0, u8::is_ascii_digit) == 4
        && run(5, u8::is_ascii_digit) == 6
        && (5..=12).contains(&word);
    fits.then_some(12 + word)
}

/// Returns how many bytes behind a date without dashes are the rest of a temporary name of Ruby's:
/// `20240115-4711-1a2b3c`.
pub(super) fn ruby_tail(date: &[u8], behind: &[u8]) -> usize {
    let pid = behind.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    let random = behind.get(1 + pid..).and_then(|rest| rest.strip_prefix(b"-"));
    let is_part = |byte: &&u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let length = random.map_or(0, |random| random.iter().take_while(is_part).count());
    let fits = date.len() == 8
        && (date.starts_with(b"19") || date.starts_with(b"20"))
        && date.iter().all(u8::is_ascii_digit)
        && behind.first() == Some(&b'-')
        && pid > 0
        && (4..=8).contains(&length);
    if fits { 2 + pid + length } else { 0 }
}

/// Splits what AWS gives ids to behind one letter (`d-1A2B3C4D5` of CodeDeploy, `j-…` and `s-…` of
/// EMR) into the letter with its dash, and what is behind the id.
pub(super) fn aws_id(part: &str) -> Option<(&str, &str)> {
    let bytes = part.as_bytes();
    let [b'a'..=b'z', b'-', id @ ..] = bytes else { return None };
    let length =
        id.iter().take_while(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).count();
    let is_id = length >= 9
        && id.iter().take(length).any(u8::is_ascii_digit)
        && !id.get(length).is_some_and(u8::is_ascii_alphanumeric);
    is_id
        .then(|| part.split_at(2))
        .map(|(name, rest)| (name, rest.get(length..).unwrap_or_default()))
}

/// Splits a script that Rundeck copies to a host, `12-345-HOST-dispatch-script.tmp.sh`, behind the
/// numbers of its execution.
pub(super) fn dispatched(part: &str, is_temporary: bool) -> Option<(&str, &str)> {
    let (first, rest) = part.split_once('-').filter(|_| is_temporary)?;
    let (second, _) = rest.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = is_number(first) && is_number(second);
    fits.then(|| ("", part.get(first.len() + 1 + second.len()..).unwrap_or_default()))
}

/// Returns the length of an address with dashes (`10-0-1-23`) at the start.
pub(super) fn address(text: &str) -> Option<usize> {
    let mut end = 0;
    for place in 0..4 {
        if place > 0 {
            (text.as_bytes().get(end) == Some(&b'-')).then_some(())?;
            end += 1;
        }
        let digits = text.bytes().skip(end).take_while(u8::is_ascii_digit).count();
        (1..=3).contains(&digits).then_some(())?;
        end += digits;
    }
    Some(end)
}

/// Returns whether a name of 6 to 12 letters and digits mixes cases or has digits between letters.
pub(super) fn is_mixed(name: &str) -> bool {
    let class = |byte: &u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        _ => 2,
    };
    let bytes = name.as_bytes();
    let changes = bytes.windows(2).filter(|pair| matches!(pair, [a, b] if class(a) != class(b)));
    (6..=12).contains(&bytes.len())
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && changes.count() >= 3
}
