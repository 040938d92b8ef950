//! Files of programs.

/// What the kernel puts behind the path of a file that is deleted.
pub(super) const DELETED: &[u8] = b" (deleted)";

/// A process's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// The full path, as the process's mount namespace has it.
    Path {
        /// The path.
        path: Box<[u8]>,
        /// Whether the file had been deleted, as after an upgrade.
        deleted: bool,
    },
    /// Only the file's name without its folders, from the kernel's snapshot.
    FileName(Box<[u8]>),
}

impl Executable {
    /// Turns the link's text into a path. A file's name may end as the mark of a deleted one does: the
    /// name in the record decides.
    pub fn of_link(link: Vec<u8>, name: Option<&[u8]>) -> Self {
        let is_named = |path: &[u8]| {
            let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            name.is_some_and(|name| last == name)
        };
        match link.strip_suffix(DELETED) {
            Some(path) if !is_named(&link) => Self::Path { path: path.into(), deleted: true },
            _ => Self::Path { path: link.into(), deleted: false },
        }
    }

    /// Returns the path, or the file's name where that is all.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Path { path, .. } => path,
            Self::FileName(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_deleted_program_is_no_part_of_its_path() {
        let read = |link: &[u8], name: Option<&[u8]>| match Executable::of_link(link.into(), name) {
            Executable::Path { path, deleted } => (path, deleted),
            Executable::FileName(_) => unreachable!(),
        };
        assert_eq!(read(b"/bin/a (deleted)", Some(b"a")), ((*b"/bin/a").into(), true));
        assert_eq!(read(b"/bin/a (deleted)", None), ((*b"/bin/a").into(), true));
        let name = b"a (deleted)";
        assert_eq!(read(b"/bin/a (deleted)", Some(name)), ((*b"/bin/a (deleted)").into(), false));
        assert_eq!(read(b"/bin/a", Some(b"b")), ((*b"/bin/a").into(), false));
    }
}
