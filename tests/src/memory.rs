//! Memory of a process, region by region.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A region of a process's memory.
#[derive(Clone)]
pub struct Region {
    /// The line of `/proc/PID/smaps` that names it.
    pub name: String,
    /// Whether the kernel leaves it out of a core dump (`dd` among its `VmFlags`, proc(5)).
    pub is_left_out: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

/// Reads the regions of a process's memory, but for those that hold what is in a file, as a
/// debugger would; what cannot be read is empty.
pub fn regions(pid: u32) -> Vec<Region> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut regions: Vec<Region> = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap().lines() {
        if let Some(range) = range(line) {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            // What the kernel maps for itself, as for the clock, it lets no one read.
            if memory.read_exact_at(&mut bytes, range.start).is_err() {
                bytes.clear();
            }
            regions.push(Region { name: line.to_owned(), is_left_out: false, bytes });
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            let region = regions.last_mut().unwrap();
            region.is_left_out = flags.split(' ').any(|flag| flag == "dd");
        }
    }
    regions.retain(|region| !is_file(&region.name));
    regions
}

/// Says whether a region holds what is in a file: it is private and nobody writes to it.
fn is_file(name: &str) -> bool {
    name.split(' ').nth(1).is_none_or(|rights| !rights.contains('w') && rights.ends_with('p'))
}

/// Reads the addresses that a region's first line begins with.
fn range(line: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let address = |digits| u64::from_str_radix(digits, 16).ok();
    Some(address(start)?..address(end)?)
}
