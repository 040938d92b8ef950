//! Result of a verification.

use std::fmt;

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The number of the file, in the order in which files were read, from 0.
    pub file: usize,
    /// The number of the line in its file, from 1.
    pub line: u64,
}

/// Something that an unaltered and complete record does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The line at which it shows; `None` if no line of any file does.
    pub place: Option<Place>,
    /// What it is.
    pub kind: FaultKind,
}

/// What is wrong. Numbers are those of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The line's bytes do not have the hash that it states.
    Altered(u64),
    /// The line does not name the hash of the line before it: one of the two was replaced.
    Broken(u64),
    /// These lines are missing before this one.
    Missing(u64, u64),
    /// These lines are there already.
    Duplicated(u64, u64),
    /// The line comes before one of a smaller number.
    Misplaced(u64),
    /// The line belongs to another run than the lines around it.
    Mixed(u64),
    /// The line has no seal: it was added, or its seal was damaged.
    Unsealed,
    /// The file ends inside of the line.
    Cut,
    /// The record ends here and has no `stop` event: a running program's, a killed one's, or a cut
    /// one.
    NoEnd(u64),
    /// A checkpoint names a line behind the record's end.
    BehindEnd(u64),
    /// The line is not the one that a checkpoint names: the record was written anew.
    Rewritten(u64),
    /// A checkpoint names a chain that no file has.
    NoChain(String),
    /// No line has a seal.
    Empty,
    /// There are more faults than are kept, this many.
    More(u64),
}

impl FaultKind {
    /// Returns whether it only says that the end is not there.
    pub(crate) const fn is_about_end(&self) -> bool {
        matches!(self, Self::NoEnd(_))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(line) => write!(f, "line {line} of the record was altered"),
            Self::Broken(line) => write!(
                f,
                "line {line} of the record does not follow from line {}: one of the two was replaced",
                line.saturating_sub(1)
            ),
            Self::Missing(from, to) if from == to => {
                write!(f, "line {from} of the record is missing before this one")
            }
            Self::Missing(from, to) => {
                write!(f, "lines {from} to {to} of the record are missing before this one")
            }
            Self::Duplicated(from, to) if from == to => {
                write!(f, "line {from} of the record is here a second time")
            }
            Self::Duplicated(from, to) => {
                write!(f, "lines {from} to {to} of the record are here a second time")
            }
            Self::Misplaced(line) => {
                write!(f, "line {line} of the record is not in its place: earlier ones follow it")
            }
            Self::Mixed(line) => write!(
                f,
                "line {line} of another run: the lines of two runs are mixed in this file"
            ),
            Self::Unsealed => {
                f.write_str("a line without a seal: it was added, or its seal damaged")
            }
            Self::Cut => f.write_str("the file ends inside of this line"),
            Self::NoEnd(line) => write!(
                f,
                "the end is not here: line {line} is the last one and no stop event; the run goes on, \
                 was killed, or its last lines were removed"
            ),
            Self::BehindEnd(line) => write!(
                f,
                "the record was cut: a checkpoint names line {line}, which is behind the last one"
            ),
            Self::Rewritten(line) => write!(
                f,
                "line {line} of the record is not the one that a checkpoint names: it was written anew"
            ),
            Self::NoChain(chain) => {
                write!(f, "no file has chain {chain}, which a checkpoint names")
            }
            Self::Empty => f.write_str("no line has a seal: was the record written with --seal?"),
            Self::More(count) => write!(f, "{count} more faults"),
        }
    }
}

/// A chain of lines that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainReport {
    /// Its id.
    pub chain: String,
    /// The id of the run that wrote it, where its first line names one.
    pub run: Option<String>,
    /// The numbers of its first and its last line.
    pub first: u64,
    /// The number of its last line.
    pub last: u64,
    /// The hash that its last line states.
    pub sha256: String,
    /// The number of files that have lines of it.
    pub files: usize,
    /// Whether its last line is a `stop` event.
    pub has_end: bool,
}

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The chains, in the order in which they were met.
    pub chains: Vec<ChainReport>,
    /// The faults, in the order of their places.
    pub faults: Vec<Fault>,
}

impl Verdict {
    /// Returns whether everything is unaltered and complete.
    pub(crate) const fn is_complete(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns whether everything is unaltered, and complete but for its end.
    pub(crate) fn is_unaltered(&self) -> bool {
        self.faults.iter().all(|fault| fault.kind.is_about_end())
    }
}
