//! Debian's cloud kernels: found, fetched, unpacked and kept, never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::apt::{Private, sources};
use crate::architecture::Architecture;
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
    /// What the name of the package with its modules begins with, where that is another one.
    modules: Option<&'static str>,
    /// Whether the suite has a companion for security updates, where the newest is.
    has_security: bool,
    /// Whether it is proven for arm64 too.
    has_arm64: bool,
    /// Options of the emulator that take the place of the architecture's own.
    pub options: &'static [&'static str],
}

/// Every kernel that is claimed: the oldest, two that are in wide use, and the newest.
static KERNELS: [Kernel; 4] = [
    Kernel { series: "5.10", suite: "bullseye", has_arm64: false, ..WITH_MODULES },
    Kernel { series: "6.1", suite: "bookworm", ..WITH_MODULES },
    Kernel { series: "6.12", suite: "trixie", ..WITH_MODULES },
    Kernel {
        series: "7.2",
        suite: "sid",
        package: "linux-binary-",
        modules: Some("linux-modules-"),
        has_security: false,
        has_arm64: false,
        // Without `cmpxchg16b` it has no memory for what programs store of sockets
        // (`kmalloc_nolock` in `mm/slub.c`), and a rehearsal lets connects pass.
        options: &["-cpu", "max,-la57"],
    },
];

/// What is common before 7.0, from where on the image has a package of its own, without the
/// modules.
const WITH_MODULES: Kernel = Kernel {
    series: "",
    suite: "",
    package: "linux-image-",
    modules: None,
    has_security: true,
    has_arm64: true,
    options: &[],
};

/// Returns the kernels that are claimed for an architecture, the oldest first.
pub fn claimed(architecture: &Architecture) -> impl Iterator<Item = &'static Kernel> {
    let is_arm64 = architecture.debian == "arm64";
    KERNELS.iter().filter(move |kernel| kernel.has_arm64 || !is_arm64)
}

/// Returns where a kernel's packages are unpacked in a folder.
pub fn unpacked(kernel: &Kernel, folder: &Path) -> PathBuf {
    folder.join("kernels").join(kernel.series)
}

/// Returns the path of a kernel's image in a folder, fetching it where it is not there.
pub fn image(kernel: &Kernel, architecture: &Architecture, folder: &Path) -> Result<PathBuf> {
    let unpacked = unpacked(kernel, folder);
    if let Ok(image) = find_image(&unpacked)
        && has_modules(&unpacked)
    {
        return Ok(image);
    }
    let debian = architecture.debian;
    println!("fetching Linux {} for {debian} from Debian {}", kernel.series, kernel.suite);
    let sources = sources::of_suite(kernel.suite, kernel.has_security)?;
    let apt = Private::of_sources(&folder.join("apt").join(kernel.suite), &sources, debian)?;
    let package = newest(kernel, architecture, &apt)?;
    let release = package.strip_prefix(kernel.package).unwrap_or_default();
    let modules = kernel.modules.map(|name| format!("{name}{release}"));
    let packages: Vec<_> = modules.into_iter().chain([package.clone()]).collect();
    apt.unpack(&packages, &unpacked)?;
    find_image(&unpacked)
}

/// Returns the name of the newest package of a kernel.
fn newest(kernel: &Kernel, architecture: &Architecture, apt: &Private) -> Result<String> {
    let end = format!("-cloud-{}", architecture.debian);
    let start = format!("{}{}.", kernel.package, kernel.series);
    let names = command::output(apt.command("apt-cache").arg("pkgnames").arg(&start))?;
    names
        .lines()
        .filter(|name| name.ends_with(&end))
        .max_by_key(|name| numbers(name))
        .map(str::to_owned)
        .with_context(|| format!("Debian {} has no package {start}…{end}", kernel.suite))
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

/// Returns whether an unpacked package has modules.
fn has_modules(unpacked: &Path) -> bool {
    ["lib/modules", "usr/lib/modules"].iter().any(|folder| {
        let releases = fs::read_dir(unpacked.join(folder)).into_iter().flatten().flatten();
        releases.map(|release| release.path().join("kernel")).any(|modules| modules.is_dir())
    })
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

    #[test]
    fn the_newest_package_is_the_one_with_the_highest_numbers() {
        assert!(
            numbers("linux-image-5.10.0-46-cloud-amd64")
                > numbers("linux-image-5.10.0-9-cloud-amd64")
        );
    }
}
