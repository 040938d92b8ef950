//! Results of whole runs as they are committed, and the page's table of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::architecture::{ARCHITECTURES, Architecture};
use crate::command;
use crate::vm::guest_report::Verdict;
use crate::vm::kernels::{Kernel, claimed};

/// The results, in the workspace's root.
const FILE: &str = "xtask/baselines/kernel-matrix.json";
/// The file with the table, and the lines before and after it.
const PAGE: &str = "docs/requirements.md";
const BEGIN: &str = "<!-- written by cargo xtask vm --write-table -->\n";
const END: &str = "<!-- end of the table -->\n";
/// The audit's programs in the order of the table.
pub const PROGRAMS: [&str; 5] = ["connect4", "connect6", "egress", "ingress", "exec"];
/// The rehearsal's.
pub const REHEARSAL: [&str; 5] =
    ["rehearse4", "rehearse6", "peer_name4", "peer_name6", "learn_cookie"];
/// A finding: whether the loss counters can be read without CAP_BPF, by the kernel's default.
const COUNTERS: &str = "counters without CAP_BPF, unprivileged_bpf_disabled=2";
/// The folders of what is proven: a commit of anything else leaves it as it was.
const PROGRAM: [&str; 2] = ["imds-audit", "imds-audit-ebpf"];

/// What was booted: the program, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Booted {
    /// The day, in UTC.
    date: String,
    /// The last commit that changed the program or its eBPF programs.
    commit: String,
    /// Whether the program was built without link-time optimisation, unlike the one that is handed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_quick: bool,
}

impl Booted {
    /// Reads the commit and the day.
    ///
    /// # Errors
    /// Fails if the program has uncommitted changes, or outside of a git repository.
    pub fn now(root: &Path, is_quick: bool) -> Result<Self> {
        let git = |arguments: &[&str]| {
            command::output(Command::new("git").current_dir(root).args(arguments).args(PROGRAM))
        };
        let changes = git(&["status", "--porcelain", "--"])?;
        if !changes.is_empty() {
            bail!("a result names a commit, and these changes are in none:\n{changes}");
        }
        let commit = git(&["log", "-1", "--abbrev=9", "--format=%h", "--"])?.trim().to_owned();
        let date = command::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
        Ok(Self { date: date.trim().to_owned(), commit, is_quick })
    }
}

/// What came of a kernel.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The kernel's release.
    release: String,
    /// When which program was booted.
    booted: Booted,
    /// The instructions that the verifier looked at, by program that was loaded.
    verified: BTreeMap<String, u32>,
    /// How long loading and attaching took under emulation, in milliseconds of the guest's clock.
    start_milliseconds: u64,
    /// How many tests passed; none failed.
    passed: usize,
    /// The parts of the names of the tests that ran; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<String>,
    /// The tests that need of the kernel what it does not have, with what that is.
    impossible: BTreeMap<String, String>,
    /// What the audit does without.
    fallbacks: Vec<String>,
    /// What was found out about the kernel.
    findings: BTreeMap<String, String>,
}

impl Proof {
    /// Returns what a verdict proves, of the tests that have one of these parts in their names.
    ///
    /// # Errors
    /// Returns an error if it proves nothing: a program was refused or not attached, or a test
    /// failed.
    pub fn of(verdict: &Verdict, parts: &[String], booted: &Booted) -> Result<Self> {
        if let Some((name, _)) = verdict.tests.iter().find(|(_, failure)| failure.is_some()) {
            bail!("{name} failed");
        }
        let mut verified = BTreeMap::new();
        for program in &verdict.programs {
            let count =
                program.verified.with_context(|| format!("{} was refused", program.name))?;
            verified.insert(program.name.clone(), count);
        }
        Ok(Self {
            release: verdict.release.clone(),
            booted: booted.clone(),
            verified,
            start_milliseconds: verdict.start_milliseconds.context("nothing was attached")?,
            passed: verdict.tests.len(),
            parts: parts.to_vec(),
            impossible: verdict.impossible.iter().cloned().collect(),
            fallbacks: verdict.fallbacks.clone(),
            findings: verdict.findings.iter().cloned().collect(),
        })
    }

