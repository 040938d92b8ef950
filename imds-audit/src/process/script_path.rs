//! Absolute paths of scripts that a command line names by a relative one.
//!
//! A relative path counts from the working directory in which the program was started, and that
//! may have changed since. What settles it, in this order: the script itself where the shell has it
//! open, the working directory, and the one of the shell above where only that has such a file.

use super::process_folder::ProcessFolder;

/// The descriptors in which bash (255), and dash, BusyBox' ash and zsh (from 10 on) keep the script
/// that they read.
const SHELL_DESCRIPTORS: [u32; 4] = [255, 10, 11, 12];
/// A longer path is left as it is.
const MAX_PATH: usize = 1024;

/// Finds the absolute path; `None` where it cannot be said.
pub(super) fn absolute(
    relative: &[u8],
    folder: &ProcessFolder,
    current: Option<&[u8]>,
    started_in: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let (_, tail) = ascend(relative);
    let opened = SHELL_DESCRIPTORS.iter().filter_map(|number| folder.descriptor(*number));
    let mut opened = opened.filter(|path| {
        path.strip_suffix(tail)
            .is_some_and(|folder| folder.first() == Some(&b'/') && folder.ends_with(b"/"))
    });
    if let Some(path) = opened.next() {
        return Some(path);
    }
    let current = join(current?, relative)?;
    let started_in = started_in.and_then(|folder| join(folder, relative));
    match started_in.filter(|path| *path != current) {
        Some(other) if folder.has(&other) && !folder.has(&current) => Some(other),
        _ => Some(current),
    }
}

/// Splits a relative path into the number of folders that it goes up at its start, and the rest.
fn ascend(mut path: &[u8]) -> (usize, &[u8]) {
    let mut count = 0;
    loop {
        if let Some(rest) = path.strip_prefix(b"./") {
            path = rest;
        } else if let Some(rest) = path.strip_prefix(b"../") {
            path = rest;
            count += 1;
        } else if path.len() > 1 && path.first() == Some(&b'/') {
            path = path.get(1..).unwrap_or_default();
        } else {
            return (count, path);
        }
    }
}

/// Joins a folder's path, which has no links in it, and a path relative to it.
fn join(folder: &[u8], relative: &[u8]) -> Option<Vec<u8>> {
    let (count, tail) = ascend(relative);
    let mut folder = folder.strip_suffix(b"/").unwrap_or(folder);
    for _ in 0..count {
        let end = folder.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        folder = folder.get(..end).unwrap_or_default();
    }
    let path = [folder, b"/", tail].concat();
    (!tail.is_empty() && path.len() <= MAX_PATH).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::process::Procfs;

    #[test]
    fn dots_at_the_start_of_a_path_are_resolved_and_others_are_left() {
        for (folder, relative, expected) in [
            ("/opt/a", "./run.sh", "/opt/a/run.sh"),
            ("/opt/a", "run.sh", "/opt/a/run.sh"),
            ("/", "run.sh", "/run.sh"),
            ("/opt/a", "../b//run.sh", "/opt/b//run.sh"),
            ("/opt/a", ".././../../x.py", "/x.py"),
            ("/opt/a", "link/../x.py", "/opt/a/link/../x.py"),
        ] {
            let found = join(folder.as_bytes(), relative.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{folder} {relative}");
        }
        assert_eq!(join(b"/opt", b"./"), None);
        assert_eq!(join(&[b'/'; 2000], b"x"), None);
    }

    #[test]
    fn the_open_script_counts_before_the_working_directory_and_that_before_the_shells() {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("7");
        fs::create_dir_all(process.join("fd")).unwrap();
        for folder in ["started", "current"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        symlink("/", process.join("root")).unwrap();
        let path = |name: &str| root.path().join(name).as_os_str().as_bytes().to_vec();
        let (started, current) = (path("started"), path("current"));
        let find = || {
            let folder = Procfs::open(root.path()).unwrap().process(7).unwrap();
            absolute(b"./run.sh", &folder, Some(&current), Some(&started)).unwrap()
        };
        assert_eq!(find(), path("current/run.sh"), "neither has it");
        fs::write(root.path().join("started/run.sh"), "").unwrap();
        let is_cached =
            Procfs::open(root.path()).unwrap().process(7).unwrap().has(&path("started/run.sh"));
        if is_cached {
            assert_eq!(find(), path("started/run.sh"), "the program has moved since");
        }
        fs::write(root.path().join("current/run.sh"), "").unwrap();
        assert_eq!(find(), path("current/run.sh"), "both have it");
        symlink("/opt/c/run.sh", process.join("fd/10")).unwrap();
        assert_eq!(find(), b"/opt/c/run.sh");
        symlink("/opt/c/other-run.sh", process.join("fd/255")).unwrap();
        assert_eq!(find(), b"/opt/c/run.sh");
    }
}
