//! The init of the virtual machines that prove each supported kernel.
//!
//! It mounts what the tests need, runs them, writes what came of each to the console, and switches
//! the machine off. On a host, where it is not the first process, it refuses to do anything.

mod end_to_end;
mod load;
mod modules;
mod report;
mod ring;
mod selection;
mod statistics;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

use crate::report::Line;

/// What is mounted, and where.
const MOUNTS: [(&str, &str); 6] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// A test's name and what it does.
type Test = (&'static str, fn() -> Result<()>);

/// The tests, in the order in which they run.
const TESTS: [Test; 8] = [
    ("mounts", mount_all),
    ("modules", modules::load_all),
    ("every_program_loads_and_attaches", load::load_and_attach),
    ("programs_load_without_kernel_reads", load::load_without_kernel_reads),
    ("a_polled_ring_is_its_owner_s", ring::a_polled_ring_is_its_owner_s),
    ("end_to_end_tests", end_to_end::run),
    ("end_to_end_tests_apart", end_to_end::run_apart),
    ("end_to_end_tests_in_lockdown", end_to_end::run_in_lockdown),
];

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("error: this is the init of a virtual machine; cargo xtask vm starts one");
        return ExitCode::FAILURE;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    report::write(&Line::Kernel { release });
    for (name, test) in TESTS {
        let failure = test().err().map(|error| format!("{error:#}"));
        report::write(&Line::Test { name: name.to_owned(), failure });
    }
    report::write(&Line::End);
    // Only where this fails is anything left to do, and then the host's patience ends.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

/// What lets the tests limit memory.
const CONTROLLERS: (&str, &str) = ("/sys/fs/cgroup/cgroup.subtree_control", "+memory");

/// Mounts the kernel's own file systems.
fn mount_all() -> Result<()> {
    for (kind, place) in MOUNTS {
        // The kernel has made those inside another mount.
        let _ = fs::create_dir_all(place);
        mount(kind, place, kind, MountFlags::empty(), None::<&std::ffi::CStr>)
            .with_context(|| format!("{kind} at {place}"))?;
    }
    fs::write(CONTROLLERS.0, CONTROLLERS.1).context(CONTROLLERS.0)
}
