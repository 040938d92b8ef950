use std::sync::Arc;

use super::*;
use crate::audit::event::tests::example;

const READ: Class = Class::V1;

/// A request of curl under one shell, in the host's network.
fn event(class: Class, outcome: Outcome) -> RequestEvent {
    let mut event = example();
    event.imds.class = class;
    event.imds.outcome = outcome;
    event.network.host_network = Some(true);
    event
}

/// The same from a network namespace of its own.
fn away(class: Class, outcome: Outcome) -> RequestEvent {
    let mut event = event(class, outcome);
    event.network.host_network = Some(false);
    event
}

/// The same from another process of the same program.
fn of_process(pid: u32, mut event: RequestEvent) -> RequestEvent {
    Arc::make_mut(&mut event.process).pid = Some(pid);
    event
}

/// The same from a client with this user agent.
fn by(user_agent: &str, mut event: RequestEvent) -> RequestEvent {
    event.client = Client::recognise(Some(user_agent.as_bytes()), None, None);
    event
}

fn observe(diagnostician: &mut Diagnostician, event: &RequestEvent) -> Option<Diagnosis> {
    diagnostician.observe(event, event.process.pid.map(|pid| (pid, 1)))
}

/// Gives the diagnosis of the last of these requests.
fn diagnosed(events: &[RequestEvent]) -> Option<Diagnosis> {
    let mut diagnostician = Diagnostician::default();
    events.iter().map(|event| observe(&mut diagnostician, event)).last().unwrap()
}

