//! Numbers of hosts, runs and callers, by the order in which they appear.

use std::collections::hash_map::Entry;

use super::{CallerEvidence, Evidence, Run};
use crate::event::reader::{CallerLine, DamagedLine, Line, RequestLine};
use crate::event::{Caller, HostIdentity, Time};

/// The number of hosts that are told apart; lines of further hosts are counted and left out.
const MAX_HOSTS: usize = 100_000;
/// The number of runs that are told apart; lines of further runs are counted and left out.
const MAX_RUNS: usize = 200_000;

impl Evidence {
    /// Returns the number of a line's run, which is added if it is new. `None` beyond the bounds on
    /// hosts and runs.
    pub(super) fn run_of(&mut self, line: &Line<'_>) -> Option<u32> {
        let (host, id) = (line.host.unwrap_or("{}"), line.run.unwrap_or_default());
        let (last_host, last_id, last) = &self.last_run;
        if last.is_some() && host == last_host && id == last_id {
            return *last;
        }
        let number = self.host_of(host)?;
        let run = if id.is_empty() { String::new() } else { serde_json::from_str(id).ok()? };
        let index = self.run(number, run, || {
            let labels = line.labels.and_then(|json| serde_json::from_str(json).ok());
            Run::new(labels.unwrap_or_default())
        })?;
        self.last_run = (host.to_owned(), id.to_owned(), Some(index));
        Some(index)
    }

    /// Returns the number of a run of a host, which is made if it is new.
    pub(super) fn run(&mut self, host: u32, id: String, make: impl FnOnce() -> Run) -> Option<u32> {
        match self.run_index.entry((host, id)) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(free) => {
                let index =
                    u32::try_from(self.runs.len()).ok().filter(|_| self.runs.len() < MAX_RUNS);
                let Some(index) = index else {
                    self.input.beyond_bounds += 1;
                    return None;
                };
                self.runs.push((host, make()));
                Some(*free.insert(index))
            }
        }
    }

    fn host_of(&mut self, json: &str) -> Option<u32> {
        if let Some(&host) = self.known_hosts.get(json) {
            return Some(host);
        }
        let identity = serde_json::from_str(json)
            .or_else(|_| {
                serde_json::from_str::<String>(json)
                    .map(|name| HostIdentity { name: Some(name), id: None })
            })
            .unwrap_or_default();
        let host = self.host(identity)?;
        if self.known_hosts.len() < MAX_HOSTS {
            self.known_hosts.insert(json.into(), host);
        }
        Some(host)
    }

    /// Returns a host's number. An instance id alone tells hosts apart; a name does where there
    /// is no id.
    pub(super) fn host(&mut self, identity: HostIdentity) -> Option<u32> {
        let key = match &identity.id {
            Some(id) => HostIdentity { name: None, id: Some(id.clone()) },
            None => identity.clone(),
        };
        if let Some(&host) = self.host_index.get(&key) {
            return Some(host);
        }
        let host = u32::try_from(self.hosts.len()).ok().filter(|_| self.hosts.len() < MAX_HOSTS);
        let Some(host) = host else {
            self.input.beyond_bounds += 1;
            return None;
        };
        self.hosts.push(identity);
        self.host_index.insert(key, host);
        Some(host)
    }

    /// Returns the number of a request's caller; `None` beyond the bound on callers.
    pub(super) fn caller_of(
        &mut self,
        request: &RequestLine<'_>,
    ) -> Result<Option<u32>, DamagedLine> {
        let json = request.caller.ok_or(DamagedLine)?;
        let lean = CallerLine::parse(json)?;
        if let Some(&index) = self.caller_index.get(lean.id)
            && let Some(known) = self.callers.get_mut(index as usize)
            && known.see_same(&lean, request.time)
        {
            return Ok(Some(index));
        }
        let caller: Caller = serde_json::from_str(json)?;
        Ok(self.caller(&caller, request.time))
    }

    /// Returns a caller's number; `None` beyond the bound on callers.
    pub(super) fn caller(&mut self, caller: &Caller, time: Time) -> Option<u32> {
        if let Some(&index) = self.caller_index.get(caller.id.as_str()) {
            if let Some(known) = self.callers.get_mut(index as usize) {
                known.see(caller, time);
            }
            return Some(index);
        }
        if self.callers.len() >= self.capacity {
            return None;
        }
        let index = u32::try_from(self.callers.len()).ok()?;
        self.callers.push(CallerEvidence::new(caller.clone(), time));
        self.caller_index.insert(caller.id.as_str().into(), index);
        Some(index)
    }
}
