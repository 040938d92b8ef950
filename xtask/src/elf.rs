//! Requirements of an ELF file: interpreter, libraries, machine.

use std::fs;
use std::path::Path;

use ::object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use ::object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use ::object::{Endianness, StringTable};
use anyhow::{Context, Result};

/// What a program needs at run time.
pub struct Needs {
    /// The architecture's number (`e_machine`).
    pub machine: u16,
    /// It names a dynamic loader.
    pub loader: bool,
    /// The shared libraries that it names.
    pub libraries: Vec<String>,
}

/// Reads what a 64-bit program needs at run time.
pub fn needs(path: &Path) -> Result<Needs> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&data).with_context(|| format!("{} is no 64-bit ELF program", path.display()))
}

/// Reads what a program needs from its program headers.
fn parse(data: &[u8]) -> Result<Needs, ::object::Error> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let machine = header.e_machine(endian);
    let mut needs = Needs { machine, loader: false, libraries: Vec::new() };
    for segment in segments {
        needs.loader |= segment.p_type(endian) == PT_INTERP;
    }
    let sections = header.sections(endian, data)?;
    if let Some((dynamic, link)) = sections.dynamic(endian, data)? {
        let strings: StringTable<'_> = sections.strings(endian, data, link)?;
        for entry in dynamic.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
            let name = entry.string(endian, strings)?;
            needs.libraries.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(needs)
}

/// Returns the bytes of a section of a 64-bit file, `None` if it has no such section.
pub fn section<'data>(data: &'data [u8], name: &str) -> Result<Option<&'data [u8]>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let found = sections.section_by_name(endian, name.as_bytes());
    Ok(found.map(|(_, section)| section.data(endian, data)).transpose()?)
}
