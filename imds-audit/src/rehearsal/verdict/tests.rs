use std::sync::Arc;

use super::*;
use crate::event::tests::example;

/// Class, outcome, path.
type Made = (Class, Outcome, &'static str);

const ROLE: &str = "/latest/meta-data/iam/security-credentials/app";

fn request((class, outcome, path): Made) -> RequestEvent {
    let mut event = example();
    event.imds.class = class;
    event.imds.outcome = outcome;
    if let Some(http) = &mut event.http {
        http.path = path.to_owned();
    }
    event
}

fn judged(made: &[Made]) -> RehearsedCaller {
    let mut verdicts = Verdicts::default();
    for &made in made {
        verdicts.add(&request(made), true);
    }
    let (mut callers, more) = verdicts.finish();
    assert_eq!((callers.len(), more), (1, 0));
    callers.remove(0)
}

#[test]
fn a_caller_adapts_when_it_gets_with_a_token_what_it_was_refused() {
    use Class::{V1, V2, V2Token};
    use Outcome::{NotFound, Rejected, Served};
    for made in [
        &[(V1, Rejected, ROLE), (V2Token, Served, "/latest/api/token"), (V2, Served, ROLE)][..],
        // Another version of the path, a slash at its end.
        &[
            (V1, Rejected, "/2009-04-04/meta-data/instance-id"),
            (V2Token, Served, "/latest/api/token"),
            (V2, Served, "/latest/meta-data/instance-id/"),
        ],
        &[(V1, Rejected, ROLE), (V2Token, Served, "/t"), (V2, NotFound, ROLE)],
        &[(V2Token, Served, "/latest/api/token"), (V2, Served, ROLE)],
        &[(V2, Served, ROLE)],
    ] {
        let caller = judged(made);
        assert_eq!(caller.verdict, RehearsalVerdict::Adapts, "{made:?} {caller:?}");
        assert!(caller.missing.is_empty());
        assert_eq!(caller.sequence.len(), made.len());
    }
}

#[test]
fn a_caller_breaks_when_it_lacks_what_it_was_refused() {
    use Class::{V1, V2, V2EmptyToken, V2Token};
    use Outcome::{Forbidden, NoResponse, Rejected, Served};
    for (made, words) in [
        (&[(V1, Rejected, ROLE)][..], "never requested a token"),
        (
            &[(V1, Rejected, ROLE), (V2Token, NoResponse, "/t"), (V1, Rejected, ROLE)],
            "got no token",
        ),
        (&[(V2EmptyToken, Rejected, ROLE)], "never requested a token"),
        (&[(V1, Rejected, ROLE), (V2Token, Served, "/t")], "was served nothing with it"),
        // One of its parts uses tokens, another does not.
        (
            &[
                (V2Token, Served, "/t"),
                (V2, Served, ROLE),
                (V1, Rejected, "/latest/meta-data/instance-id"),
            ],
            "did not repeat the refused request",
        ),
        (&[(V2Token, NoResponse, "/t")], "requested a token once and got none"),
        (&[(V2Token, Forbidden, "/t"), (V1, Forbidden, ROLE)], "got no token"),
    ] {
        let caller = judged(made);
        assert_eq!(caller.verdict, RehearsalVerdict::Breaks, "{made:?} {caller:?}");
        assert!(caller.reason.contains(words), "{made:?} {}", caller.reason);
    }
}

#[test]
fn what_did_not_meet_enforcement_is_not_exercised() {
    use Class::{Foreign, Unknown, V1};
    use Outcome::{Rejected, Served, Unobserved};
    for made in [
        &[(Foreign, Rejected, "/computeMetadata/v1/")][..],
        &[(Unknown, Unobserved, "")],
        &[(V1, Unobserved, ROLE)],
    ] {
        let caller = judged(made);
        assert_eq!(caller.verdict, RehearsalVerdict::NotExercised, "{made:?} {caller:?}");
    }
    let mut verdicts = Verdicts::default();
    verdicts.add(&request((V1, Served, ROLE)), false);
    let (callers, _) = verdicts.finish();
    assert_eq!(callers[0].verdict, RehearsalVerdict::NotExercised);
    assert_eq!((callers[0].requests, callers[0].unrehearsed), (0, 1));
    assert!(callers[0].reason.contains("open before"), "{}", callers[0].reason);
}

#[test]
fn callers_and_paths_are_bounded_and_nothing_passes_for_adapted_at_the_bound() {
    let mut verdicts = Verdicts::default();
    for number in 0..MAX_PATHS + 1 {
        let mut event = request((Class::V1, Outcome::Rejected, ROLE));
        event.http.as_mut().unwrap().path = format!("/latest/{number}");
        verdicts.add(&event, true);
        event.imds.class = Class::V2;
        event.imds.outcome = Outcome::Served;
        if number < MAX_PATHS {
            continue;
        }
        for got in 0..MAX_PATHS {
            event.http.as_mut().unwrap().path = format!("/latest/{got}");
            verdicts.add(&event, true);
        }
    }
    let (callers, _) = verdicts.finish();
    assert_eq!(callers[0].verdict, RehearsalVerdict::Breaks);
    assert_eq!(callers[0].sequence.len(), MAX_SEQUENCE);

    let mut verdicts = Verdicts::default();
    for number in 0..MAX_CALLERS + 3 {
        let mut event = request((Class::V1, Outcome::Rejected, ROLE));
        event.caller = Arc::new(Caller { id: number.to_string(), ..Caller::default() });
        verdicts.add(&event, true);
        verdicts.add(&event, true);
    }
    let (callers, more) = verdicts.finish();
    assert_eq!((callers.len(), more), (MAX_CALLERS, 3));
}

#[test]
fn paths_are_compared_without_version_query_and_slashes() {
    for (path, expected) in [
        ("/latest/meta-data/", "/meta-data"),
        ("/2021-03-23/meta-data/a?x=1", "/meta-data/a"),
        ("http://169.254.169.254/latest/user-data", "/user-data"),
        ("/latest", "/"),
        ("/", "/"),
        ("/meta-data/x", "/meta-data/x"),
    ] {
        assert_eq!(key(path), expected);
    }
}
