//! An initramfs: a cpio archive in the format `newc`, as the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst` has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that are mounted over.
const FOLDERS: [&str; 4] = ["dev", "proc", "sys", "tmp"];
/// The kinds and rights of the entries.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// The console's device number, which must be there before `/dev` is mounted.
const CONSOLE: (u32, u32) = (5, 1);

/// Writes an initramfs with one program, the init.
pub fn write(init: &Path, archive: &Path) -> Result<()> {
    let program = fs::read(init).with_context(|| init.display().to_string())?;
    let mut bytes = Vec::with_capacity(program.len() + 4096);
    for folder in FOLDERS {
        entry(&mut bytes, folder, FOLDER, (0, 0), &[]);
    }
    entry(&mut bytes, "dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
    entry(&mut bytes, "init", PROGRAM, (0, 0), &program);
    entry(&mut bytes, "TRAILER!!!", 0, (0, 0), &[]);
    fs::write(archive, bytes).with_context(|| archive.display().to_string())
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
}
