//! The hop limit, as the time to live of token responses shows it.

use std::fmt;

use crate::event::{Class, Outcome, RelayPart, RequestEvent};

/// The highest hop limit that an instance can have.
pub(crate) const MAX_HOP_LIMIT: u8 = 64;
/// The lowest hop limit that lets a container in a network of its own have a token.
const CONTAINER_HOP_LIMIT: u8 = 2;

/// The instance's `HttpPutResponseHopLimit`, as far as token responses show it.
///
/// The service sends them with that time to live (EC2 User Guide, "Configure the instance
/// metadata options"), and each router on the way takes one off: in the host's own network it
/// arrives as it is, elsewhere at most as high.
///
/// A time to live of 64 or more is the default of an ordinary network stack: a relay or a
/// responder on this host sent the response. Outside the host's network it says nothing; in the
/// host's own network it may also be the highest limit there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hops {
    /// The latest in the host's own network; the option can be changed at any time.
    here: Option<u8>,
    /// The highest anywhere else.
    elsewhere: Option<u8>,
}

/// The hop limit that a caller further away needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// At least this one, which is higher than every limit that was seen to be set.
    AtLeast(u8),
    /// None is high enough: token responses already start at the highest limit, or a responder on
    /// this host sends them.
    Unreachable,
}

impl Hops {
    /// Takes in a request.
    pub(crate) fn add(&mut self, event: &RequestEvent) {
        if !shows_limit(event.imds.class, event.imds.outcome, event.relay) {
            return;
        }
        let Some(ttl) = event.network.response_ttl else { return };
        if event.network.host_network == Some(true) {
            self.here = Some(ttl);
        } else if ttl < MAX_HOP_LIMIT {
            self.elsewhere = self.elsewhere.max(Some(ttl));
        }
    }

    /// Returns the hop limit, where token responses in the host's own network show it.
    pub(crate) fn limit(&self) -> Option<u8> {
        self.here.filter(|ttl| *ttl < MAX_HOP_LIMIT)
    }

    /// Returns the hop limit that a caller needs whose token response was lost on its way: one
    /// more than the limit; where only responses in other networks were seen, one more than got
    /// them there, which is at least one hop from the service.
    pub(crate) fn needed(&self) -> Needed {
        let here = self.here.map(|limit| limit.saturating_add(1));
        let elsewhere = self.elsewhere.map(|ttl| ttl.saturating_add(2));
        match here.max(elsewhere).unwrap_or(CONTAINER_HOP_LIMIT).max(CONTAINER_HOP_LIMIT) {
            limit if limit <= MAX_HOP_LIMIT => Needed::AtLeast(limit),
            _ => Needed::Unreachable,
        }
    }
}

/// Returns whether the time to live of a response shows the hop limit: that of a token, which no
/// relay on this host sent.
pub(crate) fn shows_limit(class: Class, outcome: Outcome, relay: Option<RelayPart>) -> bool {
    class == Class::V2Token && outcome == Outcome::Served && relay != Some(RelayPart::Relayed)
}

impl fmt::Display for Hops {
    /// Writes a line where there is something to report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.here, self.elsewhere) {
            (None, None) => Ok(()),
            (Some(limit), _) if limit <= 1 => writeln!(
                f,
                "hop limit: {limit}; a container in the host's network gets a token, one in a \
                 network of its own does not and may fall back to IMDSv1"
            ),
            (Some(ttl), _) if ttl >= MAX_HOP_LIMIT => writeln!(
                f,
                "hop limit: {MAX_HOP_LIMIT}, or not known: token responses arrive with a time to \
                 live of {ttl}, which is also that of a relay on this host"
            ),
            (Some(limit), _) => writeln!(
                f,
                "hop limit: {limit}; a container gets a token up to {} away from the host's \
                 network",
                hops(limit - 1)
            ),
            (None, Some(left)) => writeln!(
                f,
                "hop limit: at least {left}, as no token response was seen in the host's own \
                 network; those of other networks arrived with {} to spare",
                hops(left.saturating_sub(1))
            ),
        }
    }
}

