//! Files of events, read by several threads, each file once.

use std::collections::HashMap;
use std::fs;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest, Sha256};

use crate::aggregate::evidence::{Bounds, Evidence, KnownWindows};
use crate::event::reader::{self, FileError, Line, Source};

/// The size of the parts that a large file is read in, in bytes.
const PART: u64 = 32 << 20;
/// The number of threads that read.
const MAX_THREADS: usize = 8;
/// The number of lines in which the first event of a file is looked for.
const FIRST_LINES: usize = 64;

/// How far reading has come, for a progress bar.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes to be read, as they are stored.
    pub total: AtomicU64,
    /// Bytes that were read.
    pub done: AtomicU64,
}

/// Evidence, with what could not be read of it.
#[derive(Debug)]
pub(crate) struct Read {
    /// The evidence.
    pub evidence: Evidence,
    /// Files that could be read in part only, with the causes.
    pub damaged: Vec<FileError>,
    /// Files that were left out because another one has the same lines.
    pub duplicates: Vec<PathBuf>,
}

/// Reads the files at and below these paths.
///
/// A copy of a file, compressed or not, whole or cut, is left out: no two files of different runs
/// begin with the same event.
///
/// # Errors
/// Returns an error if a path cannot be read at all. A file that is damaged is read as far as it
/// goes, and named.
pub(crate) fn read(
    paths: &[PathBuf],
    bounds: Bounds,
    callers: usize,
    progress: &Progress,
) -> Result<Read, FileError> {
    let (files, duplicates) = without_copies(reader::find(paths)?)?;
    let mut parts = Vec::new();
    let mut bytes = 0;
    for path in &files {
        let size = size(path)?;
        bytes += size;
        if size <= PART || reader::is_compressed(path)? {
            parts.push((Source::whole(path.clone()), size));
            continue;
        }
        for start in (0..size).step_by(usize::try_from(PART).unwrap_or(usize::MAX)) {
            let end = (start + PART).min(size);
            let part = Source { path: path.clone(), start, end: Some(end) };
            parts.push((part, end - start));
        }
    }
    progress.total.store(bytes, Ordering::Relaxed);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let (next, windows) = (AtomicUsize::new(0), KnownWindows::default());
    let work = || {
        let mut evidence = Evidence::new(bounds, callers, windows.clone());
        let mut damaged = Vec::new();
        while let Some((part, size)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = part.lines(&mut |line| evidence.add(line)) {
                damaged.push(error);
            }
            progress.done.fetch_add(*size, Ordering::Relaxed);
        }
        (evidence, damaged)
    };
    let mut read = thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads.min(parts.len().max(1))).map(|_| scope.spawn(work)).collect();
        let (mut evidence, mut damaged) = work();
        for other in others {
            // A panic in a thread goes on in this one, as if there were no threads.
            let (more, errors) =
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            evidence.merge(more);
            damaged.extend(errors);
        }
        Read { evidence, damaged, duplicates }
    });
    let input = &mut read.evidence.input;
    input.files = files.len() as u64;
    input.bytes = bytes;
    input.duplicate_files = read.duplicates.len() as u64;
    input.damaged_files = read.damaged.len() as u64;
    Ok(read)
}

fn size(path: &Path) -> Result<u64, FileError> {
    let metadata = fs::metadata(path);
    metadata
        .map(|metadata| metadata.len())
        .map_err(|source| FileError { path: path.to_owned(), source })
}

/// Leaves out files that begin with the same event as another one. The longest of them stays.
fn without_copies(files: Vec<PathBuf>) -> Result<(Vec<PathBuf>, Vec<PathBuf>), FileError> {
    let mut by_start: HashMap<[u8; 32], PathBuf> = HashMap::new();
    let (mut kept, mut copies) = (Vec::new(), Vec::new());
    for path in files {
        let Some(start) = first_event(&path) else {
            kept.push(path);
            continue;
        };
        match by_start.get_mut(&start) {
            None => {
                by_start.insert(start, path);
            }
            Some(known) => {
                let longer = length(&path) > length(known);
                copies.push(if longer { std::mem::replace(known, path) } else { path });
            }
        }
    }
    kept.extend(by_start.into_values());
    kept.sort();
    Ok((kept, copies))
}

/// Returns the hash of the first event in a file, if one stands near its start. An event without
/// the id of its run may stand in two files and be two.
fn first_event(path: &Path) -> Option<[u8; 32]> {
    let (mut found, mut lines) = (None, 0);
    let _ = Source::whole(path.to_owned()).lines_until(&mut |line| {
        lines += 1;
        let bytes = line.unwrap_or_default();
        if matches!(Line::parse(bytes), Ok(Some(line)) if line.run.is_some()) {
            found = Some(Sha256::digest(bytes).into());
        }
        let is_over = found.is_some() || lines >= FIRST_LINES;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

/// Returns how many bytes the lines of a file have, as far as they can be read.
fn length(path: &Path) -> u64 {
    let mut length = 0;
    let mut count = |line: Option<&[u8]>| length += line.map_or(0, |line| line.len() as u64 + 1);
    // A damaged copy is as long as what can be read of it.
    let _ = Source::whole(path.to_owned()).lines(&mut count);
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::evidence::MAX_CALLERS;
    use crate::event::{Event, Origin, tests::example};

    fn line(run: &str, second: i64) -> String {
        let mut event = example();
        event.time = crate::event::Time(jiff::Timestamp::from_second(second).unwrap());
        let origin = Origin { run: Some(run.to_owned()), ..Origin::default() };
        let event = Event { origin: origin.into(), ..Event::from(event) };
        serde_json::to_string(&event).unwrap() + "\n"
    }

    fn events(folder: &Path) -> u64 {
        let read = read(&[folder.to_owned()], Bounds::default(), MAX_CALLERS, &Progress::default())
            .unwrap();
        read.evidence.input.events
    }

    #[test]
    fn a_copy_counts_once_whether_it_is_whole_or_cut() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..10).map(|second| line("r", second)).collect();
        std::fs::write(folder.path().join("a.jsonl"), &text).unwrap();
        std::fs::write(folder.path().join("b.jsonl"), &text).unwrap();
        std::fs::write(folder.path().join("c.jsonl"), &text[..text.len() / 2]).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
        std::fs::write(folder.path().join("d.jsonl.gz"), gzip.finish().unwrap()).unwrap();
        assert_eq!(events(folder.path()), 10);
        std::fs::write(folder.path().join("e.jsonl"), line("other", 0)).unwrap();
        assert_eq!(events(folder.path()), 11);
    }
}
