//! Says why a caller still uses IMDSv1, in plain words, and what to do.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::class::{Class, Outcome};
use super::client::{Client, Support};

/// The number of callers that are remembered; beyond it the one that was silent for longest is
/// forgotten and starts anew.
pub const MAX_CALLERS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// What one request tells of its caller.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The request's class.
    pub class: Class,
    /// What came of it.
    pub outcome: Outcome,
    /// The time to live of the response.
    pub response_ttl: Option<u8>,
    /// Whether the caller shares the host's network; `None` where it is not known.
    pub host_network: Option<bool>,
    /// Whether the caller's command line names the token's header.
    pub names_token: bool,
    /// The software, by its user agent.
    pub client: Option<&'a Client>,
}

/// Why a caller uses IMDSv1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// It never asks for a token.
    NeverAsks {
        /// The software, if its user agent tells.
        client: Option<Client>,
    },
    /// It asks, gets no answer and falls back: the hop limit.
    Unanswered {
        /// The hop limit, as token responses to the host's own network showed it.
        hop_limit: Option<u8>,
        /// Whether the caller shares the host's network.
        host_network: Option<bool>,
    },
    /// It asks, is refused and falls back.
    Refused {
        /// How it was refused.
        outcome: Outcome,
    },
    /// It sends an empty token.
    EmptyToken,
}

/// Follows each caller from its requests to a diagnosis.
#[derive(Debug)]
pub struct Diagnostician<K: Hash + Eq> {
    callers: LruCache<K, Caller>,
    hop_limit: Option<u8>,
}

/// What is remembered of a caller.
#[derive(Debug, Default)]
struct Caller {
    /// What came of its last token request.
    asked: Option<Outcome>,
    empty_token: bool,
    host_network: Option<bool>,
    client: Option<Client>,
    cause: Option<Cause>,
}

/// The diagnosis without what is looked up when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NeverAsks,
    Unanswered,
    Refused(Outcome),
    EmptyToken,
}

impl<K: Hash + Eq> Default for Diagnostician<K> {
    fn default() -> Self {
        Self { callers: LruCache::new(MAX_CALLERS), hop_limit: None }
    }
}

impl<K: Hash + Eq> Diagnostician<K> {
    /// Takes in what one request tells.
    pub fn observe(&mut self, key: K, fact: &Fact<'_>) {
        if fact.class == Class::V2Token
            && fact.outcome == Outcome::Served
            && fact.host_network == Some(true)
        {
            self.hop_limit = fact.response_ttl.or(self.hop_limit);
        }
        self.callers.get_or_insert_mut(key, Caller::default).observe(fact);
    }

    /// Returns why a caller uses IMDSv1; `None` if it does not, or if nothing explains it.
    pub fn diagnosis(&self, key: &K) -> Option<Diagnosis> {
        let caller = self.callers.peek(key)?;
        Some(match caller.cause? {
            Cause::NeverAsks => Diagnosis::NeverAsks { client: caller.client.clone() },
            Cause::Unanswered => Diagnosis::Unanswered {
                hop_limit: self.hop_limit,
                host_network: caller.host_network,
            },
            Cause::Refused(outcome) => Diagnosis::Refused { outcome },
            Cause::EmptyToken => Diagnosis::EmptyToken,
        })
    }
}

impl Caller {
    fn observe(&mut self, fact: &Fact<'_>) {
        self.host_network = fact.host_network.or(self.host_network);
        match fact.class {
            Class::V2Token => {
                self.asked = Some(fact.outcome);
                // One that asks after all does not "never ask".
                self.cause = self.cause.filter(|cause| *cause != Cause::NeverAsks);
            }
            Class::V2EmptyToken => {
                self.empty_token = true;
                self.cause = Some(Cause::EmptyToken);
            }
            Class::V1 => {
                if let Some(client) = fact.client {
                    self.client = Some(client.clone());
                }
                self.cause = self.explain(fact).or(self.cause);
            }
            Class::V2 | Class::Foreign | Class::Unknown => {}
        }
    }

    /// Explains an IMDSv1 request by what came before it.
    fn explain(&self, fact: &Fact<'_>) -> Option<Cause> {
        if self.empty_token || fact.names_token {
            return Some(Cause::EmptyToken);
        }
        match self.asked {
            None => Some(Cause::NeverAsks),
            Some(Outcome::NoResponse) => Some(Cause::Unanswered),
            Some(refusal @ (Outcome::Forbidden | Outcome::NotFound | Outcome::RefusedMethod)) => {
                Some(Cause::Refused(refusal))
            }
            Some(_) => None,
        }
    }
}

impl Diagnosis {
    /// Says what to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NeverAsks { client: Some(client) } => match client.known().map(|k| k.support) {
                Some(Support::Since(first)) => {
                    format!(
                        "update {} to {first} or newer, the first that speaks IMDSv2",
                        client.name
                    )
                }
                _ => ASK.to_owned(),
            },
            Self::NeverAsks { client: None } => ASK.to_owned(),
            Self::Unanswered { host_network: Some(true), .. } => "the caller shares the host's \
                network, so the hop limit is not the cause: look for a packet filter or a proxy \
                that drops the answer to PUT"
                .to_owned(),
            Self::Unanswered { hop_limit: Some(limit), .. } => format!(
                "raise HttpPutResponseHopLimit, now {limit}, to {} or more",
                limit.saturating_add(1)
            ),
            Self::Unanswered { hop_limit: None, .. } => {
                "raise HttpPutResponseHopLimit to 2 or more".to_owned()
            }
            Self::Refused { .. } => "update or remove the proxy in between (kube2iam before \
                IMDSv2 support answers so), or enable the metadata endpoint"
                .to_owned(),
            Self::EmptyToken => "let the script stop when its token request fails, and find out \
                why it fails"
                .to_owned(),
        }
    }
}

