//! The licences of everything in the program that others wrote.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::dependencies::{Dependencies, Dependency};

/// How the names of files with a licence or a notice begin, in lower case.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// Texts of licences for crates whose archive has none.
const STANDARD: [(&str, &str); 2] =
    [("MIT", "../../../LICENSE-MIT"), ("Apache-2.0", "../../../LICENSE-APACHE")];

/// The C library's part: Debian's own statement of its licences.
const GLIBC: &str = "/usr/share/doc/libc6/copyright";

/// Returns the licences of the crates in the program, each text once.
pub fn write(dependencies: &Dependencies) -> Result<String> {
    let mut page = String::from(
        "imds-audit contains the following parts, under the licences that follow each of them.\n\
         imds-audit itself is under MIT OR Apache-2.0.\n\n",
    );
    let others: Vec<_> = dependencies.at_run_time().filter(|one| one.is_public).collect();
    for one in &others {
        let source = one.repository.as_deref().unwrap_or("crates.io");
        writeln!(page, "{} {}  {}  {source}", one.name, one.version, one.licence)?;
    }
    page.push_str(
        "Rust's standard library  MIT OR Apache-2.0  https://github.com/rust-lang/rust\n\
         GNU C Library  LGPL-2.1-or-later  https://sourceware.org/glibc/\n\
         GCC's runtime library  GPL-3.0-or-later WITH GCC-exception-3.1  https://gcc.gnu.org/\n\n\
         The program is linked with the C library statically. Its licence lets you link the\n\
         program with another version of it: the source of imds-audit is complete, and\n\
         `cargo xtask build` links it anew.\n",
    );
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in others {
        let name = format!("{} {}", one.name, one.version);
        for text in texts_of(one)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let glibc = fs::read_to_string(GLIBC).context(GLIBC)?;
    texts.entry(glibc.trim().to_owned()).or_default().push("GNU C Library".to_owned());
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (text, names) in texts {
        write!(page, "\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join("\n"))?;
    }
    Ok(page)
}

/// Returns the texts of a crate's licences: those in its archive, else the standard ones.
fn texts_of(one: &Dependency) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(&one.folder).with_context(|| one.folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let texts: Vec<_> = paths.iter().map(|path| read(path)).collect::<Result<_>>()?;
    if !texts.is_empty() {
        return Ok(texts);
    }
    let chosen = STANDARD.iter().find(|(name, _)| one.licence.contains(name));
    let Some((_, path)) = chosen else {
        bail!("{} has neither a licence file nor a licence whose text is known", one.name);
    };
    Ok(vec![read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dist").join(path))?])
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn each_crate_in_the_program_has_its_licence_s_text() {
        let dependencies = Dependencies::read(&Workspace::locate().unwrap()).unwrap();
        for one in dependencies.at_run_time() {
            let texts = texts_of(one).unwrap();
            assert!(texts.iter().any(|text| text.len() > 100), "{}", one.name);
        }
    }
}
