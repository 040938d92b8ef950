//! Other programs in the kernel, by the system call itself.

use std::collections::BTreeSet;
use std::ffi::c_long;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::wait::until;

/// Commands of `bpf(2)`.
const PROGRAM_LOAD: c_long = 5;
const PROGRAM_ATTACH: c_long = 8;
const PROGRAM_DETACH: c_long = 9;
const MAP_NEXT_KEY: c_long = 4;
const INFO: c_long = 15;
const ENABLE_STATISTICS: c_long = 32;
/// `BPF_PROG_TYPE_CGROUP_SKB`.
const CGROUP_SKB: u32 = 8;
/// `BPF_CGROUP_INET_EGRESS`.
const EGRESS: u32 = 1;
/// `BPF_F_ALLOW_MULTI`.
const ALLOW_MULTI: u32 = 2;

/// Calls the kernel; gives what it answers.
pub fn call(command: c_long, attributes: &[u32]) -> io::Result<c_long> {
    let size = size_of_val(attributes);
    // SAFETY: the attributes are ours and as long as said; the addresses in them are of values
    // that live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes a descriptor that the kernel just gave.
pub fn descriptor(number: c_long) -> OwnedFd {
    // SAFETY: the kernel just gave it to us, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap()) }
}

/// Gives an address as two words of the attributes.
pub fn words(address: usize) -> [u32; 2] {
    let bytes = u64::try_from(address).unwrap().to_ne_bytes();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    [word(0), word(4)]
}

/// Loads a program of a type.
pub fn load(kind: u32, instructions: &[u64]) -> OwnedFd {
    let licence = c"GPL";
    let mut attributes = [0u32; 8];
    attributes[0] = kind;
    attributes[1] = u32::try_from(instructions.len()).unwrap();
    attributes[2..4].copy_from_slice(&words(instructions.as_ptr().addr()));
    attributes[4..6].copy_from_slice(&words(licence.as_ptr().addr()));
    descriptor(call(PROGRAM_LOAD, &attributes).unwrap())
}

/// What the kernel knows by an id, and its command to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `BPF_PROG_GET_FD_BY_ID`.
    Program = 13,
    /// `BPF_MAP_GET_FD_BY_ID`.
    Map = 14,
    /// `BPF_LINK_GET_FD_BY_ID`.
    Link = 30,
}

