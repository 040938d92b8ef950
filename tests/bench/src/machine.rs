//! The first process of a machine that was booted to measure in.
//!
//! There this program has the machine for itself. What it measures is a number of instructions,
//! whatever else the host does.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

use super::clock;
use super::peers;

/// What the line with the rows begins with on the console.
const ROWS: &str = "ROWS ";
/// Where the program under measurement is.
const PROGRAM: &str = "/imds-audit";
/// Where the host has put the kernel's modules; their names begin with their place in the order.
const MODULES: &str = "/modules";

/// What is mounted, and where.
const MOUNTS: [(&str, &str); 7] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
];

/// Says whether this process is such a machine's first.
pub fn is_first() -> bool {
    std::process::id() == 1 && env::args_os().next().is_some_and(|word| word == "/init")
}

/// Measures what the kernel's command line names behind `--`, writes the rows to the console, and
/// switches the machine off.
pub fn init() -> ! {
    let measured = prepare().and_then(|()| measure());
    match measured {
        Ok(rows) => println!("\n{ROWS}{rows}"),
        Err(error) => println!("\nerror: {error:#}"),
    }
    loop {
        // It returns only where it fails, and then the host's patience ends.
        let _ = reboot(RebootCommand::PowerOff);
        sleep(Duration::from_secs(60));
    }
}

fn measure() -> Result<String> {
    let program = Path::new(PROGRAM);
    let rows = match env::args().nth(1).as_deref() {
        Some("instructions") => clock::measure(program)?,
        Some("rivals") => peers::measure(program, env::args().nth(2).as_deref())?,
        other => bail!("nothing to measure: {other:?}"),
    };
    Ok(serde_json::to_string(&rows)?)
}

fn prepare() -> Result<()> {
    for (kind, place) in MOUNTS {
        // The kernel has made those inside another mount.
        let _ = fs::create_dir_all(place);
        mount(kind, place, kind, MountFlags::empty(), None::<&std::ffi::CStr>)
            .with_context(|| format!("{kind} at {place}"))?;
    }
    let mut modules = Vec::new();
    for entry in fs::read_dir(MODULES).into_iter().flatten() {
        modules.push(entry?.path());
    }
    modules.sort();
    for path in modules {
        let file = File::open(&path)?;
        finit_module(&file, c"", 0).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
