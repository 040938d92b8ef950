//! Sums over files of events: hosts, runs, callers.
//!
//! Counts stand per run until the end, because only then it is known whether a run has tallies:
//! if it has, they are its counts and its request events are examples of them.

mod caller;
mod input;
mod numbers;
mod run;
mod sums;
mod timeline;

use std::collections::{HashMap, HashSet};
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

pub(crate) use caller::{CallerEvidence, CauseCounts};
pub(crate) use input::Input;
pub(crate) use run::Run;
pub(crate) use sums::Counts;
pub(crate) use timeline::Timeline;

use super::hop_limit::{self, MAX_HOP_LIMIT};
use crate::event::reader::{Line, LineKind, RequestLine};
use crate::event::{Body, Event, HostIdentity, RelayPart, RequestEvent, Time};

/// The number of callers that are told apart if nothing else is asked for.
pub(crate) const MAX_CALLERS: usize = 20_000;
/// The time that is looked at: lines outside it are left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// The first moment.
    pub since: Option<Time>,
    /// The moment behind the last.
    pub until: Option<Time>,
}

impl Bounds {
    fn has(self, time: Time) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    fn touches(self, from: Time, to: Time) -> bool {
        self.since.is_none_or(|since| to >= since) && self.until.is_none_or(|until| from < until)
    }
}

/// Evidence from any number of lines.
#[derive(Debug)]
pub(crate) struct Evidence {
    bounds: Bounds,
    capacity: usize,
    /// Hosts, by the order in which they appeared.
    pub hosts: Vec<HostIdentity>,
    host_index: HashMap<HostIdentity, u32>,
    /// Hosts by the JSON that names them, which is the same in all lines of a run.
    known_hosts: HashMap<Box<str>, u32>,
    /// Runs, each with its host, by the order in which they appeared.
    pub runs: Vec<(u32, Run)>,
    run_index: HashMap<(u32, String), u32>,
    /// The run of the last line, by the JSON of its host and its id: the next line has the same.
    last_run: (String, String, Option<u32>),
    /// Callers, by the order in which they appeared.
    pub callers: Vec<CallerEvidence>,
    caller_index: HashMap<Box<str>, u32>,
    /// Hashes the advice of requests.
    hasher: RandomState,
    windows: KnownWindows,
    /// What was read.
    pub input: Input,
}

/// The windows that were read, by any thread: a copy of a file may be read by another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownWindows(Arc<Mutex<HashSet<(String, String, u64)>>>);

impl KnownWindows {
    /// Returns whether a window is read for the first time. A run without an id has no copies that
    /// could be distinguished from it.
    fn is_new(&self, line: &Line<'_>, window: u64) -> bool {
        let Some(run) = line.run else { return true };
        let key = (line.host.unwrap_or_default().to_owned(), run.to_owned(), window);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key)
    }
}

impl Evidence {
    /// Makes empty evidence of the time within `bounds` that tells `capacity` callers apart.
    /// Threads that read parts of the same files share `windows`.
    pub(crate) fn new(bounds: Bounds, capacity: usize, windows: KnownWindows) -> Self {
        Self {
            bounds,
            capacity,
            hosts: Vec::new(),
            host_index: HashMap::new(),
            known_hosts: HashMap::new(),
            runs: Vec::new(),
            run_index: HashMap::new(),
            last_run: (String::new(), String::new(), None),
            callers: Vec::new(),
            caller_index: HashMap::new(),
            hasher: RandomState::new(),
            windows,
            input: Input::default(),
        }
    }

    /// Adds a line of a file; `None` stands for one that was too long to read.
    pub(crate) fn add(&mut self, line: Option<&[u8]>) {
        let Some(bytes) = line else {
            self.input.too_long += 1;
            return;
        };
        match Line::parse(bytes) {
            Ok(Some(line)) => self.add_line(&line),
            Ok(None) if bytes.trim_ascii().is_empty() => {}
            Ok(None) => self.input.foreign += 1,
            Err(_) => self.input.malformed += 1,
        }
    }

    fn add_line(&mut self, line: &Line<'_>) {
        match &line.kind {
            LineKind::Request(request) if request.caller.is_some() => {
                self.input.events += 1;
                self.add_request(line, request);
            }
            // A request of version 0.1 does not name its caller: it is found from its process.
            LineKind::Request(_) | LineKind::Rare => self.add_event(line),
            LineKind::Other => self.input.events += 1,
        }
    }

    fn add_request(&mut self, line: &Line<'_>, request: &RequestLine<'_>) {
        if !self.bounds.has(request.time) {
            self.input.outside += 1;
            return;
        }
        // A rehearsal audited one cgroup: it is no run of its host's.
        let run = if line.is_rehearsal { None } else { self.run_of(line) };
        if run.is_none() && !line.is_rehearsal {
            return;
        }
        let evidence = run.and_then(|run| self.runs.get_mut(run as usize));
        if let Some(((_, run), limit)) = evidence.zip(hop_limit(request)) {
            run.see_hop_limit(request.time, limit);
        }
        // The request that a relay repeats has a line of its own.
        if request.relay == Some(RelayPart::Repetition) {
            return;
        }
        let Ok(index) = self.caller_of(request) else {
            self.input.malformed += 1;
            return;
        };
        let known = index.and_then(|index| self.callers.get_mut(index as usize));
        let Some(run) = run else {
            known.into_iter().for_each(|known| known.rehearse(request));
            self.input.rehearsed += 1;
            return;
        };
        let cause = known.and_then(|known| known.add(request, &self.hasher));
        if let Some((_, run)) = self.runs.get_mut(run as usize) {
            run.add_request(index, cause, request);
        }
    }

