//! Takes the code that only the start needed out of this process's memory.

use std::fs;

use rustix::mm::{Advice, madvise};

/// A mapping of a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    length: usize,
}

/// Has the kernel forget which pages of this program's code are mapped: it maps those that are run
/// from here on again, from its cache of the file.
///
/// Loading eBPF programs runs through far more code than auditing does, and the kernel maps sixteen
/// pages for each that is touched.
pub(super) fn release() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let own = (release as fn()) as usize;
    if let Some(Mapping { start, length }) = code_around(&maps, own) {
        // SAFETY: the mapping is of a file, executable and not writable, so that every page of it is
        // the file's: its next use reads the same bytes. Relocations are in mappings that can be
        // written, or could.
        let result = unsafe { madvise(start as *mut _, length, Advice::LinuxDontNeed) };
        if let Err(error) = result {
            log::debug!("code stays mapped error={error}");
        }
    }
}

/// Finds the mapping of code that has this address, in the form of `/proc/PID/maps` (proc(5)): private,
/// executable, never written to, and of a file.
fn code_around(maps: &str, address: usize) -> Option<Mapping> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16));
        let (start, end) = (start.ok()?, end.ok()?);
        let is_code = fields.next()? == "r-xp";
        let is_of_a_file = fields.nth(2)? != "0";
        let is_it = is_code && is_of_a_file && (start..end).contains(&address);
        is_it.then_some(Mapping { start, length: end - start })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        1000-3000 r--p 00000000 fe:00 77 /usr/bin/imds-audit\n\
        3000-9000 r-xp 00002000 fe:00 77 /usr/bin/imds-audit\n\
        9000-a000 rw-p 00008000 fe:00 77 /usr/bin/imds-audit\n\
        b000-c000 r-xp 00000000 00:00 0 [vdso]\n";

    #[test]
    fn only_read_only_code_of_a_file_is_released() {
        let code = Some(Mapping { start: 0x3000, length: 0x6000 });
        for (address, found) in
            [(0x2fff, None), (0x3000, code), (0x8fff, code), (0x9000, None), (0xb000, None)]
        {
            assert_eq!(code_around(MAPS, address), found, "{address:#x}");
        }
        assert_eq!(code_around("", 1), None);
        assert_eq!(code_around("x-y r-xp 0 0 1\n1", 1), None);
    }

    #[test]
    fn what_is_released_runs_again() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        assert!(code_around(&maps, (release as fn()) as usize).is_some());
        release();
        assert_eq!(code_around(MAPS, 0x3000), Some(Mapping { start: 0x3000, length: 0x6000 }));
    }
}
