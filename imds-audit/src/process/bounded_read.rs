//! Reads of files up to a bound.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// Reads a file, at most `limit` bytes of it, without ever waiting for a writer.
pub(super) fn read(folder: BorrowedFd<'_>, name: &str, limit: usize) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(folder, name, flags, Mode::empty())?;
    read_to_end(file.as_fd(), limit)
}

/// Reads at most `limit` bytes.
pub(super) fn read_to_end(file: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>, Errno> {
    const STEP: usize = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        let length = bytes.len();
        bytes.resize(limit.min(length + STEP), 0);
        let buffer = bytes.get_mut(length..).unwrap_or_default();
        let count = match rustix::io::read(file, buffer) {
            Ok(count) => count,
            Err(Errno::INTR) => {
                bytes.truncate(length);
                continue;
            }
            Err(error) => return Err(error),
        };
        bytes.truncate(length + count);
        if count == 0 {
            break;
        }
    }
    Ok(bytes)
}
