//! Bounded waits.

use std::fs;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything that is bound to happen may take, on a busy machine. The longest that the
/// program itself waits, for a response, is 30 s.
pub const TIMEOUT: Duration = Duration::from_secs(45);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Looks until there is something to see, or gives up after [`TIMEOUT`].
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(BETWEEN_LOOKS);
    }
}

/// Waits until a process has ended, or gives up after [`TIMEOUT`].
pub fn until_exit(child: &mut Child) -> Option<ExitStatus> {
    until(|| child.try_wait().unwrap())
}

/// Reads a text file that may still be written to. Leaves out an incomplete character at its end;
/// empty if the file does not exist.
pub fn written_so_far(path: &Path) -> String {
    let mut bytes = fs::read(path).unwrap_or_default();
    if let Err(error) = str::from_utf8(&bytes) {
        assert!(error.error_len().is_none(), "{}: {error}", path.display());
        bytes.truncate(error.valid_up_to());
    }
    String::from_utf8(bytes).unwrap()
}

/// Says whether a process waits for something, as the program does when it has no more to do.
pub fn is_asleep(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().any(|line| line.starts_with("State:\tS"))
}
