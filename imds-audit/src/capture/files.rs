//! The files of a capture: one, or a ring by size and age.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::blocks::{self, WrittenPacket};
use super::pending_losses::PendingLosses;
use super::writer::{FilesProgress, PacketFiles};
use crate::event::Loss;
use crate::source::pcapng::note::LossNote;

/// The interfaces that a file describes; packets of further namespaces share one.
const MAX_INTERFACES: usize = 1_024;
/// The bytes that are written at once; more only if one packet is larger.
const BATCH: usize = 256 << 10;

/// When a new file is begun, and how many are kept. Without any, there is one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileLimits {
    /// The size in bytes beyond which no packet is added.
    pub max_size: Option<u64>,
    /// The age after which no packet is added.
    pub max_age: Option<Duration>,
    /// The files that are kept: the oldest of this run are removed.
    pub files: Option<usize>,
}

impl FileLimits {
    const fn is_ring(self) -> bool {
        self.max_size.is_some() || self.max_age.is_some() || self.files.is_some()
    }
}

/// Texts of a section's header.
#[derive(Clone, Debug)]
pub(crate) struct SectionInfo {
    /// The operating system.
    pub system: String,
    /// The program.
    pub application: String,
    /// How the packets came to be.
    pub comment: String,
}

/// The files of a capture.
///
/// A block is written whole or taken back: a program that is killed leaves files that end behind a
/// block, and at worst within the last one.
#[derive(Debug)]
pub(crate) struct CaptureFiles {
    path: PathBuf,
    limits: FileLimits,
    info: SectionInfo,
    current: Option<Current>,
    number: u64,
    made: VecDeque<PathBuf>,
    batch: Vec<u8>,
    batched: u64,
    lost: u64,
    /// What was lost and no comment tells of.
    losses: PendingLosses,
    /// What the comments of the batch tell of.
    batched_losses: PendingLosses,
    written: u64,
    last_error: Option<String>,
}

#[derive(Debug)]
struct Current {
    file: File,
    size: u64,
    begun: Instant,
    interfaces: BTreeMap<Option<u32>, u32>,
}

impl CaptureFiles {
    /// Checks whether the files have a place.
    ///
    /// # Errors
    /// Returns an error if the one file exists, or the folder does not.
    pub(crate) fn check(path: &Path, limits: FileLimits) -> io::Result<()> {
        if !limits.is_ring() && fs::symlink_metadata(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is there already"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::metadata(folder.unwrap_or(Path::new("."))).map(drop)
    }

    /// Makes the first file, so that what is wrong with its place shows at the start.
    ///
    /// # Errors
    /// Returns an error if the file exists or cannot be made.
    pub(crate) fn create(path: &Path, limits: FileLimits, info: SectionInfo) -> io::Result<Self> {
        let mut files = Self {
            path: path.to_owned(),
            limits,
            info,
            current: None,
            number: 0,
            made: VecDeque::new(),
            batch: Vec::new(),
            batched: 0,
            lost: 0,
            losses: PendingLosses::default(),
            batched_losses: PendingLosses::default(),
            written: 0,
            last_error: None,
        };
        files.open()?;
        files.flush();
        Ok(files)
    }

    /// Returns a network namespace that the current file describes, if it describes any.
    fn last_interface(&self) -> Option<u32> {
        self.current
            .as_ref()
            .and_then(|current| current.interfaces.keys().next().copied())
            .flatten()
    }

    fn is_due(&self, incoming: u64) -> bool {
        let Some(current) = &self.current else { return false };
        let size = current.size + self.batch.len() as u64;
        let is_large = self.limits.max_size.is_some_and(|most| size + incoming > most);
        let is_old = self.limits.max_age.is_some_and(|most| current.begun.elapsed() >= most);
        // A file without a packet is not left for another one.
        let has_packets = !current.interfaces.is_empty();
        has_packets && (is_large || is_old)
    }

    fn open(&mut self) -> io::Result<()> {
        self.number += 1;
        let path = if self.limits.is_ring() { self.numbered() } else { self.path.clone() };
        let is_again = self.made.back() == Some(&path);
        // After a failed write the one file is gone on with, by a new section.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let flags = if is_again { flags } else { flags | OFlags::EXCL };
        let file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
        let size = file.metadata()?.len();
        self.batch.clear();
        let SectionInfo { system, application, comment } = &self.info;
        blocks::section(&mut self.batch, system, application, comment);
        self.current =
            Some(Current { file, size, begun: Instant::now(), interfaces: BTreeMap::new() });
        if !is_again {
            self.made.push_back(path);
        }
        while self.limits.files.is_some_and(|most| self.made.len() > most.max(1)) {
            if let Some(oldest) = self.made.pop_front()
                && let Err(error) = fs::remove_file(&oldest)
            {
                log::warn!(
                    "an old capture cannot be removed path={} error={error}",
                    oldest.display()
                );
            }
        }
        Ok(())
    }

    /// Returns the name of the next file of a ring: `NAME-20261130T061500Z-0001.pcapng`.
    fn numbered(&self) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = self.path.extension().unwrap_or_default().to_string_lossy();
        let extension = if extension.is_empty() { "pcapng".into() } else { extension };
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        self.path.with_file_name(format!("{stem}-{time}-{:04}.{extension}", self.number))
    }

    fn interface(&mut self, netns: Option<u32>) -> u32 {
        let Some(current) = &mut self.current else { return 0 };
        let count = current.interfaces.len();
        let netns = if count >= MAX_INTERFACES { None } else { netns };
        let number = u32::try_from(count).unwrap_or(u32::MAX);
        let batch = &mut self.batch;
        *current.interfaces.entry(netns).or_insert_with(|| {
            let name = netns.map_or_else(|| "unknown".to_owned(), |netns| format!("netns-{netns}"));
            blocks::interface(batch, &name);
            number
        })
    }
}

