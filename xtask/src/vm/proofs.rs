//! What was proven: the committed results of whole runs, and the README's table of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::architecture::{ARCHITECTURES, Architecture};
use crate::vm::kernels::{Kernel, claimed};
use crate::vm::verdict::Verdict;

/// The results, in the workspace's root.
const FILE: &str = "xtask/proofs.json";
/// The file with the table, and the lines before and after it.
const README: &str = "README.md";
const BEGIN: &str = "<!-- written by cargo xtask vm --write-table -->\n";
const END: &str = "<!-- end of the table -->\n";
/// The programs in the order of the table.
const PROGRAMS: [&str; 4] = ["connect4", "connect6", "egress", "ingress"];

/// What came of a kernel.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The kernel's release.
    release: String,
    /// The instructions that the verifier looked at, by program that was loaded and attached.
    verified: BTreeMap<String, u32>,
    /// How long loading and attaching took under emulation, in milliseconds of the guest's clock.
    start_milliseconds: u64,
    /// How many tests passed; none failed.
    passed: usize,
    /// The tests that need of the kernel what it does not have, with what that is.
    impossible: BTreeMap<String, String>,
    /// What the audit does without.
    fallbacks: Vec<String>,
}

impl Proof {
    /// Returns what a verdict proves.
    ///
    /// # Errors
    /// It proves nothing: a program was refused or not attached, or a test failed.
    pub fn of(verdict: &Verdict) -> Result<Self> {
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
            verified,
            start_milliseconds: verdict.start_milliseconds.context("nothing was attached")?,
            passed: verdict.tests.len(),
            impossible: verdict.impossible.iter().cloned().collect(),
            fallbacks: verdict.fallbacks.clone(),
        })
    }

    /// Returns the kernel's line of the README's table.
    fn row(&self, kernel: &Kernel, architecture: &Architecture) -> String {
        let counts = PROGRAMS.map(|name| match self.verified.get(name) {
            Some(count) => count.to_string(),
            None => "not loaded".to_owned(),
        });
        let without = if self.fallbacks.is_empty() { "–" } else { &self.fallbacks.join(", ") };
        let impossible: Vec<_> =
            self.impossible.iter().map(|(name, needs)| format!("`{name}` needs {needs}")).collect();
        let impossible = if impossible.is_empty() { "–" } else { &impossible.join("; ") };
        format!(
            "| {} ({}) | {} | {} | {} | {} ms | {without} | {} | {impossible} |\n",
            kernel.series,
            self.release,
            architecture.debian,
            self.verified.len(),
            counts.join(" "),
            self.start_milliseconds,
            self.passed,
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

    /// Writes the results, and the table into the README.
    pub fn write(&self, root: &Path) -> Result<()> {
        fs::write(root.join(FILE), serde_json::to_string_pretty(self)? + "\n").context(FILE)?;
        let readme = fs::read_to_string(root.join(README)).context(README)?;
        let (before, _, after) = parts(&readme).context("the README has no place for the table")?;
        fs::write(root.join(README), [before, &self.table(), after].concat()).context(README)
    }

    /// Returns the result of a kernel.
    fn get(&self, architecture: &Architecture, kernel: &Kernel) -> Option<&Proof> {
        self.0.get(architecture.name)?.get(kernel.series)
    }

    /// Returns the README's table.
    fn table(&self) -> String {
        let programs = PROGRAMS.join(" ");
        let mut table = format!(
            "| kernel | | programs attached | verified instructions: {programs} | start-up, emulated | \
             does without | tests passed | tests not possible |\n|{}\n",
            "---|".repeat(8)
        );
        for architecture in &ARCHITECTURES {
            for kernel in claimed(architecture) {
                table.push_str(&match self.get(architecture, kernel) {
                    Some(proof) => proof.row(kernel, architecture),
                    None => format!(
                        "| {} | {} | not booted for this table |{}\n",
                        kernel.series,
                        architecture.debian,
                        " |".repeat(5)
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
    use crate::vm::ceilings::Ceilings;
    use crate::vm::verdict::Program;

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
        let readme = fs::read_to_string(root().join(README)).unwrap();
        let (_, table, _) = parts(&readme).unwrap();
        assert_eq!(table, Proofs::read(root()).unwrap().table(), "cargo xtask vm --write-table");
    }

    #[test]
    fn every_claimed_kernel_has_a_result_with_every_program_within_its_ceiling() {
        let (proofs, ceilings) = (Proofs::read(root()).unwrap(), Ceilings::read(root()).unwrap());
        for architecture in &ARCHITECTURES {
            for kernel in claimed(architecture) {
                let proof = proofs.get(architecture, kernel).unwrap();
                assert!(proof.release.starts_with(kernel.series), "{proof:?}");
                let programs: Vec<_> = proof.verified.keys().map(String::as_str).collect();
                assert_eq!(programs, PROGRAMS, "{proof:?}");
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
        assert!(Proof::of(&verdict()).is_ok());
        let mut failed = verdict();
        failed.tests.push(("b".to_owned(), Some("why".to_owned())));
        assert!(Proof::of(&failed).unwrap_err().to_string().contains('b'));
        let mut refused = verdict();
        refused.programs[0].verified = None;
        assert!(Proof::of(&refused).unwrap_err().to_string().contains("egress"));
        let unattached = Verdict { start_milliseconds: None, ..verdict() };
        assert!(Proof::of(&unattached).is_err());
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
