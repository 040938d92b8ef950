//! Report of a guest: see `tests/guest/src/report.rs`.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Begins every line that is meant for the host.
const MARK: &str = "@guest ";

/// A line of the report.
#[derive(Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Line {
    Kernel { release: String },
    Program { name: String, verified: Option<u32>, stack: Option<String> },
    Start { milliseconds: u64, fallbacks: Vec<String> },
    Finding { name: String, value: String },
    Test { name: String, failure: Option<String> },
    Absent { name: String, needs: String, is_of_kernel: bool },
    End,
}

/// A program and the verifier's figures for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The instructions that the verifier looked at; none where it refused the program.
    pub verified: Option<u32>,
    /// The stack of each function in bytes, joined by plus signs.
    pub stack: Option<String>,
}

/// The report of a guest.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The kernel's release.
    pub release: String,
    /// The programs in the order of their loading; one that was tried twice is there twice.
    pub programs: Vec<Program>,
    /// How long loading and attaching took; none where it failed.
    pub start_milliseconds: Option<u64>,
    /// What the audit does without.
    pub fallbacks: Vec<String>,
    /// What was found out about the kernel.
    pub findings: Vec<(String, String)>,
    /// Each test with the reason of its failure, if it failed.
    pub tests: Vec<(String, Option<String>)>,
    /// How many tests are declared to be for a host alone.
    pub for_a_host: usize,
    /// The tests that need of the kernel what it does not have, with what that is.
    pub impossible: Vec<(String, String)>,
}

impl Verdict {
    /// Reads a console.
    ///
    /// # Errors
    /// Returns an error if it has no complete report: the guest panicked or stopped before its end.
    pub fn parse(console: &str) -> Result<Self> {
        let mut verdict = Self::default();
        let mut is_complete = false;
        // The kernel may have written the beginning of the line.
        for text in console.lines().filter_map(|line| Some(line.split_once(MARK)?.1)) {
            let line = serde_json::from_str(text.trim_end())
                .with_context(|| format!("not a line of a report: {text}"))?;
            match line {
                Line::Kernel { release } => verdict.release = release,
                Line::Program { name, verified, stack } => {
                    verdict.programs.push(Program { name, verified, stack });
                }
                Line::Start { milliseconds, fallbacks } => {
                    verdict.start_milliseconds = Some(milliseconds);
                    verdict.fallbacks = fallbacks;
                }
                Line::Finding { name, value } => verdict.findings.push((name, value)),
                Line::Test { name, failure } => verdict.tests.push((name, failure)),
                Line::Absent { is_of_kernel: false, .. } => verdict.for_a_host += 1,
                Line::Absent { name, needs, .. } => verdict.impossible.push((name, needs)),
                Line::End => is_complete = true,
            }
        }
        if !is_complete || verdict.tests.is_empty() {
            bail!("the guest ended without a verdict");
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_between_lines_of_the_kernel_is_read() {
        let console = "[    1.0] hello\r\n\
            @guest {\"is\":\"kernel\",\"release\":\"6.1.0\"}\r\n\
            @guest {\"is\":\"program\",\"name\":\"egress\",\"verified\":7,\"stack\":\"8+16\"}\r\n\
            [    2.0] noise@guest {\"is\":\"test\",\"name\":\"a\",\"failure\":null}\r\n\
            @guest {\"is\":\"end\"}\r\n";
        let verdict = Verdict::parse(console).unwrap();
        assert_eq!(verdict.release, "6.1.0");
        assert_eq!(verdict.programs[0].verified, Some(7));
        assert_eq!(verdict.tests, [("a".to_owned(), None)]);
    }

    #[test]
    fn a_guest_that_stops_before_its_end_has_no_verdict() {
        let console = "@guest {\"is\":\"test\",\"name\":\"a\",\"failure\":null}\nKernel panic\n";
        assert!(Verdict::parse(console).is_err());
    }
}