fn hops(count: u8) -> String {
    if count == 1 { "1 hop".to_owned() } else { format!("{count} hops") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::example;

    const HOST: bool = true;
    const AWAY: bool = false;

    fn line(responses: &[(bool, Option<u8>)]) -> String {
        after(responses).to_string()
    }

    fn after(responses: &[(bool, Option<u8>)]) -> Hops {
        let mut hops = Hops::default();
        for (host, ttl) in responses {
            let mut event = example();
            event.imds.class = Class::V2Token;
            event.network.host_network = Some(*host);
            event.network.response_ttl = *ttl;
            hops.add(&event);
        }
        hops
    }

    #[test]
    fn what_arrives_in_the_hosts_network_is_the_limit() {
        assert_eq!(
            line(&[(HOST, Some(1))]),
            "hop limit: 1; a container in the host's network gets a token, one in a network of \
             its own does not and may fall back to IMDSv1\n"
        );
        let two = "hop limit: 2; a container gets a token up to 1 hop away from the host's \
                   network\n";
        assert_eq!(line(&[(HOST, Some(2)), (AWAY, Some(1))]), two);
        assert_eq!(line(&[(HOST, Some(1)), (HOST, Some(2)), (HOST, None)]), two);
        assert!(line(&[(HOST, Some(63))]).contains("up to 62 hops away"));
    }

    #[test]
    fn what_arrives_elsewhere_is_a_lower_bound() {
        let line = line(&[(AWAY, Some(1)), (AWAY, Some(3)), (AWAY, Some(2))]);
        assert!(line.starts_with("hop limit: at least 3, as"), "{line}");
        assert!(line.ends_with("with 2 hops to spare\n"), "{line}");
    }

    #[test]
    fn the_time_to_live_of_a_responder_on_this_host_is_not_taken_for_the_limit() {
        for ttl in [64, 128, 255] {
            assert_eq!(line(&[(AWAY, Some(ttl))]), "");
            assert!(line(&[(HOST, Some(ttl))]).contains("or not known"));
            assert_eq!(after(&[(HOST, Some(ttl))]).limit(), None);
        }
        let line = line(&[(AWAY, Some(2)), (AWAY, Some(64))]);
        assert!(line.starts_with("hop limit: at least 2, as"), "{line}");
    }

    #[test]
    fn a_caller_further_away_needs_more_than_was_seen_anywhere() {
        use Needed::{AtLeast, Unreachable};
        for (responses, expected) in [
            (&[][..], AtLeast(2)),
            (&[(HOST, Some(1))], AtLeast(2)),
            (&[(HOST, Some(2))], AtLeast(3)),
            (&[(HOST, Some(63))], AtLeast(64)),
            (&[(HOST, Some(64))], Unreachable),
            (&[(HOST, Some(255))], Unreachable),
            // One hop away with one left, so the limit is two at least.
            (&[(AWAY, Some(1))], AtLeast(3)),
            (&[(AWAY, Some(3)), (AWAY, Some(1))], AtLeast(5)),
            (&[(HOST, Some(2)), (AWAY, Some(1))], AtLeast(3)),
            (&[(AWAY, Some(64))], AtLeast(2)),
            (&[(AWAY, Some(63))], Unreachable),
        ] {
            assert_eq!(after(responses).needed(), expected, "{responses:?}");
        }
    }

    #[test]
    fn only_served_token_requests_count() {
        let mut hops = Hops::default();
        let mut event = example();
        hops.add(&event);
        event.imds.class = Class::V2Token;
        event.imds.outcome = Outcome::Forbidden;
        hops.add(&event);
        assert_eq!(hops.to_string(), "");
    }

    #[test]
    fn nothing_seen_is_nothing_said() {
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[(HOST, None)]), "");
    }
}
