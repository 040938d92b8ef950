//! Verdict on each caller: what it did when it was refused.

use std::collections::{BTreeSet, HashMap};

use crate::event::{
    Advice, Caller, Class, Outcome, RehearsalVerdict, RehearsedCaller, RehearsedRequest,
    RequestEvent,
};

/// The number of callers that are followed; requests of further ones are counted.
const MAX_CALLERS: usize = 512;
/// The number of requests of a caller that are kept as evidence.
const MAX_SEQUENCE: usize = 12;
/// The number of refused paths of a caller that are remembered. Beyond it the caller breaks,
/// whatever it gets later.
const MAX_PATHS: usize = 256;
/// The longest path that is kept, in bytes.
const MAX_PATH: usize = 256;

/// The callers of a rehearsal.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    callers: HashMap<String, Conduct>,
    /// Callers beyond the bound.
    more: BTreeSet<String>,
}

/// What one caller did.
#[derive(Debug)]
struct Conduct {
    caller: Caller,
    requests: u64,
    refused: u64,
    unrehearsed: u64,
    tokens: u64,
    tokens_failed: u64,
    served_with_token: u64,
    /// What it was refused and has not yet got with a token.
    missing: BTreeSet<String>,
    is_beyond_bound: bool,
    sequence: Vec<RehearsedRequest>,
    advice: Option<Advice>,
}

impl Verdicts {
    /// Takes in a request of the rehearsed cgroup; `is_rehearsed` says whether it reached the front.
    pub(crate) fn add(&mut self, event: &RequestEvent, is_rehearsed: bool) {
        let id = &event.caller.id;
        if !self.callers.contains_key(id) && self.callers.len() >= MAX_CALLERS {
            if self.more.len() < MAX_CALLERS {
                self.more.insert(id.clone());
            }
            return;
        }
        let conduct = self
            .callers
            .entry(id.clone())
            .or_insert_with(|| Conduct::of(Caller::clone(&event.caller)));
        if is_rehearsed {
            conduct.add(event);
        } else {
            conduct.unrehearsed += 1;
        }
    }

    /// Returns the callers, those that break first, and how many more there were.
    pub(crate) fn finish(self) -> (Vec<RehearsedCaller>, u64) {
        let mut callers: Vec<_> = self.callers.into_values().map(Conduct::finish).collect();
        callers.sort_by(|a, b| {
            (a.verdict, b.refused, &a.caller).cmp(&(b.verdict, a.refused, &b.caller))
        });
        (callers, self.more.len() as u64)
    }
}

impl Conduct {
    fn of(caller: Caller) -> Self {
        Self {
            caller,
            requests: 0,
            refused: 0,
            unrehearsed: 0,
            tokens: 0,
            tokens_failed: 0,
            served_with_token: 0,
            missing: BTreeSet::new(),
            is_beyond_bound: false,
            sequence: Vec::new(),
            advice: None,
        }
    }

    fn add(&mut self, event: &RequestEvent) {
        self.requests += 1;
        let (class, outcome) = (event.imds.class, event.imds.outcome);
        let path = event.http.as_ref().map(|http| http.path.as_str()).unwrap_or_default();
        let is_refusal = matches!(outcome, Outcome::Rejected | Outcome::Forbidden);
        match class {
            Class::V1 | Class::V2EmptyToken if is_refusal => {
                self.refused += 1;
                if self.missing.len() < MAX_PATHS {
                    self.missing.insert(key(path));
                } else {
                    self.is_beyond_bound = true;
                }
            }
            // A probe for another cloud expects to be refused.
            Class::Foreign if is_refusal => self.refused += 1,
            Class::V2Token if outcome == Outcome::Served => self.tokens += 1,
            Class::V2Token => self.tokens_failed += 1,
            // An answer of any other kind is what the caller gets without enforcement too.
            Class::V2 if is_answer(outcome) => {
                self.served_with_token += 1;
                self.missing.remove(&key(path));
            }
            _ => {}
        }
        if let Some(advice) = &event.advice {
            self.advice = Some(advice.clone());
        }
        if self.sequence.len() < MAX_SEQUENCE {
            let method = event.http.as_ref().map_or("", |http| http.method.as_str());
            self.sequence.push(RehearsedRequest {
                time: event.time,
                class,
                outcome,
                status: event.http.as_ref().and_then(|http| http.status),
                request: shorten(&format!("{method} {path}")),
                pid: event.process.pid,
            });
        }
    }

