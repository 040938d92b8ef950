//! A configuration of apt with state of its own: packages are fetched and unpacked, never
//! installed, without root and without a change to the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// What every such configuration says: nobody else uses its folders, so nothing is locked, and an
/// ordinary user may run it.
const COMMON: &str = "Debug::NoLocking \"true\";\nAPT::Sandbox::User \"\";\n\
    Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n";

/// A private configuration of apt.
pub struct Private {
    folder: PathBuf,
}

impl Private {
    /// Prepares one with the machine's own sources, which knows what is installed there.
    pub fn of_this_machine(folder: &Path) -> Result<Self> {
        let lists = folder.join("state/lists");
        let private =
            Self::write(folder, &format!("Dir::State::lists \"{}\";\n", lists.display()))?;
        // One of the sources may be gone and the package be in another.
        if command::quiet(private.command("apt-get").args(["update", "-qq"])).is_err() {
            eprintln!("warning: apt-get update failed; trying with what it got");
        }
        Ok(private)
    }

    /// Prepares one with the given lines of a sources list, for an architecture by Debian's name.
    pub fn of_sources(folder: &Path, sources: &str, architecture: &str) -> Result<Self> {
        let place = folder.display();
        let private = Self::write(
            folder,
            &format!(
                "Dir::State \"{place}/state\";\nDir::State::status \"/dev/null\";\n\
                 Dir::Etc::sourcelist \"{place}/sources.list\";\n\
                 Dir::Etc::sourceparts \"/dev/null\";\n\
                 APT::Architecture \"{architecture}\";\nAPT::Architectures \"{architecture}\";\n"
            ),
        )?;
        fs::write(folder.join("sources.list"), sources)?;
        command::quiet(private.command("apt-get").args(["update", "-qq"]))?;
        Ok(private)
    }

    /// Makes the folders and writes the configuration.
    fn write(folder: &Path, configuration: &str) -> Result<Self> {
        if command::find("apt-get").is_none() {
            bail!("this machine has no apt-get");
        }
        for name in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let cache = format!("Dir::Cache \"{0}/cache\";\n", folder.display());
        let path = folder.join("apt.conf");
        fs::write(&path, [COMMON, &cache, configuration].concat())
            .with_context(|| path.display().to_string())?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// Returns an apt command under this configuration.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).current_dir(&self.folder);
        command
    }

    /// Unpacks packages into a folder, which then has nothing else.
    pub fn unpack(&self, packages: &[String], folder: &Path) -> Result<()> {
        let archives = self.archives();
        self.empty(&archives)?;
        let mut download = self.command("apt-get");
        download.args(["download", "-qq"]).args(packages).current_dir(&archives);
        command::quiet(&mut download)?;
        self.unpack_all(folder)
    }

    /// Unpacks packages into a folder, and of what they depend on what is not installed.
    pub fn unpack_with_dependencies(&self, packages: &[&str], folder: &Path) -> Result<()> {
        self.empty(&self.archives())?;
        // Where it conflicts with what is installed, apt speaks of removing that: it only fetches.
        let mut download = self.command("apt-get");
        download.args(["install", "-qq", "--yes", "--download-only", "--no-install-recommends"]);
        command::quiet(download.args(packages))?;
        self.unpack_all(folder)
    }

    /// Returns the folder of fetched archives.
    fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// Empties the folder of fetched archives: what an interrupted run left would be unpacked too.
    fn empty(&self, archives: &Path) -> Result<()> {
        fs::remove_dir_all(archives)?;
        fs::create_dir_all(archives.join("partial")).map_err(Into::into)
    }

    /// Unpacks whatever was fetched, and removes the archives.
    fn unpack_all(&self, folder: &Path) -> Result<()> {
        // In one step, or an interrupted run would leave half of it.
        // Not an extension: 6.1 and 6.12 would both become 6.new.
        let mut fresh = folder.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        for old in [&fresh, &folder.to_path_buf()] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&fresh)?;
        let archives = self.archives();
        for entry in fs::read_dir(&archives)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                command::quiet(Command::new("dpkg").arg("-x").arg(&path).arg(&fresh))?;
            }
        }
        fs::rename(&fresh, folder)?;
        self.empty(&archives)
    }
}