const ASK: &str = "let it ask for a token (PUT /latest/api/token) and send it with each request, \
    or update the SDK that it uses";

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAsks { .. } => f.write_str("never asks for a token"),
            Self::Unanswered { host_network: Some(false), .. } => f.write_str(
                "asks for a token, gets no answer and falls back: it is a network hop away and \
                 the answer to a token request may not travel that far",
            ),
            Self::Unanswered { .. } => {
                f.write_str("asks for a token, gets no answer and falls back")
            }
            Self::Refused { outcome } => {
                write!(f, "asks for a token, is refused ({outcome}) and falls back")
            }
            Self::EmptyToken => f.write_str("sends an empty token: its token request failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(class: Class, outcome: Outcome) -> Fact<'static> {
        Fact {
            class,
            outcome,
            response_ttl: None,
            host_network: None,
            names_token: false,
            client: None,
        }
    }

    fn diagnosed(facts: &[Fact<'_>]) -> Option<Diagnosis> {
        let mut diagnostician = Diagnostician::default();
        for fact in facts {
            diagnostician.observe(1, fact);
        }
        diagnostician.diagnosis(&1)
    }

    const READ: Class = Class::V1;

    #[test]
    fn a_caller_without_a_token_request_never_asks() {
        let client = Client { name: "Boto3".into(), version: Some("1.9.200".into()) };
        let fact = Fact { client: Some(&client), ..fact(READ, Outcome::Served) };
        let diagnosis = diagnosed(&[fact]).unwrap();
        assert_eq!(diagnosis.to_string(), "never asks for a token");
        assert_eq!(
            diagnosis.advice(),
            "update Boto3 to 1.12.6 or newer, the first that speaks IMDSv2"
        );
    }

    #[test]
    fn a_fallback_after_silence_is_the_hop_limit() {
        let away = Fact { host_network: Some(false), ..fact(Class::V2Token, Outcome::NoResponse) };
        let mut diagnostician = Diagnostician::default();
        let near = Fact {
            host_network: Some(true),
            response_ttl: Some(1),
            ..fact(Class::V2Token, Outcome::Served)
        };
        diagnostician.observe(2, &near);
        diagnostician.observe(1, &away);
        assert_eq!(diagnostician.diagnosis(&1), None);
        diagnostician.observe(1, &fact(READ, Outcome::Served));
        let diagnosis = diagnostician.diagnosis(&1).unwrap();
        assert_eq!(
            diagnosis,
            Diagnosis::Unanswered { hop_limit: Some(1), host_network: Some(false) }
        );
        assert_eq!(diagnosis.advice(), "raise HttpPutResponseHopLimit, now 1, to 2 or more");
    }

    #[test]
    fn a_silence_in_the_hosts_own_network_is_not_the_hop_limit() {
        let silent = Fact { host_network: Some(true), ..fact(Class::V2Token, Outcome::NoResponse) };
        let diagnosis = diagnosed(&[silent, fact(READ, Outcome::Served)]).unwrap();
        assert!(diagnosis.advice().contains("not the cause"));
    }

    #[test]
    fn a_fallback_after_a_refusal_names_it() {
        for outcome in [Outcome::Forbidden, Outcome::NotFound, Outcome::RefusedMethod] {
            let facts = [fact(Class::V2Token, outcome), fact(READ, Outcome::Served)];
            assert_eq!(diagnosed(&facts), Some(Diagnosis::Refused { outcome }));
        }
    }

    #[test]
    fn an_empty_token_is_named_also_where_curl_dropped_the_header() {
        let wire = [fact(Class::V2EmptyToken, Outcome::Rejected)];
        assert_eq!(diagnosed(&wire), Some(Diagnosis::EmptyToken));
        let dropped = [Fact { names_token: true, ..fact(READ, Outcome::Served) }];
        assert_eq!(diagnosed(&dropped), Some(Diagnosis::EmptyToken));
    }

    #[test]
    fn a_caller_that_only_uses_tokens_has_no_diagnosis() {
        let facts = [
            fact(Class::V2Token, Outcome::Served),
            fact(Class::V2, Outcome::Served),
            fact(Class::Foreign, Outcome::NotFound),
            fact(Class::Unknown, Outcome::Unobserved),
        ];
        assert_eq!(diagnosed(&facts), None);
    }

    #[test]
    fn a_caller_that_asks_later_no_longer_never_asks() {
        let facts = [fact(READ, Outcome::Served), fact(Class::V2Token, Outcome::Served)];
        assert_eq!(diagnosed(&facts), None);
    }

    #[test]
    fn a_flood_of_callers_is_bounded() {
        let mut diagnostician = Diagnostician::default();
        for key in 0..MAX_CALLERS.get() + 1 {
            diagnostician.observe(key, &fact(READ, Outcome::Served));
        }
        assert_eq!(diagnostician.callers.len(), MAX_CALLERS.get());
        assert_eq!(diagnostician.diagnosis(&0), None);
    }
}
