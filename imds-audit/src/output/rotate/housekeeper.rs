//! The thread that compresses rotated files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};

use super::folder::{Folder, Rotated};
use crate::output::thread_started;

/// Bytes that are compressed at a time.
const BLOCK: usize = 64 * 1024;
/// Time until a file that could not be compressed is tried again.
const RETRY: Duration = Duration::from_secs(300);

/// The thread that compresses rotated files. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Housekeeper {
    wake: Option<Sender<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Housekeeper {
    /// Starts the thread. A file is compressed `after` this age, unless it is the newest.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub(super) fn start(folder: Folder, after: Duration, max_total: u64) -> io::Result<Self> {
        let (wake, woken) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker { folder, after, max_total, stop: Arc::clone(&stop) };
        let run = move || {
            thread_started();
            worker.run(&woken);
        };
        let thread = thread::Builder::new().name("compress".to_owned()).spawn(run)?;
        Ok(Self { wake: Some(wake), stop, thread: Some(thread) })
    }

    /// Has the thread look for files to compress.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // A thread that ended has said why.
            let _ = wake.send(());
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It looks at `stop` after every block.
            let _ = thread.join();
        }
    }
}

struct Worker {
    folder: Folder,
    after: Duration,
    max_total: u64,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(&self, woken: &Receiver<()>) {
        loop {
            let next = self.compress_due();
            let result = match next {
                Some(next) => woken.recv_timeout(next),
                None => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if matches!(result, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
        }
    }

    /// Compresses every file that is old enough. Returns the time until the next one is.
    fn compress_due(&self) -> Option<Duration> {
        let files = self.folder.rotated();
        let (_newest, older) = files.split_last()?;
        let mut next = None;
        for Rotated { path, .. } in older.iter().filter(|file| !file.is_compressed) {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            // Its last change is older than its rotation, if anything.
            let wait = match age(path) {
                Some(age) if age < self.after => self.after - age,
                Some(_) | None => match self.compress(path) {
                    Ok(()) => continue,
                    Err(error) => {
                        let path = path.display();
                        log::warn!("a rotated file cannot be compressed path={path} error={error}");
                        RETRY
                    }
                },
            };
            next = Some(next.map_or(wait, |next: Duration| next.min(wait)));
        }
        self.folder.keep_below(self.max_total);
        next
    }

    /// Compresses a file by way of a partial one, so that no name ever stands for half a file.
    fn compress(&self, path: &Path) -> io::Result<()> {
        let partial = self.folder.partial(path);
        let result = self.write_compressed(path, &partial).and_then(|is_whole| {
            if is_whole {
                fs::rename(&partial, path.with_added_extension("gz"))?;
                fs::remove_file(path)?;
            }
            Ok(is_whole)
        });
        if !matches!(result, Ok(true)) {
            // Another attempt, or the next start, removes what stays.
            let _ = fs::remove_file(&partial);
        }
        result.map(drop)
    }

    /// Returns whether it came to the end before it was stopped.
    fn write_compressed(&self, path: &Path, partial: &Path) -> io::Result<bool> {
        let mut input = File::open(path)?;
        let options =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial)?;
        let mut encoder = GzEncoder::new(options, Compression::default());
        let mut block = vec![0; BLOCK];
        loop {
            let length = input.read(&mut block)?;
            let Some(bytes) = block.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            encoder.write_all(bytes)?;
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        let output = encoder.finish()?;
        output.sync_all()?;
        Ok(true)
    }
}

/// Returns the time since a file's last change of name or content (`ctime`, inode(7)).
fn age(path: &Path) -> Option<Duration> {
    use std::os::unix::fs::MetadataExt;
    let changed = u64::try_from(fs::symlink_metadata(path).ok()?.ctime()).ok()?;
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
    SystemTime::now().duration_since(changed).ok()
}
