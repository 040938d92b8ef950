//! Says why a caller still uses IMDSv1.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;
use schemars::JsonSchema;
use serde::Serialize;

use super::class::{self, Class, Outcome};
use super::client::{Client, Support};
use super::event::{Process, RequestEvent};

/// The number of processes, and of programs, that are remembered; beyond it the one that was
/// silent for longest is forgotten and starts anew.
pub const MAX_CALLERS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Why a caller uses IMDSv1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It never asks for a token.
    NeverAsks,
    /// It asks, gets no answer and falls back.
    Unanswered,
    /// It asks, is refused and falls back.
    Refused,
    /// It sends an empty token.
    EmptyToken,
    /// It was given a token and does not use it for all of its requests.
    Unused,
}

/// Why a caller uses IMDSv1, with what was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// It never asks for a token.
    NeverAsks,
    /// It asks, gets no answer and falls back: the hop limit, unless it is in the host's network.
    Unanswered {
        /// The hop limit, as token responses to the host's own network showed it.
        hop_limit: Option<u8>,
        /// Whether the caller shares the host's network; `None` where it is not known.
        host_network: Option<bool>,
    },
    /// It asks, is refused and falls back.
    Refused {
        /// How it was refused.
        outcome: Outcome,
    },
    /// It sends an empty token.
    EmptyToken,
    /// It was given a token and does not use it for all of its requests.
    Unused,
}

/// Follows each caller from its requests to a diagnosis.
#[derive(Debug)]
pub struct Diagnostician {
    processes: LruCache<ProcessKey, Asked>,
    programs: LruCache<ProgramKey, Asked>,
    hop_limit: Option<u8>,
    forgotten: u64,
}

/// One process: its number and its start, as the kernel tells them. The start in an event is told
/// by the clock of the moment, and no two are quite the same.
pub type ProcessKey = (u32, u64);

/// What makes requests one program's. A script's token request and its reads are processes of
/// their own, so their common parent counts and their arguments do not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ProgramKey {
    name: Option<String>,
    parent: Option<(u32, Option<String>)>,
    container: Option<String>,
    unit: Option<String>,
}

/// What came of the token requests of a process or of a program.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// What came of its last token request.
    last: Option<Outcome>,
    /// It sent an empty token.
    empty: bool,
}

impl Default for Diagnostician {
    fn default() -> Self {
        Self {
            processes: LruCache::new(MAX_CALLERS),
            programs: LruCache::new(MAX_CALLERS),
            hop_limit: None,
            forgotten: 0,
        }
    }
}

impl Diagnostician {
    /// Takes in a request of a process, where it is known which. Returns why it was made without a
    /// token, where it was and where what came before explains it.
    pub fn observe(
        &mut self,
        event: &RequestEvent,
        process: Option<ProcessKey>,
    ) -> Option<Diagnosis> {
        match event.imds.class {
            Class::V2Token => {
                self.note_hop_limit(event);
                self.note(event, process, |asked| asked.last = Some(event.imds.outcome));
                None
            }
            Class::V2EmptyToken => {
                self.note(event, process, |asked| asked.empty = true);
                Some(Diagnosis::EmptyToken)
            }
            Class::V1 => self.explain(event, process),
            Class::V2 | Class::Foreign | Class::Unknown => None,
        }
    }

    /// The time to live of a token response is the hop limit where no hop is in between.
    fn note_hop_limit(&mut self, event: &RequestEvent) {
        let is_served = event.imds.outcome == Outcome::Served;
        if is_served && event.network.host_network == Some(true) {
            self.hop_limit = event.network.response_ttl.or(self.hop_limit);
        }
    }

    fn note(
        &mut self,
        event: &RequestEvent,
        process: Option<ProcessKey>,
        change: impl Fn(&mut Asked),
    ) {
        let Self { processes, programs, forgotten, .. } = self;
        if let Some(key) = process {
            change(remember(processes, key, forgotten));
        }
        change(remember(programs, ProgramKey::of(&event.process), forgotten));
    }

    /// Returns how many processes and programs were forgotten because there were too many.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Explains an IMDSv1 request by the process's own token requests; where it made none and is
    /// a tool for one request, by those of its siblings in the same script.
    fn explain(&mut self, event: &RequestEvent, process: Option<ProcessKey>) -> Option<Diagnosis> {
        let own = process.and_then(|key| self.processes.get(&key)).copied().unwrap_or_default();
        let args = event.process.args.as_deref().unwrap_or_default();
        // curl drops a header without a value. A program that asked by itself has its header in
        // its arguments where it is a one-liner, and what came of asking says more.
        let names_token = || args.iter().any(|arg| class::names_token_header(arg.as_bytes()));
        if own.last.is_none() && names_token() {
            return Some(Diagnosis::EmptyToken);
        }
        let asked = if own.empty || own.last.is_some() || asks_for_itself(event.client.as_ref()) {
            own
        } else {
            let program = ProgramKey::of(&event.process);
            self.programs.get(&program).copied().unwrap_or_default()
        };
        if asked.empty {
            return Some(Diagnosis::EmptyToken);
        }
        match asked.last {
            None => Some(Diagnosis::NeverAsks),
            Some(Outcome::NoResponse) => Some(Diagnosis::Unanswered {
                hop_limit: self.hop_limit,
                host_network: event.network.host_network,
            }),
            Some(Outcome::Served) => Some(Diagnosis::Unused),
            Some(Outcome::Unobserved) => None,
            Some(outcome) => Some(Diagnosis::Refused { outcome }),
        }
    }
}

/// Returns what is remembered of one; counts it where another has to be forgotten for that.
fn remember<'a, K: Hash + Eq>(
    known: &'a mut LruCache<K, Asked>,
    key: K,
    forgotten: &mut u64,
) -> &'a mut Asked {
    if known.len() == known.cap().get() && !known.contains(&key) {
        *forgotten = forgotten.saturating_add(1);
    }
    known.get_or_insert_mut(key, Asked::default)
}

/// Says whether a client makes its token requests within its own process.
fn asks_for_itself(client: Option<&Client>) -> bool {
    let support = client.and_then(|client| client.known()).map(|known| known.support);
    matches!(support, Some(Support::Since(_) | Support::Always | Support::ByLibrary))
}

impl ProgramKey {
    fn of(process: &Process) -> Self {
        Self {
            name: process.name.clone(),
            parent: process.ancestors.first().map(|parent| (parent.pid, parent.name.clone())),
            container: process.container.as_ref().map(|container| container.id.clone()),
            unit: process.unit.clone(),
        }
    }
}

impl Diagnosis {
    /// Returns the cause without what was seen of it.
    pub const fn cause(self) -> Cause {
        match self {
            Self::NeverAsks => Cause::NeverAsks,
            Self::Unanswered { .. } => Cause::Unanswered,
            Self::Refused { .. } => Cause::Refused,
            Self::EmptyToken => Cause::EmptyToken,
            Self::Unused => Cause::Unused,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAsks => f.write_str("never asks for a token"),
            Self::Unanswered { host_network: Some(false), .. } => f.write_str(
                "asks for a token, gets no answer and falls back: it is in a network of its own, \
                 and the answer to a token request may not travel that far",
            ),
            Self::Unanswered { .. } => {
                f.write_str("asks for a token, gets no answer and falls back")
            }
            Self::Refused { outcome } => {
                write!(f, "asks for a token, is refused ({outcome}) and falls back")
            }
            Self::EmptyToken => f.write_str("sends an empty token: its token request failed"),
            Self::Unused => f.write_str("is given a token, and makes requests without it"),
        }
    }
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