    /// Returns the kernel's line of the page's table.
    fn row(&self, kernel: &Kernel, architecture: &Architecture) -> String {
        let count = |name: &&str| match self.verified.get(*name) {
            Some(count) => count.to_string(),
            None => "not loaded".to_owned(),
        };
        let counts = |names: &[&str]| names.iter().map(count).collect::<Vec<_>>().join(" ");
        let keeps_bpf = match self.findings.get(COUNTERS).map(String::as_str) {
            Some("readable") => "no",
            Some(_) => "unless `unprivileged_bpf_disabled` is 0",
            None => "not asked",
        };
        let parts: Vec<_> = self.parts.iter().map(|part| format!("`{part}`")).collect();
        let passed = match parts.is_empty() {
            true => self.passed.to_string(),
            false => format!("{}, of {} only", self.passed, parts.join(", ")),
        };
        let without = if self.fallbacks.is_empty() { "–" } else { &self.fallbacks.join(", ") };
        let impossible: Vec<_> =
            self.impossible.iter().map(|(name, needs)| format!("`{name}` needs {needs}")).collect();
        let impossible = if impossible.is_empty() { "–" } else { &impossible.join("; ") };
        let quick = if self.booted.is_quick { ", without link-time optimisation" } else { "" };
        format!(
            "| {} ({}) | {} | {}, `{}`{quick} | {} | {} | {} ms | {without} | {keeps_bpf} | {passed} | \
             {impossible} |\n",
            kernel.series,
            self.release,
            architecture.debian,
            self.booted.date,
            self.booted.commit,
            counts(&PROGRAMS),
            counts(&REHEARSAL),
            self.start_milliseconds,
        )
    }
}

/// The results: by an architecture's name, then by a kernel's series.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proofs(BTreeMap<String, BTreeMap<String, Proof>>);

impl Proofs {
    /// Reads the committed results.
    pub fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(FILE)).context(FILE)?;
        serde_json::from_str(&text).context(FILE)
    }

    /// Puts a result in the place of the last one of that kernel.
    pub fn insert(&mut self, architecture: &Architecture, kernel: &Kernel, proof: Proof) {
        let kernels = self.0.entry(architecture.name.to_owned()).or_default();
        kernels.insert(kernel.series.to_owned(), proof);
    }

    /// Writes the results, and the table into the page.
    pub fn write(&self, root: &Path) -> Result<()> {
        fs::write(root.join(FILE), serde_json::to_string_pretty(self)? + "\n").context(FILE)?;
        let readme = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
        let (before, _, after) = parts(&readme).context("the page has no place for the table")?;
        fs::write(root.join(PAGE), [before, &self.table(), after].concat()).context(PAGE)
    }

    /// Returns the result of a kernel.
    fn get(&self, architecture: &Architecture, kernel: &Kernel) -> Option<&Proof> {
        self.0.get(architecture.name)?.get(kernel.series)
    }

    /// Returns the page's table.
    fn table(&self) -> String {
        let mut table = format!(
            "| kernel | | booted, with the program of | verified instructions of the audit: {} | of the rehearsal: {} | start-up, \
             emulated | does without | agent keeps CAP_BPF | tests passed | tests not possible |\n\
             |{}\n",
            PROGRAMS.join(" "),
            REHEARSAL.join(" "),
            "---|".repeat(10)
        );
        for architecture in &ARCHITECTURES {
            for kernel in claimed(architecture) {
                table.push_str(&match self.get(architecture, kernel) {
                    Some(proof) => proof.row(kernel, architecture),
                    None => format!(
                        "| {} | {} | not booted for this table |{}\n",
                        kernel.series,
                        architecture.debian,
                        " |".repeat(7)
                    ),
                });
            }
        }
        table
    }
}

