//! An initramfs: a cpio archive in the format `newc`, as the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst` has it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that are mounted over.
const FOLDERS: [&str; 4] = ["dev", "proc", "sys", "tmp"];
/// The kinds and rights of the entries.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const ANY_MAY_EXECUTE: u32 = 0o111;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// The console's device number, which must be there before `/dev` is mounted.
const CONSOLE: (u32, u32) = (5, 1);

/// An archive that grows.
pub struct Archive {
    bytes: Vec<u8>,
    /// The folders that are in it: the kernel makes none that has no entry.
    folders: BTreeSet<String>,
}

impl Archive {
    /// Begins an archive with the folders that are mounted over, and the console.
    pub fn new() -> Self {
        let mut archive = Self { bytes: Vec::new(), folders: BTreeSet::new() };
        for folder in FOLDERS {
            archive.folder(folder);
        }
        entry(&mut archive.bytes, "dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
        archive
    }

    /// Adds a program of this machine.
    pub fn program(&mut self, name: &str, program: &Path) -> Result<()> {
        let data = fs::read(program).with_context(|| program.display().to_string())?;
        self.add(name, PROGRAM, &data);
        Ok(())
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, data: &[u8]) {
        self.add(name, FILE, data);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.add(name, LINK, target.as_bytes());
    }

    /// Adds everything in a folder of this machine but what `is_left_out` names, links as links.
    pub fn tree(
        &mut self,
        name: &str,
        folder: &Path,
        is_left_out: &impl Fn(&str) -> bool,
    ) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let (path, file) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if is_left_out(&file) {
                continue;
            }
            let name = format!("{name}/{file}");
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                self.link(&name, &fs::read_link(&path)?.to_string_lossy());
            } else if kind.is_dir() {
                self.tree(&name, &path, is_left_out)?;
            } else if entry.metadata()?.permissions().mode() & ANY_MAY_EXECUTE == 0 {
                self.file(&name, &fs::read(&path).with_context(|| path.display().to_string())?);
            } else {
                self.program(&name, &path)?;
            }
        }
        Ok(())
    }

    /// Ends the archive and writes it.
    pub fn write(mut self, path: &Path) -> Result<()> {
        entry(&mut self.bytes, "TRAILER!!!", 0, (0, 0), &[]);
        fs::write(path, self.bytes).with_context(|| path.display().to_string())
    }

    fn add(&mut self, name: &str, mode: u32, data: &[u8]) {
        let name = name.trim_start_matches('/');
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder);
        }
        entry(&mut self.bytes, name, mode, (0, 0), data);
    }

    /// Adds a folder and those above it, where they are not there.
    fn folder(&mut self, name: &str) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.folder(above);
        }
        if self.folders.insert(name.to_owned()) {
            entry(&mut self.bytes, name, FOLDER, (0, 0), &[]);
        }
    }
}

/// Appends an entry.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
    archive.extend_from_slice(b"070701");
    // Inode, mode, owner, group, links, time, size, device (two), device of a node (two), the
    // name's length with its NUL, checksum. Without links the kernel asks for no inode.
    let fields = [
        0,
        mode as usize,
        0,
        0,
        1,
        0,
        data.len(),
        0,
        0,
        device.0 as usize,
        device.1 as usize,
        name.len() + 1,
        0,
    ]
    .map(|field: usize| format!("{field:08x}"));
    archive.extend(fields.concat().into_bytes());
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    align(archive);
    archive.extend_from_slice(data);
    align(archive);
}

/// Fills up to a multiple of four bytes.
fn align(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_data_each_on_a_multiple_of_four() {
        let mut archive = Vec::new();
        entry(&mut archive, "init", PROGRAM, (0, 0), b"abcde");
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&archive[110..115], b"init\0");
        assert_eq!(&archive[116..121], b"abcde");
        assert_eq!(&archive[54..62], b"00000005");
    }

    #[test]
    fn every_folder_stands_once_before_what_is_in_it() {
        let mut archive = Archive::new();
        archive.file("/a/b/one", b"");
        archive.file("a/b/two", b"");
        let text = String::from_utf8_lossy(&archive.bytes);
        let places = ["\0a\0", "\0a/b\0", "\0a/b/one\0", "\0a/b/two\0"]
            .map(|name| text.match_indices(&name[1..]).map(|(place, _)| place).last().unwrap());
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(text.matches("a/b\0").count(), 1);
    }

    #[test]
    fn a_tree_has_what_is_in_a_folder_and_its_links_but_not_what_is_left_out() {
        let folder = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner/__pycache__")).unwrap();
        fs::write(folder.join("inner/one"), b"1").unwrap();
        fs::write(folder.join("inner/__pycache__/two"), b"2").unwrap();
        std::os::unix::fs::symlink("inner/one", folder.join("link")).unwrap();
        let mut archive = Archive::new();
        let added = archive.tree("place", &folder, &|name| name == "__pycache__");
        fs::remove_dir_all(&folder).unwrap();
        added.unwrap();
        let text = String::from_utf8_lossy(&archive.bytes);
        assert!(text.contains("place/inner/one\0"), "{text}");
        assert!(text.contains("place/link\0") && text.contains("inner/one"), "{text}");
        assert!(!text.contains("two\0"), "{text}");
    }
}
