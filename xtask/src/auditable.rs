//! The list of crates inside the program, in cargo-auditable's form: compressed JSON in the section
//! `.dep-v0`, where syft, trivy, osv-scanner and cargo-audit look for it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr as _;

use ::object::write::{Object, SectionId, Symbol, SymbolSection};
use ::object::{
    Architecture as Processor, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};
use anyhow::{Context, Result, bail};
use auditable_serde::{DependencyKind, Package, Source, VersionInfo};
use flate2::{Compression, write::ZlibEncoder};

use crate::architecture::Architecture;
use crate::dependencies::{Dependencies, Dependency};
use crate::elf;
use crate::workspace::{self, Workspace};

/// The section's name (`PARSING.md` of cargo-auditable).
pub const SECTION: &str = ".dep-v0";
/// The symbol that keeps the section in the program.
const SYMBOL: &str = "AUDITABLE_VERSION_INFO";

/// Writes an object file with the list, and returns the linker's arguments that take it in.
pub fn link_argument(workspace: &Workspace, target: &str) -> Result<Vec<String>> {
    let Some(architecture) = Architecture::of_target(target) else { return Ok(Vec::new()) };
    let list = compressed(&list(&Dependencies::of_target(workspace, target)?)?)?;
    let path = workspace.target.join("dist").join(format!("crates-{}.o", architecture.name));
    workspace::write(&path, &object_file(architecture, &list)?)?;
    Ok(vec![format!("-Clink-arg={}", path.display()), format!("-Clink-arg=-Wl,-u,{SYMBOL}")])
}

/// Returns the list.
fn list(dependencies: &Dependencies) -> Result<VersionInfo> {
    let package = |(place, one): (usize, &Dependency)| {
        Ok(Package {
            name: one.name.clone(),
            version: semver::Version::from_str(&one.version)
                .with_context(|| format!("{} {}", one.name, one.version))?,
            source: if one.is_public { Source::CratesIo } else { Source::Local },
            kind: if one.is_build_time { DependencyKind::Build } else { DependencyKind::Runtime },
            dependencies: one.needs.clone(),
            root: place == dependencies.root,
        })
    };
    let packages = dependencies.all.iter().enumerate().map(package).collect::<Result<_>>()?;
    // Of `cargo metadata`, with procedural macros as what they are: crates of build time.
    Ok(VersionInfo { packages, format: 1 })
}

fn compressed(list: &VersionInfo) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&serde_json::to_vec(list)?)?;
    Ok(encoder.finish()?)
}

/// Returns an object file whose only content is the list.
fn object_file(architecture: &Architecture, list: &[u8]) -> Result<Vec<u8>> {
    let processor = match architecture.name {
        "x86_64" => Processor::X86_64,
        "aarch64" => Processor::Aarch64,
        name => bail!("no object file for {name}"),
    };
    let mut file = Object::new(BinaryFormat::Elf, processor, Endianness::Little);
    let section = add(&mut file, SECTION, SectionKind::ReadOnlyData);
    file.append_section_data(section, list, 1);
    file.add_symbol(Symbol {
        name: SYMBOL.into(),
        value: 0,
        size: u64::try_from(list.len())?,
        kind: SymbolKind::Data,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    // Without it GNU's linker makes the program's stack executable.
    add(&mut file, ".note.GNU-stack", SectionKind::Other);
    Ok(file.write()?)
}

fn add(file: &mut Object<'_>, name: &str, kind: SectionKind) -> SectionId {
    // Segments have no names in an ELF file.
    file.add_section(Vec::new(), name.into(), kind)
}

/// Reads the list from a program.
pub fn read(program: &PathBuf) -> Result<VersionInfo> {
    let data = fs::read(program).with_context(|| program.display().to_string())?;
    let section = elf::section(&data, SECTION)?;
    let section = section.with_context(|| format!("{} has no {SECTION}", program.display()))?;
    let text = std::io::read_to_string(flate2::read::ZlibDecoder::new(section))?;
    VersionInfo::from_str(&text).context("the list of crates in the program")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::HOST_TARGET;

    #[test]
    fn the_list_in_an_object_file_is_the_list_of_the_program_s_crates() {
        let workspace = Workspace::locate().unwrap();
        let wanted = list(&Dependencies::of_target(&workspace, HOST_TARGET).unwrap()).unwrap();
        let architecture = Architecture::of_target(HOST_TARGET).unwrap();
        let file = object_file(architecture, &compressed(&wanted).unwrap()).unwrap();
        let folder = workspace.target.join("tmp");
        let path = folder.join(format!("crates-{}.o", std::process::id()));
        workspace::write(&path, &file).unwrap();
        let found = read(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(found.unwrap(), wanted);
    }
}