/// Returns what stands before the table, the table, and what stands after it.
fn parts(readme: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = readme.split_at_checked(readme.find(BEGIN)? + BEGIN.len())?;
    let (table, after) = rest.split_at_checked(rest.find(END)?)?;
    Some((before, table, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::guest_report::Program;
    use crate::vm::verifier_limits::Ceilings;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    fn verdict() -> Verdict {
        Verdict {
            release: "6.1.0".to_owned(),
            programs: vec![Program { name: "egress".to_owned(), verified: Some(7), stack: None }],
            start_milliseconds: Some(9),
            tests: vec![("a".to_owned(), None)],
            ..Verdict::default()
        }
    }

    #[test]
    fn the_readme_has_the_table_of_the_committed_results() {
        let readme = fs::read_to_string(root().join(PAGE)).unwrap();
        let (_, table, _) = parts(&readme).unwrap();
        assert_eq!(table, Proofs::read(root()).unwrap().table(), "cargo xtask vm --write-table");
    }

    #[test]
    fn every_result_has_every_program_within_its_ceiling() {
        let (proofs, ceilings) = (Proofs::read(root()).unwrap(), Ceilings::read(root()).unwrap());
        for architecture in &ARCHITECTURES {
            for kernel in claimed(architecture) {
                let Some(proof) = proofs.get(architecture, kernel) else {
                    // The table says so. An emulated arm64 takes a compiler of its own.
                    assert_eq!(architecture.debian, "arm64", "{}", kernel.series);
                    continue;
                };
                assert!(proof.release.starts_with(kernel.series), "{proof:?}");
                let programs: Vec<_> = proof.verified.keys().map(String::as_str).collect();
                let mut expected = [&PROGRAMS[..], &REHEARSAL].concat();
                expected.sort_unstable();
                assert_eq!(programs, expected, "{proof:?}");
                let programs: Vec<_> = proof
                    .verified
                    .iter()
                    .map(|(name, &count)| Program {
                        name: name.clone(),
                        verified: Some(count),
                        stack: None,
                    })
                    .collect();
                let exceeded = ceilings.exceeded(architecture, kernel.series, &programs);
                assert!(exceeded.is_empty(), "{exceeded:?}");
            }
        }
    }

    #[test]
    fn a_kernel_without_a_result_is_told_as_not_booted() {
        let table = Proofs::default().table();
        let rows = table.lines().filter(|line| line.contains("not booted for this table"));
        assert_eq!(rows.count(), ARCHITECTURES.iter().flat_map(claimed).count(), "{table}");
    }

    #[test]
    fn a_failed_test_a_refused_program_and_one_that_is_not_attached_prove_nothing() {
        let booted = Booted {
            date: "2026-11-30".to_owned(),
            commit: "4edb79e00".to_owned(),
            is_quick: false,
        };
        let of = |verdict: &Verdict| Proof::of(verdict, &[], &booted);
        assert!(of(&verdict()).is_ok());
        let mut failed = verdict();
        failed.tests.push(("b".to_owned(), Some("why".to_owned())));
        assert!(of(&failed).unwrap_err().to_string().contains('b'));
        let mut refused = verdict();
        refused.programs[0].verified = None;
        assert!(of(&refused).unwrap_err().to_string().contains("egress"));
        let unattached = Verdict { start_milliseconds: None, ..verdict() };
        assert!(of(&unattached).is_err());
    }

    #[test]
    fn only_the_table_is_written_anew() {
        let readme = format!("before\n{BEGIN}old\n{END}after\n");
        let (before, table, after) = parts(&readme).unwrap();
        assert_eq!(before, format!("before\n{BEGIN}"));
        assert_eq!(table, "old\n");
        assert_eq!(after, format!("{END}after\n"));
    }
}
