//! Comparison of a live run's requests with those of a replay.

use std::fmt::Debug;

use imds_audit::event::{RequestEvent, SourceKind, Time};
use imds_audit_tests::Events;

/// Asserts that a replay has the requests of a live run: each with its class, its outcome and its
/// time, and, of this program's own capture, with its process.
pub(super) fn assert_agree(name: &str, live: &Events, replayed: &Events) {
    let is_of_capture = |source| source == Some(SourceKind::Capture);
    assert!(replayed.iter().all(|event| is_of_capture(event.origin.source)), "{name}");
    let (live, replayed) = (by_time(live), by_time(replayed));
    assert_eq!(live.len(), replayed.len(), "{name}: {replayed:#?}");
    for (live, replayed) in live.iter().zip(&replayed) {
        assert_eq!(essence(live), essence(replayed), "{name}");
        assert_near(live.time, replayed.time);
        if name == "capture" {
            // Each of the two read procfs in its own time.
            assert_eq!(caller(live), caller(replayed));
            let start = |request: &RequestEvent| request.process.start_time.unwrap();
            assert_near(start(live), start(replayed));
            assert_eq!(live.network, replayed.network);
        }
    }
}

fn by_time(events: &Events) -> Vec<RequestEvent> {
    let mut requests = events.requests();
    requests.sort_by_key(|request| request.time);
    requests
}

/// What two records of the same request agree on.
fn essence(request: &RequestEvent) -> impl PartialEq + Debug {
    let RequestEvent { imds, http, network, .. } = request;
    (
        (imds.class, imds.operation, imds.resource, imds.outcome, &imds.endpoint),
        http.as_ref().map(|http| (&http.method, &http.path, http.status, &http.user_agent)),
        (&network.source, network.response_ttl),
    )
}

/// What a capture has of the process that made a request.
fn caller(request: &RequestEvent) -> impl PartialEq + Debug {
    let process = &request.process;
    (process.pid, process.tid, &process.name, &process.args, process.attribution)
}

/// Asserts that two times are the same, as far as two programs read one clock alike.
fn assert_near(one: Time, other: Time) {
    let apart = one.0.duration_since(other.0).abs();
    assert!(apart.as_millis() < 50, "{one} and {other}");
}
