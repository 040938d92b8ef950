//! The rotated files of one file: their names, sizes and order.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with, statvfs},
    io::Errno,
};

use crate::output::destination::RemovedFiles;

/// Bytes of a file that are read at a time.
const BLOCK: usize = 64 * 1024;
/// Names that are tried for a rotated file.
const ATTEMPTS: u32 = 100;
/// The ending of a compressed file.
pub(super) const COMPRESSED: &str = ".gz";
/// The ending of a file that is being compressed.
const PARTIAL: &str = ".gz.tmp";

/// The folder in which a file is rotated.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    folder: PathBuf,
    name: OsString,
}

/// The time of a rotation as its name has it, and a number within that second.
pub(super) type Order = (Vec<u8>, u32);

/// A rotated file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rotated {
    /// Its place in the order of age.
    pub order: Order,
    /// Its path.
    pub path: PathBuf,
    /// It ends in `.gz`.
    pub is_compressed: bool,
}

impl Rotated {
    /// Counts its lines.
    fn lines(&self) -> io::Result<u64> {
        let file = File::open(&self.path)?;
        if self.is_compressed { count_lines(MultiGzDecoder::new(file)) } else { count_lines(file) }
    }
}

fn count_lines(mut reader: impl Read) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut lines = 0_u64;
    loop {
        let length = reader.read(&mut block)?;
        let Some(bytes) = block.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(lines);
        };
        let found = memchr::memchr_iter(b'\n', bytes).count();
        lines = lines.saturating_add(u64::try_from(found).unwrap_or(0));
    }
}

/// The space of a file system, in bytes.
pub(super) struct Space {
    /// All of it.
    pub total: u64,
    /// The part that is free.
    pub free: u64,
}

impl Folder {
    /// Returns the folder of a file.
    pub(super) fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), folder: super::parent(path), name }
    }

    /// Renames the file itself to the name of a rotated one, which sorts behind all others and
    /// behind `last`, also where the clock was set back. Returns its place in that order. No file
    /// is ever replaced.
    ///
    /// # Errors
    /// Returns what the system says.
    pub(super) fn rename_active(&self, last: Option<&Order>) -> io::Result<Order> {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string().into_bytes();
        let newest = self.rotated().pop().map(|file| file.order);
        let last = newest.as_ref().max(last);
        let mut order = match last {
            Some((time, number)) if *time >= now => (time.clone(), number.saturating_add(1)),
            _ => (now, 1),
        };
        for _ in 0..ATTEMPTS {
            let time = String::from_utf8_lossy(&order.0);
            let number = if order.1 == 1 { String::new() } else { format!("-{:04}", order.1) };
            let target = self.sibling(&format!(".{time}{number}"));
            match renameat_with(CWD, &self.path, CWD, &target, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(order),
                Err(Errno::EXIST) => {}
                // A file system without that flag.
                Err(Errno::INVAL | Errno::NOSYS) if !target.exists() => {
                    return fs::rename(&self.path, target).map(|()| order);
                }
                Err(Errno::INVAL | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
            order.1 = order.1.saturating_add(1);
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Returns the rotated files, the oldest first. What cannot be listed is left out.
    pub(super) fn rotated(&self) -> Vec<Rotated> {
        let mut found: Vec<Rotated> = self.names().filter_map(|name| self.parse(&name)).collect();
        found.sort();
        found
    }

    /// Removes the oldest rotated files until all together are below `most` bytes.
    pub(super) fn keep_below(&self, most: u64) {
        let size = |path: &Path| fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
        let rotated = self.rotated();
        let sizes = rotated.iter().map(|file| size(&file.path));
        let mut total = sizes.fold(size(&self.path), u64::saturating_add);
        for file in rotated {
            if total <= most {
                return;
            }
            let length = size(&file.path);
            if remove(&file.path, "for the bound on the total size") {
                total = total.saturating_sub(length);
            }
        }
    }

    /// Removes the oldest rotated file. Returns what was in it; `None` if there was none or it cannot
    /// be removed.
    pub(super) fn remove_oldest(&self) -> Option<RemovedFiles> {
        let rotated = self.rotated();
        let oldest = rotated.first()?;
        let path = oldest.path.display();
        let lines = match oldest.lines() {
            Ok(lines) => lines,
            // It was compressed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(RemovedFiles::default());
            }
            Err(error) => {
                log::warn!("a file's lines cannot be counted path={path} error={error}");
                0
            }
        };
        let is_gone = remove(&oldest.path, "for want of free space");
        is_gone.then_some(RemovedFiles { files: 1, lines })
    }

    /// Returns the space of the file system; `None` if it is unknown.
    pub(super) fn space(&self) -> Option<Space> {
        let found = statvfs(&self.folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Space { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
    }

    /// Puts right what a program left that was killed while it compressed: a partial file is
    /// removed, and so is an original whose compressed file is complete.
    pub(super) fn recover(&self) {
        for name in self.names() {
            if name.starts_with(b".") && name.ends_with(PARTIAL.as_bytes()) {
                let is_own = name
                    .get(1..name.len() - PARTIAL.len())
                    .is_some_and(|name| self.parse(name).is_some());
                if is_own {
                    remove(&self.folder.join(OsString::from_vec(name)), "because it is partial");
                }
            }
        }
        for file in self.rotated().iter().filter(|file| !file.is_compressed) {
            if file.path.with_added_extension("gz").exists() {
                remove(&file.path, "because it is compressed already");
            }
        }
    }

    /// Returns the path of the file in which a rotated file is compressed.
    pub(super) fn partial(&self, rotated: &Path) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(rotated.file_name().unwrap_or_default());
        name.push(PARTIAL);
        self.folder.join(name)
    }

    fn sibling(&self, suffix: &str) -> PathBuf {
        let mut name = self.name.clone();
        name.push(suffix);
        self.folder.join(name)
    }

    fn names(&self) -> impl Iterator<Item = Vec<u8>> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.file_name().into_vec()))
    }

    /// Parses `NAME.20261129T160512Z`, `NAME.20261129T160512Z-0002` and both with `.gz`.
    fn parse(&self, name: &[u8]) -> Option<Rotated> {
        let suffix = name.strip_prefix(self.name.as_bytes())?.strip_prefix(b".")?;
        let plain = suffix.strip_suffix(COMPRESSED.as_bytes());
        let stamp = plain.unwrap_or(suffix);
        let (time, number) = stamp.split_at_checked("20261129T160512Z".len())?;
        let is_stamp = time.iter().zip(b"00000000T000000Z").all(|(found, pattern)| match pattern {
            b'0' => found.is_ascii_digit(),
            letter => found == letter,
        });
        let number = match number.strip_prefix(b"-") {
            None if number.is_empty() => 1,
            None => return None,
            Some(digits) => std::str::from_utf8(digits).ok()?.parse().ok()?,
        };
        is_stamp.then(|| Rotated {
            order: (time.to_vec(), number),
            path: self.folder.join(OsString::from_vec(name.to_vec())),
            is_compressed: plain.is_some(),
        })
    }
}

/// Removes a file. Returns whether it is gone.
fn remove(path: &Path, why: &str) -> bool {
    match fs::remove_file(path) {
        Ok(()) => {
            log::info!("a rotated file was removed path={} {why}", path.display());
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            log::warn!("a rotated file cannot be removed path={} error={error}", path.display());
            false
        }
    }
}
