//! The machine's own package sources, and others made from them by changing the suite.
//!
//! So no host has a name in this project.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The keys of Debian's archive, those of older and newer suites among them.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Returns a sources list for a suite of Debian, with its security updates where it has them.
pub fn of_suite(suite: &str, has_security: bool) -> Result<String> {
    let sources = derive(&own()?, &own_codename()?, suite, has_security);
    if sources.is_empty() {
        bail!("the machine's package sources name no suite of Debian to derive others from");
    }
    Ok(sources)
}

/// Returns the machine's own package sources: a line each of address, suite and component.
fn own() -> Result<String> {
    command::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        "Origin: Debian",
    ]))
}

/// Returns the name of the machine's own release.
pub fn own_codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release tells no VERSION_CODENAME")
}

/// Returns a sources list for a suite, made from the machine's own by changing the suite.
fn derive(own: &str, codename: &str, suite: &str, has_security: bool) -> String {
    let mut lines = Vec::new();
    for source in own.lines() {
        let mut words = source.split(' ');
        let (Some(address), Some(named), Some("main")) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let suite = match named.strip_prefix(codename) {
            Some("") => suite.to_owned(),
            Some("-security") if has_security => format!("{suite}-security"),
            _ => continue,
        };
        lines.push(format!("deb [signed-by={KEYS}] {address} {suite} main\n"));
    }
    lines.sort();
    lines.dedup();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://a.example/debian/ bookworm main\n\
        http://a.example/debian/ bookworm-updates main\n\
        http://a.example/debian-security/ bookworm-security main\n";

    #[test]
    fn another_suite_is_asked_of_the_machines_own_sources() {
        let list = derive(OWN, "bookworm", "bullseye", true);
        assert!(list.contains("a.example/debian/ bullseye main"), "{list}");
        assert!(list.contains("a.example/debian-security/ bullseye-security main"), "{list}");
        assert_eq!(list.lines().count(), 2, "{list}");
    }

    #[test]
    fn a_suite_without_security_updates_is_asked_for_alone() {
        assert_eq!(derive(OWN, "bookworm", "sid", false).lines().count(), 1);
    }
}
