//! Modules of a kernel: what Debian's kernels have apart that the tests need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::object::read::elf::ElfFile64;
use ::object::{Object as _, ObjectSection as _};
use anyhow::{Context, Result};

/// The modules that the tests need: virtual Ethernet pairs, delayed packets, a root folder that never
/// answers, and the owners of TCP sockets, for the packet source.
const WANTED: [&str; 6] = ["veth", "8021q", "sch_netem", "fuse", "overlay", "tcp_diag"];

/// A module, as the kernel loads it.
pub struct Module {
    /// Its name.
    pub name: String,
    /// The object.
    pub data: Vec<u8>,
}

/// Reads the wanted modules of an unpacked kernel and those that they need, in the order in which
/// they are to be loaded. One that is built into the kernel is in no file, and left out.
///
/// # Errors
/// Returns an error if a module cannot be read.
pub fn read(unpacked: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    for folder in ["lib/modules", "usr/lib/modules"] {
        collect(&unpacked.join(folder), &mut files)?;
    }
    let mut modules = Vec::new();
    for name in WANTED {
        add(name, &files, &mut modules)?;
    }
    Ok(modules)
}

/// Finds the files of all modules below a folder, by name: with underscores, as the kernel says it.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some((name, "" | ".xz")) =
            entry.file_name().to_string_lossy().split_once(".ko")
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// Adds a module behind those that it needs.
fn add(name: &str, files: &BTreeMap<String, PathBuf>, modules: &mut Vec<Module>) -> Result<()> {
    let Some(path) = files.get(&name.replace('-', "_")) else { return Ok(()) };
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let data = load(path)?;
    let needs = needs(&data).with_context(|| path.display().to_string())?;
    for needed in needs {
        add(&needed, files, modules)?;
    }
    modules.push(Module { name: name.to_owned(), data });
    Ok(())
}

fn load(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        let unpacked = Command::new("xz").arg("-dc").arg(path).output().context("xz")?;
        anyhow::ensure!(unpacked.status.success(), "xz cannot unpack {}", path.display());
        return Ok(unpacked.stdout);
    }
    fs::read(path).with_context(|| path.display().to_string())
}

/// Reads the names of the modules that a module needs: its section `.modinfo` has strings such as
/// `depends=one,two`, each ended by a NUL.
fn needs(module: &[u8]) -> Result<Vec<String>> {
    let file = ElfFile64::<::object::Endianness>::parse(module)?;
    let information = file.section_by_name(".modinfo").context("no .modinfo")?.data()?;
    let depends =
        information.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(depends.unwrap_or_default()).into_owned();
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
