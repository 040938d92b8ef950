//! Nothing attached, programs that do nothing, or the program under measurement.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use imds_audit::internal::{CgroupRoot, Program};

use super::audit::Audit;
use super::bpf;
use super::capture::Capture;
use super::processor::Processor;

/// What is attached while something is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing.
    Without,
    /// Programs of two instructions at the hooks of ours.
    Empty,
    /// The program under measurement.
    With,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Without, Self::Empty, Self::With];

    /// Returns the name of its column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Empty => "empty",
            Self::With => "with",
        }
    }

    /// Puts it in force, until what is returned is dropped or taken down.
    ///
    /// # Errors
    /// Returns an error if something cannot be attached.
    pub fn set_up(self, program: &Path) -> Result<InForce> {
        Ok(match self {
            Self::Without => InForce::Nothing,
            Self::Empty => InForce::Empty(attach_empty().context("cannot attach programs")?),
            Self::With => InForce::Audit(Audit::start(program, &[], Processor::Any)?),
        })
    }
}

/// What is in force.
pub enum InForce {
    /// Nothing.
    Nothing,
    /// Programs; each one goes with its link.
    Empty(Vec<OwnedFd>),
    /// The program under measurement.
    Audit(Audit),
    /// The same, capturing.
    Capture(Capture),
}

impl InForce {
    /// Ends it.
    ///
    /// # Errors
    /// Returns an error if the program does not end well.
    pub fn take_down(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Empty(links) => {
                drop(links);
                Ok(())
            }
            Self::Audit(audit) => audit.stop().map(drop),
            Self::Capture(capture) => capture.stop(),
        }
    }
}

fn attach_empty() -> Result<Vec<OwnedFd>> {
    let root = CgroupRoot::find()?;
    Program::ALL
        .into_iter()
        .map(|like| Ok(bpf::attach(like, &bpf::load_empty(like)?, &root.folder)?))
        .collect()
}
