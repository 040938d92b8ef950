//! Debian's cloud kernels: found, fetched, unpacked and kept, never installed.
//!
//! Where they come from is what the machine's own package sources say, asked for another suite: a
//! private configuration of apt, with its own state, in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// A kernel that is proven.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// Its series.
    pub series: &'static str,
    /// The suite of Debian that has it.
    suite: &'static str,
    /// What the name of the package with its image begins with.
    package: &'static str,
    /// Whether the suite has a companion for security updates, where the newest is.
    has_security: bool,
}

/// Every kernel that is claimed: the oldest, two that are in wide use, and the newest.
pub const KERNELS: [Kernel; 4] = [
    Kernel { series: "5.10", suite: "bullseye", package: "linux-image-", has_security: true },
    Kernel { series: "6.1", suite: "bookworm", package: "linux-image-", has_security: true },
    Kernel { series: "6.12", suite: "trixie", package: "linux-image-", has_security: true },
    // From 7.0 on the image has a package of its own, without the modules.
    Kernel { series: "7.2", suite: "sid", package: "linux-binary-", has_security: false },
];

/// What the name of a cloud kernel's package ends with.
const FLAVOR: &str = "-cloud-amd64";
/// The keys of Debian's archive, those of older and newer suites among them.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Returns the path of a kernel's image in a folder, fetching it where it is not there.
pub fn image(kernel: &Kernel, folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("kernels").join(kernel.series);
    if let Ok(image) = find_image(&unpacked) {
        return Ok(image);
    }
    println!("fetching Linux {} from Debian {}", kernel.series, kernel.suite);
    let apt = Apt::prepare(kernel, &folder.join("apt").join(kernel.suite))?;
    let package = apt.newest(kernel)?;
    let archive = apt.download(&package)?;
    // In one step, or an interrupted run would leave half a kernel.
    let fresh = unpacked.with_extension("new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    command::run(Command::new("dpkg").arg("-x").arg(&archive).arg(&fresh))?;
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::rename(&fresh, &unpacked)?;
    fs::remove_file(&archive)?;
    find_image(&unpacked)
}

/// Returns the kernel's image in an unpacked package: `boot/vmlinuz-RELEASE`, and from 7.0 on
/// `usr/lib/modules/RELEASE/vmlinuz`.
fn find_image(unpacked: &Path) -> Result<PathBuf> {
    let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let boot = list(unpacked.join("boot")).map(|entry| entry.path());
    let modules = list(unpacked.join("usr/lib/modules")).map(|entry| entry.path().join("vmlinuz"));
    let is_image = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("vmlinuz") && path.is_file()
    };
    boot.chain(modules)
        .find(is_image)
        .with_context(|| format!("no kernel in {}", unpacked.display()))
}

/// A private configuration of apt for one suite.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Writes the configuration and fetches the suite's list of packages.
    fn prepare(kernel: &Kernel, folder: &Path) -> Result<Self> {
        for name in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let sources = sources(&own_sources()?, &own_codename()?, kernel);
        if sources.is_empty() {
            bail!("the machine's package sources name no suite of Debian to derive others from");
        }
        fs::write(folder.join("sources.list"), sources)?;
        let place = folder.display();
        let configuration = format!(
            "Dir::State \"{place}/state\";\nDir::State::status \"/dev/null\";\n\
             Dir::Cache \"{place}/cache\";\nDir::Etc::sourcelist \"{place}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             APT::Architecture \"amd64\";\nAPT::Sandbox::User \"\";\n"
        );
        fs::write(folder.join("apt.conf"), configuration)?;
        let apt = Self { folder: folder.to_path_buf() };
        command::run(apt.command("apt-get").args(["update", "-qq"]))?;
        Ok(apt)
    }

    /// Returns an apt command under the private configuration.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).current_dir(&self.folder);
        command
    }

    /// Returns the name of the newest package of a kernel.
    fn newest(&self, kernel: &Kernel) -> Result<String> {
        let start = format!("{}{}.", kernel.package, kernel.series);
        let names = command::output(self.command("apt-cache").arg("pkgnames").arg(&start))?;
        names
            .lines()
            .filter(|name| name.ends_with(FLAVOR))
            .max_by_key(|name| numbers(name))
            .map(str::to_owned)
            .with_context(|| format!("Debian {} has no package {start}…{FLAVOR}", kernel.suite))
    }

    /// Downloads a package and returns its path.
    fn download(&self, package: &str) -> Result<PathBuf> {
        command::run(self.command("apt-get").args(["download", "-qq", package]))?;
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&format!("{package}_")) {
                return Ok(path);
            }
        }
        bail!("apt-get download left no {package}")
    }
}

/// Returns the machine's own package sources: a line each of address, suite and component.
fn own_sources() -> Result<String> {
    command::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        "Origin: Debian",
    ]))
}

/// Returns the name of the machine's own release.
fn own_codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release tells no VERSION_CODENAME")
}

/// Returns a sources list for a kernel's suite, made from the machine's own by changing the suite.
fn sources(own: &str, codename: &str, kernel: &Kernel) -> String {
    let mut lines = Vec::new();
    for source in own.lines() {
        let mut words = source.split(' ');
        let (Some(address), Some(suite), Some("main")) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let suite = match suite.strip_prefix(codename) {
            Some("") => kernel.suite.to_owned(),
            Some("-security") if kernel.has_security => format!("{}-security", kernel.suite),
            _ => continue,
        };
        lines.push(format!("deb [signed-by={KEYS}] {address} {suite} main\n"));
    }
    lines.sort();
    lines.dedup();
    lines.concat()
}

/// Returns every number in a name, for an order in which 10 comes after 9.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://a.example/debian/ bookworm main\n\
        http://a.example/debian/ bookworm-updates main\n\
        http://a.example/debian-security/ bookworm-security main\n";

    #[test]
    fn another_suite_is_asked_of_the_machines_own_sources() {
        let list = sources(OWN, "bookworm", &KERNELS[0]);
        assert!(list.contains("a.example/debian/ bullseye main"), "{list}");
        assert!(list.contains("a.example/debian-security/ bullseye-security main"), "{list}");
        assert_eq!(list.lines().count(), 2, "{list}");
    }

    #[test]
    fn a_suite_without_security_updates_is_asked_for_alone() {
        assert_eq!(sources(OWN, "bookworm", &KERNELS[3]).lines().count(), 1);
    }

    #[test]
    fn the_newest_package_is_the_one_with_the_highest_numbers() {
        assert!(
            numbers("linux-image-5.10.0-46-cloud-amd64")
                > numbers("linux-image-5.10.0-9-cloud-amd64")
        );
    }
}