#[test]
fn a_caller_without_a_token_request_never_asks() {
    assert_eq!(diagnosed(&[event(READ, Outcome::Served)]), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_fallback_after_silence_is_the_hop_limit_that_was_seen() {
    let mut near = of_process(1, event(Class::V2Token, Outcome::Served));
    near.network.response_ttl = Some(1);
    Arc::make_mut(&mut near.process).unit = None;
    let events = [near, away(Class::V2Token, Outcome::NoResponse), away(READ, Outcome::Served)];
    let expected = Diagnosis::Unanswered { hop_limit: Some(1), host_network: Some(false) };
    assert_eq!(diagnosed(&events), Some(expected));
}

#[test]
fn a_token_response_that_came_over_hops_does_not_tell_the_hop_limit() {
    let mut far = of_process(1, away(Class::V2Token, Outcome::Served));
    far.network.response_ttl = Some(1);
    Arc::make_mut(&mut far.process).unit = None;
    let events = [far, away(Class::V2Token, Outcome::NoResponse), away(READ, Outcome::Served)];
    let expected = Diagnosis::Unanswered { hop_limit: None, host_network: Some(false) };
    assert_eq!(diagnosed(&events), Some(expected));
}

#[test]
fn a_silence_in_the_hosts_own_network_is_known_as_such() {
    let events = [event(Class::V2Token, Outcome::NoResponse), event(READ, Outcome::Served)];
    let expected = Diagnosis::Unanswered { hop_limit: None, host_network: Some(true) };
    assert_eq!(diagnosed(&events), Some(expected));
}

#[test]
fn a_fallback_after_a_refusal_names_it() {
    for outcome in [
        Outcome::Forbidden,
        Outcome::NotFound,
        Outcome::RefusedMethod,
        Outcome::ClientError,
        Outcome::ServerError,
    ] {
        let events = [event(Class::V2Token, outcome), event(READ, Outcome::Served)];
        assert_eq!(diagnosed(&events), Some(Diagnosis::Refused { outcome }));
    }
}

#[test]
fn an_empty_token_is_named_also_where_curl_dropped_the_header() {
    let wire = [event(Class::V2EmptyToken, Outcome::Rejected)];
    assert_eq!(diagnosed(&wire), Some(Diagnosis::EmptyToken));
    let mut dropped = event(READ, Outcome::Served);
    Arc::make_mut(&mut dropped.process).args =
        Some(vec!["curl".into(), "-H".into(), "X-aws-ec2-metadata-token: ".into()]);
    assert_eq!(diagnosed(&[dropped]), Some(Diagnosis::EmptyToken));
}

#[test]
fn a_one_liner_that_asks_and_falls_back_did_not_send_an_empty_token() {
    let mut read = event(READ, Outcome::Served);
    Arc::make_mut(&mut read.process).args =
        Some(vec!["python3".into(), "-c".into(), "h={'X-aws-ec2-metadata-token': t}".into()]);
    let events = [event(Class::V2Token, Outcome::NotFound), read];
    let expected = Diagnosis::Refused { outcome: Outcome::NotFound };
    assert_eq!(diagnosed(&events), Some(expected));
}

#[test]
fn the_processes_of_one_script_are_one_caller() {
    let events = [
        of_process(1, event(Class::V2Token, Outcome::Forbidden)),
        of_process(2, event(READ, Outcome::Served)),
    ];
    let expected = Diagnosis::Refused { outcome: Outcome::Forbidden };
    assert_eq!(diagnosed(&events), Some(expected));
}

#[test]
fn an_old_sdk_is_not_taken_for_its_neighbour_that_asks() {
    let events = [
        of_process(1, by("Boto3/1.44.5", event(Class::V2Token, Outcome::Forbidden))),
        of_process(2, by("Boto3/1.9.200", event(READ, Outcome::Served))),
    ];
    assert_eq!(diagnosed(&events), Some(Diagnosis::NeverAsks));
}

#[test]
fn a_client_without_a_user_agent_is_explained_by_its_own_requests() {
    let mut events = [
        event(Class::V2Token, Outcome::NotFound),
        of_process(9, event(Class::V2Token, Outcome::Served)),
        event(READ, Outcome::Served),
    ];
    events.iter_mut().for_each(|event| event.client = None);
    let expected = Diagnosis::Refused { outcome: Outcome::NotFound };
    assert_eq!(diagnosed(&events), Some(expected));
}

#[test]
fn a_token_that_is_not_used_is_named() {
    let events = [event(Class::V2Token, Outcome::Served), event(READ, Outcome::Served)];
    assert_eq!(diagnosed(&events), Some(Diagnosis::Unused));
}

#[test]
fn a_token_request_whose_answer_was_not_observed_explains_nothing() {
    let events = [event(Class::V2Token, Outcome::Unobserved), event(READ, Outcome::Served)];
    assert_eq!(diagnosed(&events), None);
}

#[test]
fn requests_with_a_token_have_no_diagnosis() {
    for (class, outcome) in [
        (Class::V2Token, Outcome::Served),
        (Class::V2Token, Outcome::NoResponse),
        (Class::V2, Outcome::Served),
        (Class::Foreign, Outcome::NotFound),
        (Class::Unknown, Outcome::Unobserved),
    ] {
        assert_eq!(diagnosed(&[event(class, outcome)]), None, "{class}");
    }
}

#[test]
fn a_flood_of_callers_is_bounded() {
    let mut diagnostician = Diagnostician::default();
    for pid in 0..5000 {
        let mut event = of_process(pid, event(Class::V2Token, Outcome::Served));
        Arc::make_mut(&mut event.process).name = Some(pid.to_string());
        observe(&mut diagnostician, &event);
    }
    assert_eq!(diagnostician.processes.len(), MAX_CALLERS.get());
    assert_eq!(diagnostician.programs.len(), MAX_CALLERS.get());
}

#[test]
fn each_caller_that_is_forgotten_is_counted() {
    let mut diagnostician = Diagnostician::default();
    let asks = |pid: u32| {
        let mut event = of_process(pid, event(Class::V2Token, Outcome::Served));
        Arc::make_mut(&mut event.process).name = Some(pid.to_string());
        event
    };
    let most = u32::try_from(MAX_CALLERS.get()).unwrap();
    for pid in 0..most {
        observe(&mut diagnostician, &asks(pid));
    }
    // Asking again makes nobody be forgotten.
    observe(&mut diagnostician, &asks(most - 1));
    assert_eq!(diagnostician.forgotten(), 0);
    for pid in most..most + 10 {
        observe(&mut diagnostician, &asks(pid));
    }
    // As a process and as a program.
    assert_eq!(diagnostician.forgotten(), 2 * 10);
}