impl PacketFiles for CaptureFiles {
    fn add(&mut self, netns: Option<u32>, packet: WrittenPacket<'_>, losses: Vec<Loss>) {
        self.losses.add(losses);
        let incoming = (packet.bytes.len() + packet.comment.len() + 64) as u64;
        if self.is_due(incoming) {
            self.flush();
            self.current = None;
        }
        if self.current.is_none()
            && let Err(error) = self.open()
        {
            self.last_error = Some(error.to_string());
            self.lost += 1;
            self.losses.add_unwritten(1);
            return;
        }
        let interface = self.interface(netns);
        let losses = self.losses.take();
        let lost = (!losses.is_empty()).then(|| {
            self.batched_losses.add(losses.iter().cloned());
            LossNote { losses }.comment("lost before this packet")
        });
        let lost = lost.as_deref();
        blocks::packet(&mut self.batch, &WrittenPacket { interface, lost, ..packet });
        self.batched += 1;
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let packets = std::mem::take(&mut self.batched);
        let told = self.batched_losses.take();
        let Some(current) = self.current.as_mut().filter(|_| !self.batch.is_empty()) else {
            return;
        };
        match current.file.write_all(&self.batch) {
            Ok(()) => {
                current.size += self.batch.len() as u64;
                self.written += packets;
            }
            Err(error) => {
                self.last_error = Some(error.to_string());
                self.lost += packets;
                self.losses.add(told);
                self.losses.add_unwritten(packets);
                // Half a block, and descriptions of interfaces that are not there.
                let _ = current.file.set_len(current.size);
                self.current = None;
            }
        }
        self.batch.clear();
    }

    fn close(&mut self, losses: Vec<Loss>, dropped: u64) {
        self.losses.add(losses);
        if self.current.is_none()
            && let Err(error) = self.open()
        {
            self.last_error = Some(error.to_string());
        }
        let note = LossNote { losses: self.losses.take() };
        let Some(current) = &self.current else { return };
        if current.interfaces.is_empty() && note.losses.is_empty() {
            return;
        }
        let interface = self.interface(self.last_interface());
        let time = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
        let comment = note.comment("the end of the capture");
        blocks::statistics(&mut self.batch, interface, time, dropped + self.lost, &comment);
        self.flush();
    }

    fn progress(&self) -> FilesProgress {
        FilesProgress {
            packets: self.written,
            lost: self.lost,
            last_error: self.last_error.clone(),
            files: self.made.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::source::pcapng::CaptureReader;

    fn info() -> SectionInfo {
        let text = |text: &str| text.to_owned();
        SectionInfo {
            system: text("Linux"),
            application: text("imds-audit"),
            comment: text("test"),
        }
    }

    fn add(files: &mut CaptureFiles, number: u64) {
        let comment = "x".repeat(100);
        let packet = WrittenPacket {
            interface: 0,
            time: number,
            bytes: &[0x45; 40],
            wire_length: 1_000,
            comment: &comment,
            lost: None,
        };
        files.add(Some(u32::try_from(number % 3).unwrap()), packet, Vec::new());
    }

    fn times(path: &Path) -> Vec<u64> {
        let file = fs::read(path).unwrap();
        let mut reader = CaptureReader::open(file.as_slice()).unwrap();
        let mut times = Vec::new();
        while let Some((packet, _)) = reader.next_packet().unwrap() {
            assert_eq!((packet.link, packet.bytes.len(), packet.wire_length), (101, 40, 1_000));
            assert_eq!(packet.comments().count(), 1);
            times.push(packet.time);
        }
        times
    }

    #[test]
    fn one_file_has_every_packet_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let mut files = CaptureFiles::create(&path, FileLimits::default(), info()).unwrap();
        (0..9).for_each(|number| add(&mut files, number));
        files.flush();
        assert_eq!(times(&path), (0..9).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(CaptureFiles::create(&path, FileLimits::default(), info()).is_err());
    }

    #[test]
    fn a_ring_keeps_the_newest_files_and_loses_nothing_between_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let limits = FileLimits { max_size: Some(2_000), files: Some(3), ..FileLimits::default() };
        let mut files = CaptureFiles::create(&path, limits, info()).unwrap();
        (0..100).for_each(|number| add(&mut files, number));
        files.flush();
        let kept: Vec<_> = files.made.iter().map(|path| times(path)).collect();
        assert_eq!((kept.len(), fs::read_dir(folder.path()).unwrap().count()), (3, 3));
        let all = kept.concat();
        assert_eq!(all, (100 - all.len() as u64..100).collect::<Vec<_>>());
        for path in &files.made {
            assert!(fs::metadata(path).unwrap().len() <= 2_000);
        }
        assert_eq!((files.written, files.lost), (100, 0));
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_read_up_to_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let mut files = CaptureFiles::create(&path, FileLimits::default(), info()).unwrap();
        (0..4).for_each(|number| add(&mut files, number));
        files.flush();
        let whole = fs::read(&path).unwrap();
        let mut before = 0;
        for end in 0..=whole.len() {
            let Ok(mut reader) = CaptureReader::open(&whole[..end]) else {
                assert!(end < 4);
                continue;
            };
            let mut count = 0;
            while let Ok(Some(_)) = reader.next_packet() {
                count += 1;
            }
            assert!(count == before || count == before + 1, "{end}");
            before = count;
        }
        assert_eq!(before, 4);
    }
}
