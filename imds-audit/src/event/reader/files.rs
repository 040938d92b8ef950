//! Files of JSON lines: plain, gzip or zstd; found in folders, each read once.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use thiserror::Error;

/// The longest line that is read, in bytes, its line feed included; a longer one is skipped and
/// counted. A tally of 4 096 callers has up to 8 MiB.
pub const MAX_LINE: usize = 16 << 20;

/// The bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// The deepest folder below one that was named.
const MAX_DEPTH: usize = 16;

/// A function that is given lines until it breaks off; `None` stands for one that is too long.
pub(crate) type Each<'a> = dyn FnMut(Option<&[u8]>) -> ControlFlow<()> + 'a;

/// A file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// A file, or a part of one: the lines that begin in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The first byte of the part.
    pub start: u64,
    /// The byte behind its last one; `None` for the whole of a compressed file.
    pub end: Option<u64>,
}

/// Returns the files below these paths, in order. In folders only files count that are named as
/// this program and its rotation name them: `*.jsonl*`, `*.json`, `*.log`, with `.gz` or `.zst`.
///
/// # Errors
/// Returns an error if a path that was named, or a folder below it, cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| error(path, source))?;
        if metadata.is_dir() { walk(path, 0, &mut found)? } else { found.push(path.clone()) }
    }
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), FileError> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let read = |source| error(folder, source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        entries.push((entry.path(), entry.file_type().map_err(read)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            walk(&path, depth + 1, found)?;
        } else if has_known_name(&path) && fs::metadata(&path).is_ok_and(|target| target.is_file())
        {
            found.push(path);
        }
    }
    Ok(())
}

fn has_known_name(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    name.ends_with(".json") || name.ends_with(".log") || name.contains(".jsonl")
}

/// Returns whether a file is compressed, by its first bytes and not by its name.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn is_compressed(path: &Path) -> Result<bool, FileError> {
    let mut start = [0; 4];
    let mut file = File::open(path).map_err(|source| error(path, source))?;
    let length = read_fully(&mut file, &mut start).map_err(|source| error(path, source))?;
    Ok(Format::of(start.get(..length).unwrap_or_default()) != Format::Plain)
}

/// How a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    /// RFC 1952, section 2.3.1.
    Gzip,
    /// RFC 8878, section 3.1.1.
    Zstd,
}

impl Format {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

impl Source {
    /// Makes the source of a whole file.
    pub fn whole(path: PathBuf) -> Self {
        Self { path, start: 0, end: None }
    }

    /// Calls `each` with every line that begins in this part, without its line feed. `None` stands
    /// for a line longer than [`MAX_LINE`]. A last line without a line feed counts as a line.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or decompressed. What was read before that has
    /// been handed on.
    pub fn lines(&self, each: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), FileError> {
        self.lines_until(&mut |line| {
            each(line);
            ControlFlow::Continue(())
        })
    }

    /// The same, until `each` breaks off: what is behind that line may not be read at all.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or decompressed as far as that.
    pub(crate) fn lines_until(&self, each: &mut Each<'_>) -> Result<(), FileError> {
        self.read(each).map_err(|source| error(&self.path, source))
    }

    fn read(&self, each: &mut Each<'_>) -> io::Result<()> {
        let mut file = File::open(&self.path)?;
        let mut start = [0; 4];
        let length = read_fully(&mut file, &mut start)?;
        match Format::of(start.get(..length).unwrap_or_default()) {
            Format::Gzip => {
                file.rewind()?;
                let decoder = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file));
                read_lines(&mut BufReader::with_capacity(BUFFER, decoder), None, each)
            }
            Format::Zstd => {
                file.rewind()?;
                let mut reader = BufReader::with_capacity(BUFFER, file);
                // A file may be several frames, one behind the other (RFC 8878, section 3.1).
                let mut lines = Lines::new(each);
                while !lines.is_over && !reader.fill_buf()?.is_empty() {
                    let decoder = StreamingDecoder::new(&mut reader).map_err(io::Error::other)?;
                    lines.take(&mut BufReader::with_capacity(BUFFER, decoder), None)?;
                }
                lines.finish();
                Ok(())
            }
            Format::Plain => {
                // The line that `start` is within belongs to the part before.
                file.seek(SeekFrom::Start(self.start.saturating_sub(1)))?;
                let mut reader = BufReader::with_capacity(BUFFER, file);
                let mut place = self.start;
                if self.start > 0 {
                    place = self.start - 1 + skip_line(&mut reader)?;
                }
                read_lines(&mut reader, self.end.map(|end| end.saturating_sub(place)), each)
            }
        }
    }
}

/// Skips to behind the next line feed; returns how many bytes that were.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let (length, found) = match memchr::memchr(b'\n', buffer) {
            Some(place) => (place + 1, true),
            None => (buffer.len(), false),
        };
        reader.consume(length);
        skipped += length as u64;
        if found {
            return Ok(skipped);
        }
    }
}

/// Reads the lines that begin in the next `within` bytes.
fn read_lines(
    reader: &mut impl BufRead,
    within: Option<u64>,
    each: &mut Each<'_>,
) -> io::Result<()> {
    let mut lines = Lines::new(each);
    lines.take(reader, within)?;
    lines.finish();
    Ok(())
}

/// Puts lines together that end in another buffer than they began in.
struct Lines<'a, 'b> {
    each: &'a mut Each<'b>,
    open: Vec<u8>,
    is_too_long: bool,
    is_over: bool,
}

impl<'a, 'b> Lines<'a, 'b> {
    fn new(each: &'a mut Each<'b>) -> Self {
        Self { each, open: Vec::new(), is_too_long: false, is_over: false }
    }

    /// Takes lines until the end of the input, or until one ends at or behind `within` bytes.
    fn take(&mut self, reader: &mut impl BufRead, within: Option<u64>) -> io::Result<()> {
        let mut left = within.unwrap_or(u64::MAX);
        // A line that begins within the part is read to its end.
        while !self.is_over && (left > 0 || !self.open.is_empty() || self.is_too_long) {
            let buffer = match reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(());
            }
            let length = match memchr::memchr(b'\n', buffer) {
                Some(place) => {
                    self.end_line(buffer.get(..place).unwrap_or_default());
                    place + 1
                }
                None => {
                    self.hold(buffer);
                    buffer.len()
                }
            };
            reader.consume(length);
            left = left.saturating_sub(length as u64);
        }
        Ok(())
    }

    fn end_line(&mut self, rest: &[u8]) {
        if self.open.is_empty() && !self.is_too_long {
            self.is_over = (self.each)(Some(rest)).is_break();
            return;
        }
        self.hold(rest);
        self.finish();
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.is_too_long || self.open.len() + bytes.len() > MAX_LINE {
            self.is_too_long = true;
            self.open = Vec::new();
        } else {
            self.open.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) {
        if self.is_over {
            return;
        }
        if self.is_too_long {
            self.is_over = (self.each)(None).is_break();
        } else if !self.open.is_empty() {
            self.is_over = (self.each)(Some(&self.open)).is_break();
        }
        self.open.clear();
        self.is_too_long = false;
    }
}

/// Reads until the buffer is full or the input ends.
fn read_fully(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn error(path: &Path, source: io::Error) -> FileError {
    FileError { path: path.to_owned(), source }
}
