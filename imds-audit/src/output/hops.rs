//! The hop limit, as token responses show it.

use std::fmt;

use crate::audit::class::{Class, Outcome};
use crate::audit::event::RequestEvent;

/// What token responses tell of the instance's `HttpPutResponseHopLimit`.
///
/// The service sends them with that time to live (EC2 User Guide, "Configure the instance
/// metadata options"), and each router on the way takes one off: in the host's own network it
/// arrives as it is, elsewhere at most as high.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hops {
    /// The latest in the host's own network; the option can be changed at any time.
    here: Option<u8>,
    /// The highest anywhere else.
    elsewhere: Option<u8>,
}

impl Hops {
    /// Takes in a request.
    pub fn add(&mut self, event: &RequestEvent) {
        if event.imds.class != Class::V2Token || event.imds.outcome != Outcome::Served {
            return;
        }
        if event.network.host_network == Some(true) {
            self.here = event.network.response_ttl.or(self.here);
        } else {
            self.elsewhere = self.elsewhere.max(event.network.response_ttl);
        }
    }
}

impl fmt::Display for Hops {
    /// Writes a line where there is something to tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.here, self.elsewhere) {
            (None, None) => Ok(()),
            (Some(limit), _) if limit <= 1 => writeln!(
                f,
                "hop limit: {limit}; a container in the host's network gets a token, one in a \
                 network of its own does not and may fall back to IMDSv1"
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
    use crate::audit::event::tests::example;

    const HOST: bool = true;
    const AWAY: bool = false;

    fn told(responses: &[(bool, Option<u8>)]) -> String {
        let mut hops = Hops::default();
        for (host, ttl) in responses {
            let mut event = example();
            event.imds.class = Class::V2Token;
            event.network.host_network = Some(*host);
            event.network.response_ttl = *ttl;
            hops.add(&event);
        }
        hops.to_string()
    }

    #[test]
    fn what_arrives_in_the_hosts_network_is_the_limit() {
        assert_eq!(
            told(&[(HOST, Some(1))]),
            "hop limit: 1; a container in the host's network gets a token, one in a network of \
             its own does not and may fall back to IMDSv1\n"
        );
        let two = "hop limit: 2; a container gets a token up to 1 hop away from the host's \
                   network\n";
        assert_eq!(told(&[(HOST, Some(2)), (AWAY, Some(1))]), two);
        assert_eq!(told(&[(HOST, Some(1)), (HOST, Some(2)), (HOST, None)]), two);
        assert!(told(&[(HOST, Some(64))]).contains("up to 63 hops away"));
    }

    #[test]
    fn what_arrives_elsewhere_is_a_lower_bound() {
        let told = told(&[(AWAY, Some(1)), (AWAY, Some(3)), (AWAY, Some(2))]);
        assert!(told.starts_with("hop limit: at least 3, as"), "{told}");
        assert!(told.ends_with("with 2 hops to spare\n"), "{told}");
    }

    #[test]
    fn only_served_token_requests_tell() {
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
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[(HOST, None)]), "");
    }
}
