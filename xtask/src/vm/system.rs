//! A system that systemd boots: Debian's packages of it, unpacked into a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::apt::{Private, sources};
use crate::architecture::Architecture;
use crate::vm::initramfs::Archive;

/// The suite of Debian that has it.
const SUITE: &str = "bookworm";
/// The service manager, what the agent's unit calls, what the commands of docs/agent.md call, and what
/// keeps Perl out of it.
const PACKAGES: [&str; 5] = ["systemd", "procps", "coreutils", "dash", "usr-is-merged"];
/// Folders of the packages, and where Debian has them today.
const FOLDERS: [(&str, &str); 6] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("etc", "etc"),
    ("usr", "usr"),
];
/// What nobody reads in there.
const LEFT_OUT: [&str; 6] = ["doc", "man", "locale", "info", "lintian", "bug"];
/// The unit that runs the tests, once the system is up.
const TESTS: &str = "[Unit]\nDescription=Tests in a booted system\n[Service]\n\
                     ExecStart=/init systemd\nStandardInput=null\nStandardOutput=tty\n\
                     StandardError=tty\nTTYPath=/dev/console\n";
const TESTS_UNIT: &str = "imds-audit-guest.service";
/// What systemd asks of its kernel's command line: nothing of its own on the console, which the
/// tests write to.
pub const COMMAND_LINE: &str = "systemd.unit=multi-user.target systemd.show_status=no \
                                systemd.log_target=null systemd.getty_auto=no -- systemd";

/// Returns the folder of an architecture's packages, fetching them where they are not there.
pub fn unpacked(architecture: &Architecture, folder: &Path) -> Result<PathBuf> {
    let place = folder.join("system");
    if !place.exists() {
        println!("fetching systemd for {} from Debian {SUITE}", architecture.debian);
        let sources = sources::of_suite(SUITE, true)?;
        let apt = folder.join("apt/system");
        let apt = Private::of_sources(&apt, &sources, architecture.debian)?;
        apt.unpack_with_dependencies(&PACKAGES, &place)?;
    }
    Ok(place)
}

/// Adds the system to an archive, and the unit that runs the tests.
pub fn add(archive: &mut Archive, system: &Path) -> Result<()> {
    for (folder, place) in FOLDERS {
        let from = system.join(folder);
        if from.is_dir() {
            archive.tree(place, &from, &|name| LEFT_OUT.contains(&name))?;
        }
        if folder != place {
            archive.link(folder, place);
        }
    }
    archive.file("etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
    archive.file("etc/hostname", b"guest\n");
    archive.file(&format!("etc/systemd/system/{TESTS_UNIT}"), TESTS.as_bytes());
    // No login prompts: their program is not there, and systemd would start it again and again.
    archive.link("etc/systemd/system/getty.target", "/dev/null");
    archive.link(
        &format!("etc/systemd/system/multi-user.target.wants/{TESTS_UNIT}"),
        &format!("../{TESTS_UNIT}"),
    );
    Ok(())
}