/// Says whether something is in the kernel; what it opens for that it closes.
///
/// # Errors
/// Returns an error if the kernel says neither that it is there nor that there is no such id.
pub fn is_there(kind: Kind, id: u32) -> io::Result<bool> {
    match call(kind as c_long, &[id, 0, 0]) {
        Ok(number) => Ok(descriptor(number).as_raw_fd() >= 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the ids of what a process holds descriptors of.
pub fn held_by(pid: u32, kind: Kind) -> Vec<u32> {
    let name = match kind {
        Kind::Program => "prog_id:",
        Kind::Map => "map_id:",
        Kind::Link => "link_id:",
    };
    let ids = descriptors(pid).into_iter().filter_map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    });
    // A link names its program too.
    ids.collect::<BTreeSet<u32>>().into_iter().collect()
}

/// Gives how many links to control groups a process holds.
pub(super) fn cgroup_links(pid: u32) -> usize {
    let is_to_cgroup = |text: &&String| {
        let kind = text.lines().find_map(|line| line.strip_prefix("link_type:"));
        kind.is_some_and(|kind| kind.trim() == "cgroup")
    };
    descriptors(pid).iter().filter(is_to_cgroup).count()
}

/// Gives what the kernel says of each open descriptor of a process.
fn descriptors(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
}

/// Waits until nothing with these ids is in the kernel any more.
pub fn wait_until_gone(objects: &[(Kind, Vec<u32>)]) {
    let is_gone =
        || objects.iter().all(|(kind, ids)| ids.iter().all(|&id| !is_there(*kind, id).unwrap()));
    assert!(until(|| is_gone().then_some(())).is_some(), "{objects:?} are still in the kernel");
}

/// Has the kernel count the runs of programs until what is returned is dropped; `None` where it
/// cannot (before Linux 5.8).
pub fn count_runs() -> Option<OwnedFd> {
    // `BPF_STATS_RUN_TIME` is 0.
    call(ENABLE_STATISTICS, &[0]).ok().map(descriptor)
}

/// Gives the name of a program, and how often it ran while runs were counted (`name` and `run_cnt`
/// of `struct bpf_prog_info`).
pub fn runs(program: u32) -> (String, u64) {
    let info = info::<26>(Kind::Program, program);
    (name_at(&info, 8), info[25])
}

/// Gives the number of entries in the map of this name among those with these ids.
pub fn entries(maps: &[u32], name: &str) -> Option<usize> {
    // `name` of `struct bpf_map_info`.
    let map = maps.iter().find(|&&map| name_at(&info::<11>(Kind::Map, map), 3) == name)?;
    let map = descriptor(call(Kind::Map as c_long, &[*map, 0, 0]).ok()?);
    let number = u32::try_from(map.as_raw_fd()).unwrap();
    let (mut key, mut count, mut is_first) = ([0u64; 8], 0, true);
    loop {
        let address = words(key.as_ptr().addr());
        let from = if is_first { [0, 0] } else { address };
        let asked = [number, 0, from[0], from[1], address[0], address[1]];
        if call(MAP_NEXT_KEY, &asked).is_err() {
            return Some(count);
        }
        // The kernel has written it.
        key = std::hint::black_box(key);
        (count, is_first) = (count + 1, false);
    }
}

/// Gives what the kernel knows of an object, as words.
fn info<const WORDS: usize>(kind: Kind, id: u32) -> [u64; WORDS] {
    let object = descriptor(call(kind as c_long, &[id, 0, 0]).unwrap());
    let mut info = [0u64; WORDS];
    let address = words(info.as_mut_ptr().addr());
    let length = u32::try_from(size_of_val(&info)).unwrap();
    let number = u32::try_from(object.as_raw_fd()).unwrap();
    call(INFO, &[number, length, address[0], address[1]]).unwrap();
    // The kernel has written it.
    std::hint::black_box(info)
}

fn name_at(info: &[u64], word: usize) -> String {
    let bytes = [info[word].to_ne_bytes(), info[word + 1].to_ne_bytes()].concat();
    String::from_utf8(bytes.into_iter().take_while(|&byte| byte != 0).collect()).unwrap()
}

/// How another program is attached to a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Others may be attached beside it.
    Multi,
    /// It stands alone, and no other may be attached beside it or below.
    Exclusive,
}

/// A program of somebody else that lets every packet pass, attached to a control group as those
/// before Linux 5.7 are. Detached when dropped.
#[derive(Debug)]
pub struct Neighbour {
    folder: File,
    program: OwnedFd,
}

impl Neighbour {
    /// Attaches it.
    pub fn attach(folder: &Path, sharing: Sharing) -> io::Result<Self> {
        // return 1
        let program = load(CGROUP_SKB, &[1 << 32 | 0xb7, 0x95]);
        let neighbour = Self { folder: File::open(folder)?, program };
        let flags = if sharing == Sharing::Multi { ALLOW_MULTI } else { 0 };
        call(PROGRAM_ATTACH, &neighbour.attributes(flags))?;
        Ok(neighbour)
    }

    fn attributes(&self, flags: u32) -> [u32; 5] {
        let number = |descriptor: i32| u32::try_from(descriptor).unwrap();
        let (folder, program) = (self.folder.as_raw_fd(), self.program.as_raw_fd());
        [number(folder), number(program), EGRESS, flags, 0]
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Err(error) = call(PROGRAM_DETACH, &self.attributes(0)) {
            eprintln!("cannot detach a program: {error}");
        }
    }
}
