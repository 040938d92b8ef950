//! The eBPF programs' object, looked at without loading it.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use ::object::build::elf::{Builder, SectionData};
use ::object::elf::{EM_BPF, SHT_STRTAB};
use ::object::read::elf::{ElfFile64, FileHeader as _};
use ::object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
use anyhow::{Context, Result, bail};

/// Each program: its section, whose name tells the loader where it is attached, and its function.
const PROGRAMS: [(&str, &str); 5] = [
    ("cgroup/connect4", "connect4"),
    ("cgroup/connect6", "connect6"),
    ("cgroup_skb/egress", "egress"),
    ("cgroup_skb/ingress", "ingress"),
    ("raw_tp/sched_process_exec", "exec"),
];
/// The section of the functions that the programs call.
const FUNCTIONS: &str = ".text";
/// The section of the maps' definitions.
const MAP_SECTION: &str = "maps";
/// Each map with its type, `enum bpf_map_type` of `include/uapi/linux/bpf.h`.
const MAPS: [(&str, u32); 9] = [
    ("AYA_LOGS", RING_BUFFER),
    ("BEGUN", LRU_HASH),
    ("BEGUN_DRAFT", PER_CPU_ARRAY),
    ("LOSSES", PER_CPU_ARRAY),
    ("LOSSES_BY_PROCESS", LRU_HASH),
    ("RECORDS", RING_BUFFER),
    ("SHARES", LRU_HASH),
    ("SNAPSHOTS", LRU_HASH),
    ("SOCKETS", LRU_HASH),
];
const PER_CPU_ARRAY: u32 = 6;
const LRU_HASH: u32 = 9;
const RING_BUFFER: u32 = 27;
/// The read-only globals that userspace sets before it loads the programs.
const GLOBALS: [&str; 4] = ["AYA_LOG_LEVEL", "ENDPOINTS", "OFFSETS", "READ_KERNEL"];
/// The licence under which the kernel lets the programs call its helpers.
const LICENSE: &[u8] = b"Dual MIT/GPL\0";
/// What `.BTF` and `.BTF.ext` begin with in little endian, `BTF_MAGIC` of the kernel's `btf.h`,
/// and the version.
const BTF: [u8; 3] = [0x9f, 0xeb, 1];
/// Parts of the names of what a panic calls.
const PANIC: [&str; 3] = ["panic", "unwind", "core3fmt"];
/// The size of an instruction in bytes.
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL`, in the upper half of an instruction's second byte: a function of the object.
const OWN_FUNCTION: u8 = 1;

type File<'a> = ElfFile64<'a, Endianness>;

/// Removes the debug sections of an object in place. BTF stays, which was made from them: the kernel
/// needs it, and the verifier's log takes its source lines from it.
///
/// # Errors
/// Returns an error if the file cannot be read, is no ELF file or cannot be replaced.
pub fn strip(path: &Path) -> Result<()> {
    let named = || path.display().to_string();
    let data = fs::read(path).with_context(named)?;
    let written =
        fs::metadata(path).and_then(|metadata| metadata.modified()).with_context(named)?;
    let stripped = without_debug_sections(&data).with_context(named)?;
    // Cargo keeps a hard link to what the linker wrote, which must stay as it is.
    let new = path.with_extension("stripped");
    fs::write(&new, stripped).with_context(|| new.display().to_string())?;
    // As old as that: else whatever has it inside would be built anew at every turn.
    let file = fs::File::options().write(true).open(&new).with_context(named)?;
    file.set_modified(written).with_context(named)?;
    fs::rename(&new, path).with_context(named)
}

fn without_debug_sections(data: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(data)?;
    for section in &mut builder.sections {
        section.delete = is_superfluous(&section.name);
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one section, the writer in two.
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    builder.set_section_sizes();
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Returns whether no loader reads a section: DWARF, and the relocations of BTF, which only a linker
/// of several objects needs.
fn is_superfluous(name: &[u8]) -> bool {
    [&b".debug_"[..], b".rel.debug_", b".rel.BTF"].iter().any(|start| name.starts_with(start))
}

/// Checks that an object has what the loader and the kernel want, and no way to a panic.
pub fn check(path: &Path) -> Result<()> {
    let data = fs::read(path).with_context(|| path.display().to_string())?;
    let faults = faults(&data).with_context(|| path.display().to_string())?;
    if !faults.is_empty() {
        bail!("{}: {}", path.display(), faults.join("; "));
    }
    Ok(())
}

/// The rehearsal's programs. Two are of one type, and so lie in one section.
const REHEARSAL: [&str; 5] = ["learn_cookie", "peer_name4", "peer_name6", "rehearse4", "rehearse6"];

/// Checks the same of the rehearsal's object, whose maps are defined in BTF.
pub fn check_rehearsal(path: &Path) -> Result<()> {
    let data = fs::read(path).with_context(|| path.display().to_string())?;
    let faults = rehearsal_faults(&data).with_context(|| path.display().to_string())?;
    if !faults.is_empty() {
        bail!("{}: {}", path.display(), faults.join("; "));
    }
    Ok(())
}

/// Returns what is wrong with the rehearsal's object.
fn rehearsal_faults(data: &[u8]) -> Result<Vec<String>> {
    let file = File::parse(data)?;
    let mut faults = in_symbols(&file)?;
    // It has none: its endpoints are in a map.
    faults.retain(|fault| !fault.starts_with("no global"));
    faults.extend(unresolved_calls(&file)?);
    for name in REHEARSAL {
        let is_there =
            file.symbols().any(|symbol| symbol.is_definition() && symbol.name() == Ok(name));
        if !is_there {
            faults.push(format!("no program {name}"));
        }
    }
    if section(&file, "license")? != Some(LICENSE) {
        faults.push("the licence is not Dual MIT/GPL".to_owned());
    }
    Ok(faults)
}

/// Returns what is wrong with an object.
fn faults(data: &[u8]) -> Result<Vec<String>> {
    let file = File::parse(data)?;
    let mut faults = Vec::new();
    if file.elf_header().e_machine(file.endian()) != EM_BPF || !file.is_little_endian() {
        faults.push("it is not for little-endian BPF".to_owned());
    }
    faults.extend(in_programs(&file)?);
    faults.extend(in_maps(&file)?);
    faults.extend(in_symbols(&file)?);
    faults.extend(unresolved_calls(&file)?);
    for name in [".BTF", ".BTF.ext"] {
        if !section(&file, name)?.is_some_and(|data| data.starts_with(&BTF)) {
            faults.push(format!("no type information in {name}"));
        }
    }
    for section in file.sections() {
        if is_superfluous(section.name_bytes()?) {
            faults.push(format!("a section that no loader reads: {}", section.name()?));
        }
    }
    if section(&file, "license")? != Some(LICENSE) {
        faults.push("the licence is not Dual MIT/GPL".to_owned());
    }
    Ok(faults)
}

/// Returns a section's bytes.
fn section<'a>(file: &File<'a>, name: &str) -> Result<Option<&'a [u8]>> {
    Ok(file.section_by_name(name).map(|section| section.data()).transpose()?)
}

/// Finds the programs that are missing, and those that nobody knows.
fn in_programs(file: &File<'_>) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (section, function) in PROGRAMS {
        let index = file.section_by_name(section).map(|section| section.index());
        let begins = file.symbols().any(|symbol| {
            index.is_some()
                && symbol.section_index() == index
                && symbol.address() == 0
                && symbol.name() == Ok(function)
        });
        if !begins {
            faults.push(format!("no program {function} in {section}"));
        }
    }
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let name = section.name()?;
        if name != FUNCTIONS && !PROGRAMS.iter().any(|(known, _)| *known == name) {
            faults.push(format!("an unknown program in {name}"));
        }
    }
    Ok(faults)
}

/// Finds the maps that are missing or of another type, and those that nobody knows.
fn in_maps(file: &File<'_>) -> Result<Vec<String>> {
    let Some(section) = file.section_by_name(MAP_SECTION) else {
        return Ok(vec!["no maps".to_owned()]);
    };
    let data = section.data()?;
    let mut found = Vec::new();
    for symbol in file.symbols() {
        if symbol.section_index() == Some(section.index()) && symbol.is_definition() {
            let start = usize::try_from(symbol.address())?;
            let kind = data.get(start..).and_then(|rest| rest.first_chunk());
            let kind = kind.context("a map's definition ends early")?;
            found.push((symbol.name()?, u32::from_le_bytes(*kind)));
        }
    }
    let missing = MAPS.iter().filter(|map| !found.contains(map));
    let unknown = found.iter().filter(|map| !MAPS.contains(map));
    let mut faults: Vec<_> =
        missing.map(|(name, kind)| format!("no map {name} of type {kind}")).collect();
    faults.extend(unknown.map(|(name, kind)| format!("an unknown map {name} of type {kind}")));
    Ok(faults)
}

/// Finds what calls a panic or what is nowhere, and the globals that are missing.
fn in_symbols(file: &File<'_>) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut names = Vec::new();
    for symbol in file.symbols() {
        let name = symbol.name()?;
        if PANIC.iter().any(|part| name.contains(part)) {
            faults.push(format!("a way to a panic: {name}"));
        }
        if symbol.is_undefined() && !name.is_empty() {
            faults.push(format!("an unresolved call: {name}"));
        }
        let section = symbol.section_index().map(|index| file.section_by_index(index));
        if section.transpose()?.is_some_and(|section| section.name() == Ok(".rodata")) {
            names.push(name);
        }
    }
    let missing = GLOBALS.iter().filter(|name| !names.contains(name));
    faults.extend(missing.map(|name| format!("no global {name}")));
    Ok(faults)
}

/// Finds calls whose target is neither in the instruction nor in a relocation of it.
fn unresolved_calls(file: &File<'_>) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (number, instruction) in section.data()?.chunks_exact(INSTRUCTION).enumerate() {
            let offset = u64::try_from(number * INSTRUCTION)?;
            let is_open = instruction[0] == CALL
                && instruction[1] >> 4 == OWN_FUNCTION
                && instruction[4..] == [0xff; 4];
            if is_open && !section.relocations().any(|(place, _)| place == offset) {
                faults.push(format!("an unresolved call: {} at {offset}", section.name()?));
            }
        }
    }
    Ok(faults)
}
