//! The most instructions that the verifier may look at, by kernel and program.
//!
//! The verifier gives up at a million; each instruction that it looks at costs start-up time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::vm::verdict::Program;

/// The file, in the workspace's root.
const FILE: &str = "xtask/ceilings.toml";

/// The ceilings: by a kernel's series, then by a program's name.
pub struct Ceilings(BTreeMap<String, BTreeMap<String, u32>>);

impl Ceilings {
    /// Reads the committed file.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).map(Self).with_context(|| path.display().to_string())
    }

    /// Says which programs exceed their ceilings, or have none.
    pub fn exceeded(&self, series: &str, programs: &[Program]) -> Vec<String> {
        let ceilings = self.0.get(series);
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

    fn program(verified: u32) -> Program {
        Program { name: "egress".to_owned(), verified: Some(verified), stack: None }
    }

    #[test]
    fn a_program_above_its_ceiling_or_without_one_is_a_fault() {
        let ceilings = Ceilings(toml::from_str("[\"6.1\"]\negress = 100\n").unwrap());
        assert!(ceilings.exceeded("6.1", &[program(100)]).is_empty());
        assert_eq!(ceilings.exceeded("6.1", &[program(101)]).len(), 1);
        assert_eq!(ceilings.exceeded("7.2", &[program(1)]).len(), 1);
    }

    #[test]
    fn every_kernel_has_ceilings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let ceilings = Ceilings::read(root).unwrap();
        for kernel in crate::vm::kernels::KERNELS {
            assert_eq!(
                ceilings.0.get(kernel.series).map_or(0, BTreeMap::len),
                4,
                "{}",
                kernel.series
            );
        }
    }
}
