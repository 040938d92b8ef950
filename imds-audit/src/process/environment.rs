//! The environment that a program was started with.
//!
//! Only variables on a list of ours are looked for; nothing else of an environment is kept.

use super::databricks::Cluster;

/// The variables that a shell keeps its working directory in: the one in which it started the
/// program.
const WORKING_DIRECTORY: &[u8] = b"PWD";

/// What an environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// The cluster of Databricks that it names.
    pub cluster: Option<Cluster>,
    /// The working directory of the shell that started the program, or of one above it.
    pub working_directory: Option<Box<[u8]>>,
}

impl Environment {
    /// Reads an environment as it lies in memory, each variable ended by a NUL; `truncated` where
    /// it goes on behind those bytes.
    pub(super) fn of(memory: &[u8], truncated: bool) -> Self {
        // Of a cut environment the last variable may be cut.
        let whole = match memory.iter().rposition(|&byte| byte == 0) {
            Some(end) if truncated => memory.get(..end).unwrap_or_default(),
            None if truncated => return Self::default(),
            _ => memory,
        };
        // The first counts, as it does for getenv(3).
        let find = |name: &[u8]| {
            let mut variables = whole.split(|&byte| byte == 0);
            variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))
        };
        let directory = find(WORKING_DIRECTORY).filter(|path| path.starts_with(b"/"));
        Self { cluster: Cluster::of(find), working_directory: directory.map(Into::into) }
    }
}
