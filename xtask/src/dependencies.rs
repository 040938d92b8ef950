//! The crates that are in the program: those that cargo builds into either side, with what each
//! says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::architecture::HOST_TARGET;
use crate::command;
use crate::toolchain::BPF_TARGET;
use crate::workspace::Workspace;

/// A crate in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it comes from crates.io; else it is of this workspace.
    pub is_public: bool,
    /// Whether it runs at build time only.
    pub is_build_time: bool,
    /// The licence as an SPDX expression.
    pub licence: String,
    /// Where its source is kept.
    pub repository: Option<String>,
    /// Where its source is on this machine.
    pub folder: PathBuf,
    /// The SHA-256 of its archive, in hexadecimal.
    pub checksum: Option<String>,
    /// Places in the list of those that it is built on.
    pub needs: Vec<usize>,
}

/// The crates in the program, by name and version; the program itself is one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// All of them.
    pub all: Vec<Dependency>,
    /// The place of the program.
    pub root: usize,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// A crate's name and version.
type Key = (String, String);

impl Dependencies {
    /// Asks cargo what is built into the program for this machine's architecture. The others' list
    /// is the same: the program has no dependency of one architecture alone, and a test says so.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        Self::of_target(workspace, HOST_TARGET)
    }

    /// Asks cargo what is built into the program for a target.
    pub fn of_target(workspace: &Workspace, target: &str) -> Result<Self> {
        let program = ["-p", "imds-audit"];
        // The eBPF programs are a part of the program, built for a target of their own.
        let programs = ["-p", "imds-audit-ebpf", "--features", "programs"];
        let mut at_run_time = tree(workspace, &program, "normal,no-proc-macro", target)?;
        at_run_time.extend(tree(workspace, &programs, "normal,no-proc-macro", BPF_TARGET)?);
        let mut all = tree(workspace, &program, "normal,build", target)?;
        all.extend(tree(workspace, &programs, "normal,build", BPF_TARGET)?);
        let mut metadata = workspace.cargo();
        metadata.args(["metadata", "--format-version", "1", "--locked", "--all-features"]);
        let metadata = serde_json::from_str(&command::output(&mut metadata)?)
            .context("cargo metadata: unknown form")?;
        let lock = workspace.root.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
        let lock: Lock = toml::from_str(&lock).context("Cargo.lock")?;
        Self::of_parts(&all, &at_run_time, metadata, lock)
    }

    fn of_parts(
        all: &BTreeSet<Key>,
        at_run_time: &BTreeSet<Key>,
        metadata: Metadata,
        lock: Lock,
    ) -> Result<Self> {
        let mut packages = metadata.packages;
        packages.retain(|package| all.contains(&(package.name.clone(), package.version.clone())));
        packages
            .sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
        let places: BTreeMap<_, _> = packages
            .iter()
            .enumerate()
            .map(|(place, package)| (package.id.clone(), place))
            .collect();
        let mut needs = vec![Vec::new(); packages.len()];
        for node in metadata.resolve.nodes {
            if let Some(place) = places.get(&node.id) {
                let mut of_it: Vec<_> =
                    node.dependencies.iter().filter_map(|id| places.get(id).copied()).collect();
                of_it.sort_unstable();
                of_it.dedup();
                needs[*place] = of_it;
            }
        }
        let sums: BTreeMap<_, _> = lock
            .package
            .into_iter()
            .map(|locked| ((locked.name, locked.version), locked.checksum))
            .collect();
        let all = packages.into_iter().zip(needs);
        let all: Vec<_> = all
            .map(|(package, needs)| {
                let key = (package.name, package.version);
                let licence =
                    package.license.with_context(|| format!("{} has no licence", key.0))?;
                Ok(Dependency {
                    is_public: package.source.is_some(),
                    is_build_time: !at_run_time.contains(&key),
                    checksum: sums.get(&key).cloned().flatten(),
                    // The slash is how it was written before SPDX.
                    licence: licence.replace('/', " OR "),
                    repository: package.repository,
                    folder: package
                        .manifest_path
                        .parent()
                        .map(Path::to_path_buf)
                        .unwrap_or_default(),
                    name: key.0,
                    version: key.1,
                    needs,
                })
            })
            .collect::<Result<_>>()?;
        let root = all.iter().position(|one| one.name == "imds-audit");
        Ok(Self { root: root.context("cargo tree does not name the program")?, all })
    }

    /// Returns those that are in the program, without those that only build it.
    pub fn at_run_time(&self) -> impl Iterator<Item = &Dependency> {
        self.all.iter().filter(|dependency| !dependency.is_build_time)
    }
}

/// Returns the crates of a tree.
fn tree(workspace: &Workspace, of: &[&str], edges: &str, target: &str) -> Result<BTreeSet<Key>> {
    let mut cargo = workspace.cargo();
    cargo.args(["tree", "--locked", "--prefix", "none", "--format", "{p}", "--edges", edges]);
    cargo.args(["--target", target]).args(of);
    let text = command::output(&mut cargo)?;
    let key = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        let version = rest.split(' ').next()?;
        Some((name.to_owned(), version.to_owned()))
    };
    let keys = text.lines().filter(|line| !line.is_empty());
    keys.map(|line| key(line).with_context(|| format!("cargo tree: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> Dependencies {
        Dependencies::of_target(&Workspace::locate().unwrap(), target).unwrap()
    }

    #[test]
    fn the_program_s_crates_are_found_and_those_of_its_tests_are_not() {
        let found = read(HOST_TARGET);
        let has = |name: &str| found.all.iter().any(|one| one.name == name);
        assert!(has("aya") && has("serde_json") && has("aya-ebpf"));
        assert!(!has("proptest") && !has("divan") && !has("windows-sys"));
        let root = &found.all[found.root];
        assert!(!root.is_public);
        assert!(root.needs.iter().any(|&place| found.all[place].name == "aya"));
        assert!(!found.at_run_time().any(|one| one.name == "syn"));
        let unsummed: Vec<_> =
            found.all.iter().filter(|one| one.is_public && one.checksum.is_none()).collect();
        assert!(unsummed.is_empty(), "{unsummed:?}");
    }

    #[test]
    fn one_list_is_true_for_both_architectures() {
        let names = |target: &str| -> Vec<_> {
            read(target).all.into_iter().map(|one| (one.name, one.version)).collect()
        };
        assert_eq!(names("x86_64-unknown-linux-gnu"), names("aarch64-unknown-linux-gnu"));
    }
}
