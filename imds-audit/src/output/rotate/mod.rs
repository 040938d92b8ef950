//! A file that is rotated by size and age, within bounds on the space that it takes.

mod folder;
mod housekeeper;

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use folder::{Folder, Order};
use housekeeper::Housekeeper;

use super::{
    destination::{Destination, RemovedFiles},
    log_file::LogFile,
};

/// When a file is rotated, and how much space all of its rotated files may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// The size in bytes beyond which no line is added; a longer line gets a file of its own.
    pub max_size: u64,
    /// The age after which no line is added; `None` for any.
    pub max_age: Option<Duration>,
    /// The bytes that the file and its rotated ones may take: the oldest are removed.
    pub max_total_size: u64,
    /// The bytes that are left free for others on the file system: below it the oldest rotated
    /// files are removed, and if there are none, nothing is written.
    pub min_free_space: u64,
    /// The part of the file system that is left free, in per cent. The smaller of both counts.
    pub min_free_percent: u8,
    /// The age at which a rotated file is compressed with gzip, but never the newest; `None` for
    /// never.
    pub compress_after: Option<Duration>,
}

/// A file that is rotated: it is renamed, and a new one made under its name.
///
/// Rotated files are called `NAME.20261129T160512Z`, in UTC, so that they sort by age and do not
/// match `*.jsonl`; compressed ones end in `.gz` too. Files of any other name are left alone.
/// Another program may rotate the file as well: a file that was moved, removed or truncated is
/// noticed before the next line.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    log: LogFile,
    folder: Folder,
    rotation: Rotation,
    housekeeper: Option<Housekeeper>,
    last: Option<Order>,
    rotations: u64,
    removed: RemovedFiles,
    is_low: bool,
}

impl RotatingFile {
    /// Opens a file; if it cannot be opened now, it is tried again before every chunk. Files that
    /// a killed program left half compressed are put right.
    pub(crate) fn open(path: &Path, rotation: Rotation) -> Self {
        let folder = Folder::of(path);
        folder.recover();
        let housekeeper = rotation.compress_after.and_then(|age| {
            Housekeeper::start(folder.clone(), age, rotation.max_total_size)
                .inspect_err(|error| log::warn!("rotated files stay uncompressed error={error}"))
                .ok()
        });
        let log = LogFile::open_or_retry(path);
        Self {
            log,
            folder,
            rotation,
            housekeeper,
            last: None,
            rotations: 0,
            removed: RemovedFiles::default(),
            is_low: false,
        }
    }

    /// Returns whether the file must be rotated before `incoming` more bytes.
    fn is_due(&self, incoming: u64) -> bool {
        let Some(metadata) = self.log.metadata().filter(|metadata| metadata.is_file()) else {
            return false;
        };
        let size = metadata.len();
        let made = metadata.created().or_else(|_| metadata.modified());
        let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
        let is_old = self.rotation.max_age.zip(age).is_some_and(|(most, age)| age >= most);
        size > 0 && (size.saturating_add(incoming) > self.rotation.max_size || is_old)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.last = Some(self.folder.rename_active(self.last.as_ref())?);
        self.rotations = self.rotations.saturating_add(1);
        self.log.close();
        self.folder.keep_below(self.rotation.max_total_size);
        if let Some(housekeeper) = &self.housekeeper {
            housekeeper.wake();
        }
        Ok(())
    }

    /// Returns whether so many bytes may be taken of the file system, after removing rotated files
    /// where needed.
    fn has_space(&mut self, incoming: u64) -> bool {
        loop {
            let Some(space) = self.folder.space() else { return true };
            let percent = space.total / 100 * u64::from(self.rotation.min_free_percent);
            let floor = self.rotation.min_free_space.min(percent);
            if space.free >= floor.saturating_add(incoming) {
                self.is_low = false;
                return true;
            }
            if !std::mem::replace(&mut self.is_low, true) {
                let (free, path) = (space.free, self.log.path().display());
                log::warn!(
                    "little space is left, rotated files are removed path={path} free={free} floor={floor}"
                );
            }
            if !self.remove_oldest() {
                return false;
            }
        }
    }

    /// Removes the oldest rotated file for want of space, and counts what was in it. Returns whether
    /// there was one.
    fn remove_oldest(&mut self) -> bool {
        let Some(RemovedFiles { files, lines }) = self.folder.remove_oldest() else { return false };
        self.removed.files = self.removed.files.saturating_add(files);
        self.removed.lines = self.removed.lines.saturating_add(lines);
        true
    }
}

impl Destination for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Destination::write(&mut self.log, bytes)
    }

    fn prepare(&mut self, incoming: usize) -> io::Result<()> {
        let bytes = u64::try_from(incoming).unwrap_or(u64::MAX);
        if !self.log.has_moved() && self.is_due(bytes) {
            self.rotate()?;
        }
        self.log.prepare(incoming)?;
        if self.has_space(bytes) {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::StorageFull, "the free space is below its floor"))
        }
    }

    fn has_moved(&self) -> bool {
        self.log.has_moved()
    }

    fn is_deleted(&self) -> bool {
        self.log.is_deleted()
    }

    fn make_room(&mut self) -> bool {
        self.remove_oldest()
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.log.reopen()
    }

    fn rotations(&self) -> u64 {
        self.rotations
    }

    fn take_removed(&mut self) -> RemovedFiles {
        std::mem::take(&mut self.removed)
    }
}

/// Returns the folder of a file, which is the current one for a bare name.
fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests;
