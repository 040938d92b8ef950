//! The kernel half's object, looked at without loading it.

use std::fs;
use std::path::Path;

use ::object::read::elf::ElfFile64;
use ::object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use anyhow::{Context, Result, bail};

/// The sections of the programs: their names tell the loader where each is attached.
const PROGRAMS: [&str; 4] =
    ["cgroup/connect4", "cgroup/connect6", "cgroup_skb/egress", "cgroup_skb/ingress"];
/// The maps and the read-only globals that userspace looks up by name.
const SYMBOLS: [&str; 7] =
    ["RECORDS", "LOSSES", "LOSERS", "SOCKETS", "ENDPOINTS", "READ_KERNEL", "OFFSETS"];
/// The licence under which the kernel lets the programs call its helpers.
const LICENSE: &[u8] = b"Dual MIT/GPL\0";

/// Checks that an object has what the loader and the kernel want, and no way to a panic.
pub fn check(path: &Path) -> Result<()> {
    let data = fs::read(path).with_context(|| path.display().to_string())?;
    let faults = faults(&data).with_context(|| path.display().to_string())?;
    if !faults.is_empty() {
        bail!("{}: {}", path.display(), faults.join("; "));
    }
    Ok(())
}

/// Returns what is wrong with an object.
fn faults(data: &[u8]) -> Result<Vec<String>> {
    let file = ElfFile64::<::object::Endianness>::parse(data)?;
    let mut faults = Vec::new();
    for name in PROGRAMS.into_iter().chain([".BTF", ".BTF.ext"]) {
        if file.section_by_name(name).is_none_or(|section| section.size() == 0) {
            faults.push(format!("no section {name}"));
        }
    }
    for section in file.sections() {
        let name = section.name()?;
        if name.starts_with("cgroup") && !PROGRAMS.contains(&name) {
            faults.push(format!("an unknown program in {name}"));
        }
    }
    let license = file.section_by_name("license").map(|section| section.data()).transpose()?;
    if license != Some(LICENSE) {
        faults.push("the licence is not Dual MIT/GPL".to_owned());
    }
    let mut names = Vec::new();
    for symbol in file.symbols() {
        let name = symbol.name()?;
        if name.contains("panic") || name.contains("unwind") {
            faults.push(format!("a way to a panic: {name}"));
        }
        if symbol.is_undefined() && !name.is_empty() {
            faults.push(format!("an unresolved call: {name}"));
        }
        names.push(name);
    }
    let is_missing = |name: &&str| !names.contains(name);
    faults.extend(SYMBOLS.iter().filter(|name| is_missing(name)).map(|name| format!("no {name}")));
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_host_lacks_everything() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let faults = faults(&own).unwrap();
        for name in ["cgroup/connect4", ".BTF", "licence", "RECORDS"] {
            assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
        }
    }
}
