//! Debian's packages.

mod private;
pub mod sources;

use std::process::Command;

use anyhow::{Context, Result, bail};

pub use self::private::Private;
use crate::command;

/// Returns those of the packages that are not installed.
///
/// Where there is no dpkg, that is all of them.
pub fn missing(packages: &[String]) -> Vec<String> {
    // dpkg-query fails when it does not know one of them, and still answers for the others.
    let answer = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output();
    let installed = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned());
    let installed = installed.unwrap_or_default();
    let is_missing = |package: &&String| {
        let line = format!("{package} installed");
        !installed.lines().any(|found| found == line)
    };
    packages.iter().filter(is_missing).cloned().collect()
}

/// Installs packages; never removes one.
pub fn install(packages: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    if command::find("apt-get").is_none() {
        bail!("this machine has no apt-get: install what Debian calls {wanted}");
    }
    println!("installing {wanted}");
    if let Err(error) = command::quiet(&mut apt_get(&["update", "-qq"])?) {
        eprintln!("warning: {error:#}; trying with the package lists as they are");
    }
    let mut arguments = vec!["install", "-qq", "--yes", "--no-remove", "--no-install-recommends"];
    arguments.extend(packages.iter().map(String::as_str));
    command::quiet(&mut apt_get(&arguments)?)
        .with_context(|| format!("cannot install the packages {wanted}"))
}

/// Returns an apt-get command that asks nothing.
fn apt_get(arguments: &[&str]) -> Result<Command> {
    let mut words = vec!["DEBIAN_FRONTEND=noninteractive".to_owned(), "apt-get".to_owned()];
    words.extend(arguments.iter().map(|&argument| argument.to_owned()));
    command::as_root("env", &words)
}
