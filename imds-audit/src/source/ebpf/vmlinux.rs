//! The file in which the kernel publishes its BTF.

use std::{
    fs::File,
    io::{self, Read},
    ops::Deref,
    path::Path,
    ptr::{self, NonNull},
    slice,
};

use rustix::{
    fs::fstatfs,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// Where it is.
pub(super) const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The largest BTF that is read. Distribution kernels have five to ten megabytes.
const MAX_LENGTH: u64 = 64 << 20;

/// The bytes of a BTF.
pub(super) struct KernelBtf(Bytes);

enum Bytes {
    /// The kernel's own, mapped.
    Mapped(Mapping),
    /// A copy.
    Read(Vec<u8>),
}

impl KernelBtf {
    /// Opens a kernel's BTF: mapped, so that only the pages that are looked at cost something,
    /// where the kernel lets it be mapped (Linux 6.16 and newer), else as a copy.
    ///
    /// # Errors
    /// Returns an error if the file does not exist (the kernel was built without
    /// CONFIG_DEBUG_INFO_BTF), cannot be read, or is longer than 64 MiB.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if length > MAX_LENGTH {
            return Err(too_long());
        }
        if let Some(mapping) = Mapping::of(&file, length as usize) {
            return Ok(Self(Bytes::Mapped(mapping)));
        }
        let mut data = Vec::with_capacity(length as usize);
        file.take(MAX_LENGTH + 1).read_to_end(&mut data)?;
        if data.len() as u64 > MAX_LENGTH {
            return Err(too_long());
        }
        Ok(Self(Bytes::Read(data)))
    }
}

impl Deref for KernelBtf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: the mapping has this length until it is dropped, and what it shows never
            // changes: the kernel's BTF is a constant of the kernel.
            Bytes::Mapped(mapping) => unsafe {
                slice::from_raw_parts(mapping.start.as_ptr(), mapping.length)
            },
            Bytes::Read(data) => data,
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "longer than 64 MiB")
}

/// A file of sysfs in memory.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps a file of sysfs, whose binary files are memory of the kernel. A file on a disk could
    /// change or shrink under the mapping, and has none.
    fn of(file: &File, length: usize) -> Option<Self> {
        if length == 0 || fstatfs(file).ok()?.f_type != libc::SYSFS_MAGIC {
            return None;
        }
        // SAFETY: the mapping is a new one, at a place of the kernel's choice.
        let start =
            unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0) };
        Some(Self { start: NonNull::new(start.ok()?.cast())?, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the place and the length are those of our own mapping, which nobody borrows any
        // more. It fails for no such mapping.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_shows_what_reading_reads() {
        let Ok(mut file) = File::open(VMLINUX_BTF) else {
            eprintln!("skipped: this kernel has no BTF");
            return;
        };
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert!(*KernelBtf::open(Path::new(VMLINUX_BTF)).unwrap() == *read);
    }

    #[test]
    fn a_file_on_a_disk_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"bytes").unwrap();
        let btf = KernelBtf::open(file.path()).unwrap();
        assert!(matches!(btf.0, Bytes::Read(_)));
        assert_eq!(*btf, *b"bytes");
    }
}
