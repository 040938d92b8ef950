//! The most instructions that the verifier may look at, by architecture, kernel and program.
//!
//! The verifier gives up at a million; each instruction that it looks at costs start-up time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::architecture::Architecture;
use crate::vm::guest_report::Program;

/// The file, in the workspace's root.
const FILE: &str = "xtask/baselines/verifier.toml";

/// The ceilings: by an architecture, then by a kernel's series, then by a program's name.
pub struct Ceilings(BTreeMap<String, BTreeMap<String, BTreeMap<String, u32>>>);

impl Ceilings {
    /// Reads the committed file.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).map(Self).with_context(|| path.display().to_string())
    }

    /// Says which programs exceed their ceilings, or have none.
    pub fn exceeded(
        &self,
        architecture: &Architecture,
        series: &str,
        programs: &[Program],
    ) -> Vec<String> {
        let ceilings = self.0.get(architecture.name).and_then(|kernels| kernels.get(series));
        let judge = |program: &Program| {
            let (name, count) = (&program.name, program.verified?);
            match ceilings.and_then(|ceilings| ceilings.get(name)) {
                None => Some(format!("{FILE} has no ceiling for {name}, which takes {count}")),
                Some(&ceiling) if count > ceiling => {
                    Some(format!("{name} takes {count} verified instructions, more than {ceiling}"))
                }
                Some(_) => None,
            }
        };
        programs.iter().filter_map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::ARCHITECTURES;
    use crate::vm::kernels::claimed;
    use crate::vm::results::{PROGRAMS, REHEARSAL};

    /// No program may come near what makes a start slow, or what a kernel gives up at.
    const MOST: u32 = 50_000;

    fn program(verified: u32) -> Program {
        Program { name: "egress".to_owned(), verified: Some(verified), stack: None }
    }

    #[test]
    fn a_program_above_its_ceiling_or_without_one_is_a_fault() {
        let ceilings = Ceilings(toml::from_str("[x86_64.\"6.1\"]\negress = 100\n").unwrap());
        let [first, second] = &ARCHITECTURES;
        assert!(ceilings.exceeded(first, "6.1", &[program(100)]).is_empty());
        assert_eq!(ceilings.exceeded(first, "6.1", &[program(101)]).len(), 1);
        assert_eq!(ceilings.exceeded(first, "7.2", &[program(1)]).len(), 1);
        assert_eq!(ceilings.exceeded(second, "6.1", &[program(1)]).len(), 1);
    }

    #[test]
    fn every_kernel_has_ceilings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let ceilings = Ceilings::read(root).unwrap();
        for architecture in &ARCHITECTURES {
            for kernel in claimed(architecture) {
                let own = &ceilings.0[architecture.name][kernel.series];
                let mut names: Vec<_> = own.keys().map(String::as_str).collect();
                names.sort_unstable();
                let mut expected = [&PROGRAMS[..], &REHEARSAL].concat();
                expected.sort_unstable();
                assert_eq!(names, expected, "{} {}", architecture.name, kernel.series);
                assert!(own.values().all(|&ceiling| ceiling <= MOST), "{own:?}");
            }
        }
    }
}
