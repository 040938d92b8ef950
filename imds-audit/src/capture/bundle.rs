//! A bundle: everything of one capture in a folder, with a manifest of hashes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::{Checkpoint, Time};

/// The manifest's name, and that of the same hashes for `sha256sum --check`.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The hashes as `sha256sum` reads them.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// The version of the manifest's form.
const SCHEMA: u32 = 1;
/// The longest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of this form.
    pub schema: u32,
    /// When it was written.
    pub time: Time,
    /// The program's version.
    pub version: String,
    /// The run that made it.
    pub run: Option<String>,
    /// The last lines of its sealed files.
    #[serde(default)]
    pub checkpoints: Vec<Checkpoint>,
    /// Its files.
    pub files: Vec<BundledFile>,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BundledFile {
    /// Its name in the folder.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Makes the folder of a bundle. One that is there must be empty.
///
/// # Errors
/// Returns an error if it cannot be made or has files.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if fs::read_dir(path)?.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the folder is not empty"));
    }
    Ok(())
}

/// Writes a file of a bundle that is not there yet, for its owner only.
///
/// # Errors
/// Returns what the system says.
pub(crate) fn write_file(folder: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
    file.write_all(contents)
}

/// Writes the manifest of everything in a folder, and the sums.
///
/// # Errors
/// Returns an error if a file cannot be read, or the manifest cannot be written.
pub(crate) fn write_manifest(
    folder: &Path,
    run: Option<String>,
    checkpoints: Vec<Checkpoint>,
) -> io::Result<()> {
    let mut files = Vec::new();
    for name in names(folder)? {
        let (size, sha256) = hash(&folder.join(&name))?;
        files.push(BundledFile { name, size, sha256 });
    }
    let lines = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name));
    write_file(folder, SUMS, lines.collect::<String>().as_bytes())?;
    let manifest = Manifest {
        schema: SCHEMA,
        time: Time(jiff::Timestamp::now()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run,
        checkpoints,
        files,
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    write_file(folder, MANIFEST, &text)
}

/// Compares a bundle with its manifest. Returns the manifest, and each difference in a sentence.
///
/// # Errors
/// Returns an error if the manifest or the folder cannot be read.
pub(crate) fn compare(folder: &Path) -> io::Result<(Manifest, Vec<String>)> {
    let mut text = String::new();
    File::open(folder.join(MANIFEST))?.take(MAX_MANIFEST).read_to_string(&mut text)?;
    let manifest: Manifest = serde_json::from_str(&text)?;
    let mut faults = Vec::new();
    let mut listed = BTreeSet::new();
    for file in &manifest.files {
        let name = &file.name;
        // A manifest names files of its own folder only.
        if name.contains('/') || name == ".." || !listed.insert(name.as_str()) {
            faults.push(format!("{name:?}: the manifest has a name that it cannot have"));
            continue;
        }
        match hash(&folder.join(name)) {
            Ok((_, sha256)) if sha256 == file.sha256 => {}
            Ok((size, _)) => faults.push(format!(
                "{name}: altered: {size} bytes with another hash than the manifest's {} bytes",
                file.size
            )),
            Err(error) => faults.push(format!("{name}: missing: {error}")),
        }
    }
    let known = |name: &String| listed.contains(name.as_str()) || name == SUMS;
    let added = names(folder)?.into_iter().filter(|name| !known(name));
    faults.extend(added.map(|name| format!("{name}: not in the manifest: it was added")));
    Ok((manifest, faults))
}

/// Returns the names of the files in a folder, in order, without the manifest's.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != MANIFEST {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the length and the SHA-256 of a file.
fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => {
                hasher.update(buffer.get(..length).unwrap_or_default());
                size += length as u64;
            }
        }
    }
    let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((size, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_from_the_manifest_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        create_folder(path).unwrap();
        for name in ["a", "b", "c"] {
            write_file(path, name, name.as_bytes()).unwrap();
        }
        assert!(create_folder(path).is_err());
        write_manifest(path, Some("r".to_owned()), Vec::new()).unwrap();
        let (manifest, faults) = compare(path).unwrap();
        assert_eq!(
            (manifest.run.as_deref(), manifest.files.len(), faults.len()),
            (Some("r"), 3, 0)
        );
        fs::write(path.join("a"), "b").unwrap();
        fs::remove_file(path.join("b")).unwrap();
        fs::write(path.join("d"), "").unwrap();
        let (_, faults) = compare(path).unwrap();
        assert!(faults[0].starts_with("a: altered"), "{faults:?}");
        assert!(faults[1].starts_with("b: missing"), "{faults:?}");
        assert!(faults[2].starts_with("d: not in the manifest"), "{faults:?}");
        let text = fs::read_to_string(path.join(MANIFEST)).unwrap();
        fs::write(path.join(MANIFEST), text.replace("\"a\"", "\"../a\"")).unwrap();
        assert!(compare(path).unwrap().1[0].contains("a name that it cannot have"));
    }
}
