//! The end-to-end tests: the same program of tests as on a host.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::report::{self, Line};
use crate::selection::{Absence, absence, stale};

/// The program of tests, and the program under test.
const TESTS: &str = "/tests";
const PROGRAM: &str = "/imds-audit";
/// The option that chooses the tests which a host ignores.
const IGNORED: [&str; 1] = ["--ignored"];
/// How the names of the tests begin that are of a kernel in lockdown, and where that is said to it.
const LOCKDOWN: &str = "fallbacks::lockdown_";
const KERNEL_LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// How the names of the tests begin that are of a system which systemd has booted.
const BOOTED: &str = "agent::booted::";
/// A file with parts of tests' names, a line each, where only those tests are to run.
const PARTS: &str = "/parts";
/// How many tests run at once: while one waits, another may use the processor.
const AT_ONCE: &str = "3";
/// The most of a failed test's output that is reported.
const MAX_OUTPUT: usize = 6_000;

/// Runs the tests that are for a virtual machine and reports each.
///
/// # Errors
/// Returns an error if the program of tests ends without a verdict on one of them, or a declaration
/// is out of date.
pub fn run() -> Result<()> {
    let tests = list(&[])?;
    let stale: Vec<_> = stale(&tests).collect();
    ensure!(stale.is_empty(), "declared to be for a host, and no test: {}", stale.join(", "));
    let apart = list(&IGNORED)?;
    let mut chosen = Vec::new();
    for name in tests.into_iter().filter(|name| !apart.contains(name)) {
        match absence(&name) {
            None => chosen.push(name),
            Some(Absence::Host(needs)) => {
                report::write(&Line::Absent { name, needs, is_of_kernel: false });
            }
            Some(Absence::Kernel(needs)) => {
                report::write(&Line::Absent { name, needs, is_of_kernel: true });
            }
        }
    }
    run_each(&[], &chosen)
}

/// Runs the tests that change the machine for all others: on a host they are ignored.
///
/// # Errors
/// Returns the errors of [`run`].
pub fn run_apart() -> Result<()> {
    let mut tests = list(&IGNORED)?;
    tests.retain(|name| !name.starts_with(LOCKDOWN) && absence(name).is_none());
    run_each(&IGNORED, &tests)
}

/// Puts the kernel in lockdown for confidentiality, from which nothing leads back, and runs the
/// tests of that.
///
/// # Errors
/// Returns the errors of [`run`]; or the kernel has no lockdown.
pub fn run_in_lockdown() -> Result<()> {
    fs::write(KERNEL_LOCKDOWN, "confidentiality").context(KERNEL_LOCKDOWN)?;
    let mut tests = list(&IGNORED)?;
    tests.retain(|name| name.starts_with(LOCKDOWN));
    run_each(&IGNORED, &tests)
}

/// Runs the tests of a system that systemd has booted.
///
/// # Errors
/// Returns the errors of [`run`].
pub fn run_booted() -> Result<()> {
    let mut tests = list(&IGNORED)?;
    tests.retain(|name| name.starts_with(BOOTED));
    ensure!(!tests.is_empty(), "{TESTS} has no {BOOTED}");
    run_each(&IGNORED, &tests)
}

/// Lists the names of all tests, or of those that the options choose.
fn list(options: &[&str]) -> Result<Vec<String>> {
    let output = command().args(["--list", "--format", "terse"]).args(options).output();
    let output = output.context(TESTS)?;
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let names: Vec<_> = names.map(str::to_owned).collect();
    ensure!(!names.is_empty(), "{TESTS} has no tests: {}", output.status);
    Ok(names)
}

/// Prepares the program of tests: nothing may be skipped, as in CI.
fn command() -> Command {
    let mut command = Command::new(TESTS);
    command.env_clear().env("IMDS_AUDIT", PROGRAM).env("CI", "true").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// Runs tests, and reports each as soon as its verdict is there; a failed one at the end.
fn run_each(options: &[&str], names: &[String]) -> Result<()> {
    let parts = fs::read_to_string(PARTS).ok();
    let is_wanted = |name: &&String| {
        parts.as_ref().is_none_or(|parts| parts.lines().any(|part| name.contains(part)))
    };
    let names: Vec<_> = names.iter().filter(is_wanted).collect();
    if names.is_empty() {
        return Ok(());
    }
    let at_once = if options.is_empty() { AT_ONCE } else { "1" };
    let mut tests = command();
    tests
        .args(options)
        .args(["--exact", "--test-threads", at_once])
        .args(&names)
        .stdout(Stdio::piped());
    let mut child = tests.spawn().context(TESTS)?;
    let output = child.stdout.take().context("no output")?;
    let mut output = BufReader::new(output);
    let mut judged = Vec::new();
    let mut failed = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        match verdict(&line) {
            Some((name, true)) => {
                judged.push(name.to_owned());
                report::write(&Line::Test { name: name.to_owned(), failure: None });
            }
            Some((name, false)) => failed.push(name.to_owned()),
            None if line.starts_with("failures:") => break,
            None => {}
        }
        line.clear();
    }
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    let status = child.wait()?;
    let said = sections(&rest);
    for name in failed {
        let said = said.get(name.as_str()).copied().unwrap_or("nothing was said");
        let failure = Some(shortened(said));
        judged.push(name.clone());
        report::write(&Line::Test { name, failure });
    }
    let missing: Vec<_> = names.iter().filter(|name| !judged.contains(**name)).collect();
    if !missing.is_empty() {
        bail!("{status}: no verdict on {missing:?}");
    }
    Ok(())
}

/// Reads a line such as `test send::write ... ok`.
fn verdict(line: &str) -> Option<(&str, bool)> {
    let (name, verdict) = line.trim_end().strip_prefix("test ")?.split_once(" ... ")?;
    match verdict {
        "ok" => Some((name, true)),
        "FAILED" => Some((name, false)),
        _ => None,
    }
}

/// Takes apart what was said by failed tests: each after a line `---- NAME stdout ----`.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    const END: &str = " stdout ----\n";
    let parts = text.split("---- ").filter_map(|part| part.split_once(END));
    parts.collect()
}

/// Returns a text, but for the middle of one that is longer than [`MAX_OUTPUT`]: what happened stands
/// at its beginning, what the verifier disliked at its end.
fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.len() <= MAX_OUTPUT {
        return text.to_owned();
    }
    let (mut head, mut tail) = (MAX_OUTPUT / 2, text.len() - MAX_OUTPUT / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    let [head, tail] = [text.get(..head), text.get(tail..)].map(Option::unwrap_or_default);
    format!("{head}\n[…]\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_what_failed_tests_said_are_read() {
        assert_eq!(verdict("test send::write ... ok\n"), Some(("send::write", true)));
        assert_eq!(verdict("test send::write ... FAILED\n"), Some(("send::write", false)));
        assert_eq!(verdict("test result: ok. 3 passed\n"), None);
        let said = sections("\n---- a::b stdout ----\nwhy\n\n---- c stdout ----\nhow\n");
        assert_eq!(said.get("a::b").map(|said| said.trim()), Some("why"));
        assert_eq!(said.get("c").map(|said| said.trim()), Some("how"));
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened(" short\n"), "short");
        let long = format!("first {} last", "ü".repeat(MAX_OUTPUT));
        let kept = shortened(&long);
        assert!(kept.starts_with("first ü") && kept.ends_with("ü last"), "{kept}");
        assert!(kept.len() <= MAX_OUTPUT + 8, "{}", kept.len());
    }
}
