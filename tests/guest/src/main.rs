//! The init of the virtual machines that prove each supported kernel.
//!
//! It mounts what the tests need, runs them, writes what came of each to the console, and switches
//! the machine off. On a host, where it is not the first process, it refuses to do anything.

mod end_to_end;
mod load;
mod loopback;
mod modules;
mod report;
mod rights;
mod ring;
mod selection;
mod statistics;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

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
const TESTS: [Test; 11] = [
    ("mounts", mount_all),
    ("modules", modules::load_all),
    ("loopback", loopback::set_up),
    ("every_program_loads_and_attaches", load::load_and_attach),
    ("programs_load_without_kernel_reads", load::load_without_kernel_reads),
    ("the_rehearsal_s_programs_load", load::load_rehearsal),
    ("loss_counters_are_readable_by_those_whom_the_kernel_lets", rights::read_counters),
    ("a_polled_ring_is_its_owner_s", ring::a_polled_ring_is_its_owner_s),
    ("end_to_end_tests", end_to_end::run),
    ("end_to_end_tests_apart", end_to_end::run_apart),
    ("end_to_end_tests_in_lockdown", end_to_end::run_in_lockdown),
];

/// The tests where systemd is the first process.
const TESTS_OF_SYSTEM: [Test; 1] =
    [("end_to_end_tests_in_a_booted_system", end_to_end::run_booted)];

/// The argument, and the end of the kernel's command line, that have systemd booted.
const SYSTEMD: &str = "systemd";
/// Its program; the path is the same in all of Debian's releases.
const SYSTEMD_PROGRAM: &str = "/lib/systemd/systemd";

fn main() -> ExitCode {
    let is_for_systemd = std::env::args().nth(1).as_deref() == Some(SYSTEMD);
    match (std::process::id() == 1, is_for_systemd) {
        (true, false) => run(&TESTS),
        (true, true) => boot_systemd(),
        (false, true) if is_in_machine() => run(&TESTS_OF_SYSTEM),
        (false, _) => {
            eprintln!("error: this is the init of a virtual machine; cargo xtask vm starts one");
            ExitCode::FAILURE
        }
    }
}

/// Runs tests, reports what came of each, and switches the machine off.
fn run(tests: &[Test]) -> ExitCode {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    report::write(&Line::Kernel { release });
    for (name, test) in tests {
        let failure = test().err().map(|error| format!("{error:#}"));
        report::write(&Line::Test { name: (*name).to_owned(), failure });
    }
    report::write(&Line::End);
    // Only where this fails is anything left to do, and then the host's patience ends.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

/// Lets systemd take the place of this process, once the modules are loaded.
fn boot_systemd() -> ExitCode {
    let failure = modules::load_all().err().map(|error| format!("{error:#}"));
    report::write(&Line::Test { name: "modules".to_owned(), failure });
    let error = Command::new(SYSTEMD_PROGRAM).exec();
    eprintln!("error: {SYSTEMD_PROGRAM}: {error}");
    ExitCode::FAILURE
}

/// Returns whether this is a machine that was started for the tests.
fn is_in_machine() -> bool {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    line.contains("rdinit=/init") && line.trim_end().ends_with("-- systemd")
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