    fn finish(self) -> RehearsedCaller {
        let (verdict, reason) = self.verdict();
        let advice = self.advice.filter(|_| self.refused > 0);
        RehearsedCaller {
            caller: self.caller,
            verdict,
            reason,
            requests: self.requests,
            refused: self.refused,
            unrehearsed: self.unrehearsed,
            missing: self.missing.into_iter().collect(),
            sequence: self.sequence,
            advice,
        }
    }

    fn verdict(&self) -> (RehearsalVerdict, String) {
        let times = |count: u64| match count {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            count => format!("{count} times"),
        };
        if !self.missing.is_empty() || self.is_beyond_bound {
            let then = match (self.tokens, self.tokens_failed) {
                (0, 0) => "and never requested a token".to_owned(),
                (0, _) => "and got no token".to_owned(),
                (_, _) if self.served_with_token == 0 => {
                    "got a token, and was served nothing with it".to_owned()
                }
                _ => "got a token, and did not repeat the refused request with it".to_owned(),
            };
            return (
                RehearsalVerdict::Breaks,
                format!("was refused {}, {then}", times(self.refused)),
            );
        }
        if self.refused > 0 && self.served_with_token > 0 {
            return (
                RehearsalVerdict::Adapts,
                format!(
                    "was refused {}, then requested a token and continued",
                    times(self.refused)
                ),
            );
        }
        if self.served_with_token > 0 || (self.tokens > 0 && self.refused == 0) {
            return (
                RehearsalVerdict::Adapts,
                "used a token from its first request on, and was never refused".to_owned(),
            );
        }
        if self.tokens_failed > 0 {
            return (
                RehearsalVerdict::Breaks,
                format!("requested a token {} and got none", times(self.tokens_failed)),
            );
        }
        let why = match (self.requests, self.unrehearsed) {
            (0, 1..) => {
                "its requests did not reach the front: they went over connections that were open \
                 before, or from a network that has no front"
            }
            (0, 0) => "it made no request",
            _ => "it made no request that IMDSv2 enforcement concerns",
        };
        (RehearsalVerdict::NotExercised, why.to_owned())
    }
}

/// Returns whether the service took the token and answered: with what was asked for, or that there
/// is no such thing.
fn is_answer(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Served | Outcome::NotFound | Outcome::RefusedMethod | Outcome::Redirected => true,
        Outcome::Rejected
        | Outcome::Forbidden
        | Outcome::ClientError
        | Outcome::ServerError
        | Outcome::NoResponse
        | Outcome::Unobserved => false,
    }
}

/// Returns what makes two requests ask for the same: the path without its version, its query and
/// the slashes at its end. The version differs between SDK generations.
fn key(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = match path.find("://").filter(|_| !path.starts_with('/')) {
        Some(colon) => {
            let rest = path.get(colon + 3..).unwrap_or_default();
            rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
        }
        None => path,
    };
    let path = path.trim_matches('/');
    let rest = match path.split_once('/') {
        Some((version, rest)) if is_version(version) => rest,
        None if is_version(path) => "",
        _ => path,
    };
    shorten(&format!("/{rest}"))
}

fn is_version(segment: &str) -> bool {
    let is_date =
        segment.len() == 10 && segment.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    segment == "latest" || segment == "1.0" || is_date
}

fn shorten(text: &str) -> String {
    let mut end = text.len().min(MAX_PATH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