    /// Adds an event that is read in full.
    fn add_event(&mut self, line: &Line<'_>) {
        let Ok(event) = serde_json::from_slice::<Event>(line.json) else {
            self.input.malformed += 1;
            return;
        };
        self.input.events += 1;
        if line.is_rehearsal && !matches!(event.body, Body::Request(_)) {
            // It watched one cgroup, so it covers no host.
            return;
        }
        match &event.body {
            Body::Request(request) => self.add_old_request(line, request),
            Body::Tally(tally) if self.bounds.touches(tally.from, tally.to) => {
                let Some(run) = self.run_of(line) else { return };
                if !self.windows.is_new(line, tally.window) {
                    self.input.duplicates += 1;
                    return;
                }
                let indexes: Vec<_> = tally
                    .callers
                    .iter()
                    .map(|counts| {
                        let index = self.caller(&counts.caller, counts.last)?;
                        let causes = self.callers.get_mut(index as usize)?.add_tally(counts);
                        Some((index, causes))
                    })
                    .collect();
                if let Some((_, run)) = self.runs.get_mut(run as usize) {
                    run.add_tally(tally, indexes);
                }
            }
            Body::Start(start) if self.bounds.touches(start.time, start.time) => {
                if let Some(run) = self.run_mut(line) {
                    run.add_start(start, event.origin.source);
                }
            }
            Body::Stop(stop) if self.bounds.touches(stop.time, stop.time) => {
                if let Some(run) = self.run_mut(line) {
                    run.add_stop(stop);
                }
            }
            Body::Loss(loss) if self.bounds.has(loss.time) => {
                if let Some(run) = self.run_mut(line) {
                    run.add_loss(loss);
                }
            }
            Body::Tally(_) | Body::Start(_) | Body::Stop(_) | Body::Loss(_) => {
                self.input.outside += 1;
            }
            // Its requests are read by themselves.
            Body::Connection(_) | Body::Rehearsal(_) | Body::Other => {}
        }
    }

    fn add_old_request(&mut self, line: &Line<'_>, request: &RequestEvent) {
        let caller = super::caller::of(&request.process);
        let caller = serde_json::to_string(&caller).unwrap_or_default();
        let client = request.client.as_ref().and_then(|c| serde_json::to_string(c).ok());
        let advice = request.advice.as_ref().and_then(|a| serde_json::to_string(a).ok());
        let network = serde_json::to_string(&request.network).ok();
        let lean = RequestLine {
            time: request.time,
            class: request.imds.class,
            outcome: request.imds.outcome,
            resource: request.imds.resource,
            caller: Some(&caller),
            client: client.as_deref(),
            advice: advice.as_deref(),
            relay: request.relay,
            network: network.as_deref(),
            window: request.window,
        };
        self.add_request(line, &lean);
    }

    fn run_mut(&mut self, line: &Line<'_>) -> Option<&mut Run> {
        let run = self.run_of(line)?;
        self.runs.get_mut(run as usize).map(|(_, run)| run)
    }

    /// Adds evidence from other lines.
    pub(crate) fn merge(&mut self, other: Self) {
        let mut indexes = Vec::with_capacity(other.callers.len());
        let hosts: Vec<Option<u32>> =
            other.hosts.into_iter().map(|identity| self.host(identity)).collect();
        for caller in other.callers {
            let index = self.caller(caller.caller(), caller.seen());
            indexes.push(index.and_then(|index| {
                let slots = self.callers.get_mut(index as usize)?.merge(caller);
                Some((index, slots))
            }));
        }
        let mut runs: Vec<_> = other.runs.into_iter().map(|(_, run)| Some(run)).collect();
        for ((host, id), run) in other.run_index {
            let Some(host) = hosts.get(host as usize).copied().flatten() else { continue };
            let Some(evidence) = runs.get_mut(run as usize).and_then(Option::take) else {
                continue;
            };
            let evidence = evidence.renumbered(&indexes);
            let labels = evidence.labels.clone();
            let run = self.run(host, id, || Run::new(labels));
            if let Some((_, known)) = run.and_then(|run| self.runs.get_mut(run as usize)) {
                known.merge(evidence);
            }
        }
        self.input.merge(&other.input);
    }
}

/// Returns the hop limit as a request shows it whose response came over the host's own network.
fn hop_limit(request: &RequestLine<'_>) -> Option<u8> {
    #[derive(Deserialize)]
    struct Way {
        response_ttl: Option<u8>,
        host_network: Option<bool>,
    }
    if !hop_limit::shows_limit(request.class, request.outcome, request.relay) {
        return None;
    }
    let way: Way = serde_json::from_str(request.network?).ok()?;
    way.response_ttl.filter(|ttl| way.host_network == Some(true) && *ttl < MAX_HOP_LIMIT)
}

#[cfg(test)]
mod tests;
