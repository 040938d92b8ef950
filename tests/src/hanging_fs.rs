//! A root folder in which nothing is ever found.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// The operations that are answered (fuse(4), include/uapi/linux/fuse.h).
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
/// Those that have no answer: `FORGET`, `INTERRUPT`, and here `LOOKUP`.
const SILENT: [u32; 3] = [2, 36, LOOKUP];
const LOOKUP: u32 = 1;
/// `ENOSYS`: the kernel goes on without.
const NOT_KNOWN: i32 = 38;

/// A root folder of a container whose image is loaded when it is needed: an overlay over a file
/// system in user space (FUSE), which here never answers. Whoever looks for a name in it waits
/// until this is dropped.
#[derive(Debug)]
pub struct HangingFs {
    folder: TempDir,
    asked: Arc<Mutex<BTreeMap<u32, usize>>>,
}

impl HangingFs {
    /// Makes the folder; `None` where the kernel has no FUSE.
    pub fn set() -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let trap = Self { folder: tempfile::tempdir().unwrap(), asked: Arc::default() };
        for name in ["image", "own", "root"] {
            fs::create_dir(trap.path(name)).unwrap();
        }
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        trap.mount("fuse", "image", &options);
        let counts = Arc::clone(&trap.asked);
        thread::spawn(move || serve(&device, &counts));
        trap.mount("tmpfs", "own", "size=64k");
        fs::create_dir(trap.path("own/upper")).unwrap();
        fs::create_dir(trap.path("own/work")).unwrap();
        let path = |name| trap.path(name).into_os_string().into_string().unwrap();
        let (image, upper, work) = (path("image"), path("own/upper"), path("own/work"));
        trap.mount("overlay", "root", &format!("lowerdir={image},upperdir={upper},workdir={work}"));
        Some(trap)
    }

    /// Gives the folder's path.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// Gives how many have begun to look for something in it.
    pub fn victims(&self) -> usize {
        self.asked.lock().unwrap().get(&LOOKUP).copied().unwrap_or(0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mount(&self, kind: &str, place: &str, options: &str) {
        let options = CString::new(options).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("trap", self.path(place), kind, flags, Some(options.as_c_str())).unwrap();
    }
}

impl Drop for HangingFs {
    fn drop(&mut self) {
        for place in ["root", "own", "image"] {
            // By force: whoever waits for an answer gets an error.
            let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
            if let Err(error) = unmount(self.path(place), flags) {
                eprintln!("cannot unmount {place}: {error}");
            }
        }
    }
}

/// Answers until the file system is unmounted.
fn serve(device: &File, asked: &Mutex<BTreeMap<u32, usize>>) {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = match { device }.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => continue,
            // Unmounted.
            Err(_) => return,
        };
        assert!(length >= 40, "a request has a header of 40 bytes");
        let number = |at: usize| u32::from_ne_bytes(buffer[at..at + 4].try_into().unwrap());
        let (operation, unique) = (number(4), &buffer[8..16]);
        *asked.lock().unwrap().entry(operation).or_default() += 1;
        if SILENT.contains(&operation) {
            continue;
        }
        let (error, answer) = match operation {
            INIT => (0, init(number(40), number(44))),
            GETATTR => (0, attributes()),
            STATFS => (0, statistics()),
            _ => (-NOT_KNOWN, Vec::new()),
        };
        let size = u32::try_from(16 + answer.len()).unwrap();
        let answer = [&size.to_ne_bytes()[..], &i32::to_ne_bytes(error), unique, &answer].concat();
        // The one who asked may be gone.
        { device }.write_all(&answer).ok();
    }
}

/// Makes a `struct fuse_init_out`: the kernel's own version, and nothing but defaults.
fn init(major: u32, minor: u32) -> Vec<u8> {
    let mut answer = [major.to_ne_bytes(), minor.to_ne_bytes()].concat();
    answer.resize(64, 0);
    answer
}

/// Makes a `struct fuse_attr_out` of a folder.
fn attributes() -> Vec<u8> {
    let mut answer = vec![0; 104];
    answer[16..24].copy_from_slice(&1u64.to_ne_bytes());
    answer[76..80].copy_from_slice(&0o40_755u32.to_ne_bytes());
    answer[80..84].copy_from_slice(&2u32.to_ne_bytes());
    answer
}

/// Makes a `struct fuse_statfs_out` that allows names of 255 bytes.
fn statistics() -> Vec<u8> {
    let mut answer = vec![0; 80];
    answer[44..48].copy_from_slice(&255u32.to_ne_bytes());
    answer
}
