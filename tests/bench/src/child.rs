//! Time and memory of a command.

use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What one run took.
pub struct Taken {
    /// How long.
    pub seconds: f64,
    /// The most that was resident, in MiB.
    pub mebibytes: f64,
}

/// Runs a command to its end, which is to be a success, and returns what it took, its children
/// included.
///
/// # Errors
/// Returns an error if it cannot be run or fails.
pub fn taken(command: &mut Command) -> Result<Taken> {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?;
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both places are ours to write to, and the child is waited for nowhere else.
    let waited =
        unsafe { libc::wait4(i32::try_from(child.id())?, &raw mut status, 0, usage.as_mut_ptr()) };
    let seconds = start.elapsed().as_secs_f64();
    if waited < 0 || status != 0 {
        bail!("failed ({status}): {command:?}");
    }
    // SAFETY: zeroes are a value of this structure, and the kernel has filled it in.
    let kibibytes = unsafe { usage.assume_init() }.ru_maxrss;
    Ok(Taken { seconds, mebibytes: kibibytes as f64 / 1024.0 })
}
