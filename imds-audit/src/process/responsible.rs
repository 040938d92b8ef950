//! The responsible process in the chain from a process to its oldest known ancestor.
//!
//! `curl` is called by a script, the script by a timer. The rule, the first that applies:
//!
//! 1. the nearest process that runs a script, module, class or archive in a shell, an
//!    interpreter or a Java virtual machine; among a script's own subshells and workers the
//!    outermost. A supervisor (`supervisord`, `puppet`) is one only for what it does itself or
//!    through tools such as `curl`: a compiled program or a one-liner below it is responsible
//!    for itself;
//! 2. below cron, a login or another launcher, the one-liner (`sh -c …`) or interactive shell, or
//!    else the outermost process that it started, and never the launcher;
//! 3. the unit's main process: the outermost one of the chain in the caller's own unit;
//! 4. the container's first process, in the same way;
//! 5. the outermost one-liner;
//! 6. an interpreted tool such as the AWS CLI;
//! 7. the caller itself.
//!
//! The search for 1 and 2 ends at a launcher, at the container's edge and at a process whose
//! workload is unknown: a script behind that one may not be the nearest.

use super::cgroup_path::UnitAndContainer;
use super::workload::java::SPARK_SUBMIT;
use super::workload::{SupervisorForm, Workload};
use crate::event::Rule;

/// A process in the chain, the caller first.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainLink<'a> {
    /// What it runs.
    pub workload: &'a Workload,
    /// Which `exec` it runs since.
    pub exec: Exec,
    /// The unit and the container that it is in; `None` where that is not known.
    pub home: Option<UnitAndContainer<'a>>,
}

/// An `exec`, as far as it can be distinguished from another: a forked process has its parent's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exec {
    /// The number of `exec` calls of the process and of those that it was forked from; 0 where that
    /// is not known.
    pub count: u64,
    /// Where the arguments lie in memory, which is random; 0 where that is not known.
    pub arguments_start: u64,
}

impl Exec {
    /// Returns whether both of its marks are known.
    pub(super) const fn is_known(self) -> bool {
        self.count != 0 && self.arguments_start != 0
    }

    /// Returns whether nothing speaks against both being the same one.
    const fn may_be(self, other: Self) -> bool {
        const fn fits(own: u64, other: u64) -> bool {
            own == 0 || other == 0 || own == other
        }
        fits(self.count, other.count) && fits(self.arguments_start, other.arguments_start)
    }
}

/// Returns the place in the chain of the responsible process, and the rule.
/// `is_whole` says that the chain ends with a process that has no parent. Only an empty chain has
/// no responsible process.
pub(super) fn responsible(chain: &[ChainLink<'_>], is_whole: bool) -> Option<(usize, Rule)> {
    chain.first()?;
    // The nearest home that is known is the caller's, or its parent's.
    let nearest = chain.iter().position(|link| link.home.is_some());
    let has_left = |place: usize, link: &ChainLink<'_>| {
        nearest.is_some_and(|nearest| place > nearest && is_outside(chain.get(nearest), link))
    };
    let mut commands = None;
    let mut launched = None;
    let mut program = None;
    let mut tool = None;
    for (place, link) in chain.iter().enumerate() {
        if has_left(place, link) {
            break;
        }
        let rule = match link.workload {
            Workload::Script(_) => Rule::Script,
            Workload::Module(_) => Rule::Module,
            Workload::Class(_) => Rule::Class,
            Workload::Jar(_) => Rule::Jar,
            Workload::Supervisor { form, .. } => {
                if let Some(place) = program {
                    return Some((place, if place == 0 { Rule::Caller } else { Rule::Command }));
                } else if let Some(place) = commands {
                    return Some((place, Rule::Command));
                } else if *form == SupervisorForm::Module {
                    Rule::Module
                } else {
                    Rule::Script
                }
            }
            Workload::Tool(name) => {
                let is_class = **name == *SPARK_SUBMIT;
                tool.get_or_insert((place, if is_class { Rule::Class } else { Rule::Script }));
                continue;
            }
            Workload::Commands => {
                commands = Some(place);
                launched = Some(place);
                continue;
            }
            Workload::Wrapper | Workload::CompiledTool => continue,
            Workload::Other => {
                // The program that started the one-liner is responsible for it.
                launched = None;
                program = Some(place);
                continue;
            }
            Workload::Launcher if place == 0 => continue,
            Workload::Launcher => {
                if let Some(place) = launched {
                    return Some((place, Rule::Command));
                }
                break;
            }
            Workload::Unknown => break,
        };
        // A script's subshells and workers have its command line, and no `exec` of their own.
        let same = chain.iter().enumerate().skip(place).take_while(|(place, found)| {
            found.workload == link.workload
                && found.exec.may_be(link.exec)
                && !has_left(*place, found)
        });
        return Some((same.last().map_or(place, |(place, _)| place), rule));
    }
    if let Some(found) = first_of_home(chain, is_whole) {
        return Some(found);
    }
    let command = commands.map(|place| (place, Rule::Command));
    command.or(tool).or(Some((0, Rule::Caller)))
}

/// Returns whether a process is outside of the container that another is in, or may be.
fn is_outside(inner: Option<&ChainLink<'_>>, link: &ChainLink<'_>) -> bool {
    let Some(home) = inner.and_then(|inner| inner.home) else { return false };
    match link.home {
        Some(other) => home.container != other.container,
        None => home.container.is_some(),
    }
}

/// Finds the outermost process in the caller's unit or container, where it is certain that it is
/// the outermost; below a launcher, the outermost process that it started.
fn first_of_home(chain: &[ChainLink<'_>], is_whole: bool) -> Option<(usize, Rule)> {
    let home = chain.first()?.home;
    let launcher = chain
        .iter()
        .enumerate()
        .skip(1)
        .take_while(|(_, link)| link.home == home)
        .find(|(_, link)| *link.workload == Workload::Launcher);
    if let Some((place, _)) = launcher {
        return Some((place.checked_sub(1)?, Rule::Command));
    }
    let home = home?;
    let rule = match (home.unit, home.container) {
        (Some(_), None) => Rule::Unit,
        (Some(_), Some(_)) if home.unit_in_container => Rule::Unit,
        (_, Some(_)) => Rule::Container,
        (None, None) => return None,
    };
    let run = chain.iter().take_while(|link| link.home == Some(home)).count();
    let is_certain = match chain.get(run) {
        Some(next) => next.home.is_some(),
        None => is_whole,
    };
    // A container's `tini` runs what its arguments say.
    let mut inside = chain.iter().take(run).enumerate().rev();
    let place = inside.find(|(place, link)| *place == 0 || *link.workload != Workload::Wrapper)?.0;
    is_certain.then_some((place, rule))
}

#[cfg(test)]
mod tests;
