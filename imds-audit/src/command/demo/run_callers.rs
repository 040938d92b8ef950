//! One caller after another.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::callers::{Caller, cast};
use super::networks::{DemoNetwork, DemoNetworks, Place};

/// Between callers, so that a person can follow.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a caller may take. A Python on a slow machine takes a second.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a caller is looked after.
const LOOK: Duration = Duration::from_millis(5);
/// What would lead callers elsewhere: a proxy cannot be reached from the private network.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// Lets everybody call, unless cancelled; says on standard error who calls and who cannot.
///
/// # Errors
/// Returns an error if a caller cannot be started.
pub(super) fn all(stage: &DemoNetworks, cancelled: &AtomicBool) -> Result<()> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let netns = stage.site(Place::Instance).map_or(0, |site| site.network.client_inode());
    for caller in cast(stage.scripts(), &own, netns) {
        if cancelled.load(Ordering::Relaxed) {
            return Ok(());
        }
        match ready(stage, &caller) {
            Ok(site) => {
                crate::command::print(format_args!("demo: {}\n", caller.title));
                one(stage, site, &caller, cancelled)?;
                sleep(PAUSE);
            }
            Err(why) => {
                crate::command::print(format_args!("demo: left out: {} ({why})\n", caller.title))
            }
        }
    }
    Ok(())
}

/// Returns the network of a caller, or why it cannot call.
fn ready<'a>(stage: &'a DemoNetworks, caller: &Caller) -> Result<&'a DemoNetwork, String> {
    let site = stage.site(caller.place).ok_or("this kernel has no veth interfaces")?;
    if caller.ipv6 && !site.network.ipv6() {
        return Err("this kernel has no IPv6".to_owned());
    }
    match caller.needs.iter().find(|program| find(program).is_none()) {
        Some(program) => Err(format!("{program} is not installed")),
        None => Ok(site),
    }
}

/// Finds an installed program.
fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
}

/// Lets one caller call, in its private network or not at all.
fn one(
    stage: &DemoNetworks,
    site: &DemoNetwork,
    caller: &Caller,
    cancelled: &AtomicBool,
) -> Result<()> {
    let [program, arguments @ ..] = caller.command.as_slice() else { return Ok(()) };
    site.set_http_tokens(caller.http_tokens);
    let mut command = site.network.command(program)?;
    for proxy in PROXIES {
        command.env_remove(proxy);
    }
    let child = command
        .args(arguments)
        // Away from the user's .curlrc and .wgetrc.
        .env("HOME", stage.scripts())
        .env_remove("TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
    wait(child, cancelled).with_context(|| format!("cannot wait for {}", program.to_string_lossy()))
}

/// Waits for a caller, and ends it with all of its own when its time is over.
fn wait(mut child: Child, cancelled: &AtomicBool) -> std::io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline || cancelled.load(Ordering::Relaxed) {
            // It leads a group of its own, and is not reaped yet: the number is still its own.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(group, Signal::KILL)?;
            }
            child.wait()?;
            return Ok(());
        }
        sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_caller_is_ended() {
        let mut sleeper = std::process::Command::new("sleep");
        let child = sleeper.arg("60").process_group(0).spawn().unwrap();
        let begun = Instant::now();
        wait(child, &AtomicBool::new(true)).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn programs_are_found_where_they_are_installed() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-for-the-demo"), None);
    }
}
