//! Problems of a configuration, each with its place in the file.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::text::terminal;

/// The likeness above which a known key is suggested (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;
/// The columns of a line that are shown.
const MAX_LINE: usize = 120;

/// A problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The bytes of the file that it is about; `None` for one of the environment or command line.
    span: Option<Range<usize>>,
    message: String,
}

/// All problems of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems {
    path: PathBuf,
    text: String,
    problems: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl Problems {
    /// Makes an empty list for a file.
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), problems: Vec::new() }
    }

    /// Makes the list for a file that cannot be read.
    pub(crate) fn of_file(path: &Path, error: &io::Error) -> Self {
        let mut problems = Self::new(path, "");
        problems.elsewhere(format!("cannot read {}: {error}", path.display()));
        problems
    }

    /// Returns whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds a problem at a place in the file.
    pub(crate) fn at(&mut self, span: Range<usize>, message: String) {
        self.problems.push(Problem { span: Some(span), message });
    }

    /// Adds a problem that is not in the file.
    pub(crate) fn elsewhere(&mut self, message: String) {
        self.problems.push(Problem { span: None, message });
    }

    /// Adds a key that does not exist.
    pub(crate) fn unknown<'a>(
        &mut self,
        span: Range<usize>,
        key: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        self.at(span, unknown_key(key, known));
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut problems: Vec<_> = self.problems.iter().collect();
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        for (number, Problem { span, message }) in problems.into_iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let message = terminal::escape(message);
            let Some(span) = span else {
                write!(f, "{message}")?;
                continue;
            };
            let place = Place::of(&self.text, span);
            let Place { line, column, .. } = place;
            let path = terminal::escape(&self.path.display().to_string());
            write!(f, "{path}:{line}:{column}: {message}\n{place}")?;
        }
        Ok(())
    }
}

/// A place in the file, rendered as its line with carets below it.
struct Place<'a> {
    line: usize,
    column: usize,
    text: &'a str,
    length: usize,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let start = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let (before, after) = text.split_at(start.unwrap_or(0));
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = after.lines().next().unwrap_or_default();
        let marked = after.get(..span.len()).unwrap_or(rest);
        let marked = marked.lines().next().unwrap_or_default();
        Self {
            line: line_of(text, before.len()),
            column: before.get(begin..).unwrap_or_default().chars().count() + 1,
            text: text.get(begin..before.len() + rest.len()).unwrap_or_default(),
            length: marked.chars().count().max(1),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One column for each character, so that the carets stand below the right ones.
        let shown: String = self
            .text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .take(MAX_LINE)
            .collect();
        let line = self.line;
        writeln!(f, "{line:5} | {}", terminal::escape(&shown))?;
        let carets = "^".repeat(self.length.min(MAX_LINE.saturating_sub(self.column).max(1)));
        write!(f, "      | {}{carets}", " ".repeat(self.column.min(MAX_LINE) - 1))
    }
}

/// Returns the number of the line of a byte, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Returns what to say of a key that does not exist, with the nearest that does.
pub(super) fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known
        .map(|known| (strsim::jaro_winkler(key, known), known))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((_, nearest)) => format!("unknown key {key:?}; did you mean {nearest:?}?"),
        None => format!("unknown key {key:?}"),
    }
}
