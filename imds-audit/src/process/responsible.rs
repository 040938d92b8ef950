//! Names, in the chain from a process to its oldest known ancestor, the one that answers for it.
//!
//! `curl` is called by a script, the script by a timer. The rule, the first that applies:
//!
//! 1. the nearest process that runs a script, module, class or archive in a shell, an
//!    interpreter or a Java virtual machine; of a script's subshells and workers the outermost;
//! 2. the one-liner (`sh -c …`), or the shell somebody types in, that cron, a login or another
//!    launcher started;
//! 3. the unit's main process: the outermost one of the chain in the caller's own unit;
//! 4. the container's first process, likewise;
//! 5. the outermost one-liner;
//! 6. an interpreted tool such as the AWS CLI;
//! 7. the caller itself.
//!
//! The search for 1 and 2 ends at a launcher, at the container's edge and at a process of which
//! it cannot be said what it runs: a script behind that one may not be the nearest.

use super::Program;
use super::placement::Home;
use super::program::jvm::SPARK_SUBMIT;

/// Why a process answers for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It runs the nearest script.
    Script,
    /// It runs the nearest module.
    Module,
    /// It runs the nearest class.
    Class,
    /// It runs the nearest archive.
    Jar,
    /// It runs commands from its command line or its input.
    Command,
    /// It is the unit's main process.
    Unit,
    /// It is the container's first process.
    Container,
    /// It made the request itself and nothing else is known to answer for it.
    Caller,
}

/// A process in the chain, the caller first.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// What it runs.
    pub program: &'a Program,
    /// The unit and the container that it is in; `None` where that is not known.
    pub home: Option<Home<'a>>,
}

/// Returns the place in the chain of the process that answers for the caller, and by which rule.
/// `is_whole` says that the chain ends with a process that has no parent. An empty chain has
/// nobody.
pub fn responsible(chain: &[Link<'_>], is_whole: bool) -> Option<(usize, Rule)> {
    chain.first()?;
    // The nearest place that is known is the caller's, or that of who started it.
    let nearest = chain.iter().position(|link| link.home.is_some());
    let has_left = |place: usize, link: &Link<'_>| {
        nearest.is_some_and(|nearest| place > nearest && is_outside(chain.get(nearest), link))
    };
    let mut commands = None;
    let mut launched = None;
    let mut tool = None;
    for (place, link) in chain.iter().enumerate() {
        if has_left(place, link) {
            break;
        }
        let rule = match link.program {
            Program::Script(_) => Rule::Script,
            Program::Module(_) => Rule::Module,
            Program::Class(_) => Rule::Class,
            Program::Jar(_) => Rule::Jar,
            Program::Tool(name) => {
                let is_class = **name == *SPARK_SUBMIT;
                tool.get_or_insert((place, if is_class { Rule::Class } else { Rule::Script }));
                continue;
            }
            Program::Commands => {
                commands = Some(place);
                launched = Some(place);
                continue;
            }
            Program::Wrapper => continue,
            Program::Other => {
                // What started the one-liner is a program of its own, and answers for it.
                launched = None;
                continue;
            }
            Program::Launcher if place == 0 => continue,
            Program::Launcher => {
                if let Some(place) = launched {
                    return Some((place, Rule::Command));
                }
                break;
            }
            Program::Unknown => break,
        };
        // A script's subshells have its command line.
        let rest = chain.iter().enumerate().skip(place);
        let same = rest
            .take_while(|(place, found)| found.program == link.program && !has_left(*place, found));
        return Some((same.last().map_or(place, |(place, _)| place), rule));
    }
    if let Some(found) = first_of_home(chain, is_whole) {
        return Some(found);
    }
    let command = commands.map(|place| (place, Rule::Command));
    command.or(tool).or(Some((0, Rule::Caller)))
}

/// Returns whether a process is outside of the container that another is in, or may be.
fn is_outside(inner: Option<&Link<'_>>, link: &Link<'_>) -> bool {
    let Some(home) = inner.and_then(|inner| inner.home) else { return false };
    match link.home {
        Some(other) => home.container != other.container,
        None => home.container.is_some(),
    }
}

/// Finds the outermost process in the caller's unit or container, where it is certain that it is
/// the outermost.
fn first_of_home(chain: &[Link<'_>], is_whole: bool) -> Option<(usize, Rule)> {
    let home = chain.first()?.home?;
    let rule = match (home.unit, home.container) {
        (Some(_), None) => Rule::Unit,
        (Some(_), Some(_)) if home.unit_in_container => Rule::Unit,
        (_, Some(_)) => Rule::Container,
        (None, None) => return None,
    };
    let run = chain.iter().take_while(|link| link.home == Some(home)).count();
    let place = run.checked_sub(1)?;
    let is_certain = match chain.get(place + 1) {
        Some(next) => next.home.is_some(),
        None => is_whole,
    };
    is_certain.then_some((place, rule))
}

#[cfg(test)]
#[path = "responsible_tests.rs"]
mod tests;
