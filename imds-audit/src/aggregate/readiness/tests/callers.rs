//! Callers: who is in the way, and who goes on working.

use super::*;
use crate::event::{Advice, RelayPart, RequestEvent};

#[test]
fn any_request_without_a_token_makes_a_host_not_ready_whatever_else_holds() {
    for class in [Class::V1, Class::V2EmptyToken] {
        let mut story = covered();
        story.request(DAY - 1, class, "bad").tallies(DAY..=DAY);
        assert_eq!(verdict(&story), (Verdict::NotReady, vec![ReasonCode::V1]), "{class}");
    }
    let mut short = Story::start("a", "r", 0);
    short.request(1, Class::V1, "bad");
    let (verdict, reasons) = verdict(&short);
    assert_eq!((verdict, reasons[0]), (Verdict::NotReady, ReasonCode::V1));
}

#[test]
fn requests_that_the_end_of_a_run_counts_and_no_line_names_make_it_not_ready() {
    let mut story = Story::start("a", "r", 0);
    let mut totals = Totals::default();
    totals.classes.entry(Class::V1).or_default().insert(Outcome::Served, 2);
    story.push(StopEvent {
        time: time(DAY),
        reason: StopReason::Signal,
        duration_us: DAY as u64 * 1_000_000,
        totals,
        losses: Vec::new(),
        checkpoints: Vec::new(),
    });
    assert_eq!(verdict(&story), (Verdict::NotReady, vec![ReasonCode::UnlistedV1]));
}

/// A v1 request whose advice has this cause.
fn caused(cause: &str) -> RequestEvent {
    let mut event = example();
    event.time = time(DAY - 1);
    event.imds.class = Class::V1;
    event.caller = Arc::new(Caller { id: "x".into(), title: "x".into(), home: None });
    let advice = serde_json::json!({"cause": cause, "reason": "r", "text": "t", "command": null});
    event.advice = Some(serde_json::from_value::<Advice>(advice).unwrap());
    event
}

fn with_cause(story: &mut Story, cause: &str) {
    story.push(caused(cause));
}

#[test]
fn a_caller_that_a_rehearsal_saw_adapt_does_not_block_and_one_that_broke_does() {
    let rehearse = |class: Class, second: i64| {
        let mut other = Story::start("a", "r", 0);
        other.request(second, class, "bad");
        let mut line = serde_json::to_value(&other.events[1]).unwrap();
        line["rehearsal"] = true.into();
        line.to_string().into_bytes()
    };
    for (rehearsal, expected, status) in [
        (
            vec![rehearse(Class::V1, 5), rehearse(Class::V2, 6)],
            Verdict::Ready,
            CallerStatus::Adapts,
        ),
        (vec![rehearse(Class::V1, 5)], Verdict::NotReady, CallerStatus::Breaks),
        (vec![], Verdict::NotReady, CallerStatus::Blocks),
    ] {
        let mut story = covered();
        story.request(DAY - 1, Class::V1, "bad").tallies(DAY..=DAY);
        let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
        story.lines().iter().chain(&rehearsal).for_each(|line| evidence.add(Some(line)));
        let report = a_day().answer(&evidence);
        let bad = report.callers.iter().find(|caller| caller.id == "bad").unwrap();
        assert_eq!((report.verdict, bad.status), (expected, status));
        assert_eq!(bad.without_token, 1);
    }
}

#[test]
fn a_rehearsal_is_no_run_of_its_host_and_no_host_of_its_own() {
    let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
    covered().lines().iter().for_each(|line| evidence.add(Some(line)));
    for (host, run) in [("a", "rehearsed"), ("b", "rehearsed too")] {
        let mut other = Story::start(host, run, 0);
        other.request(5, Class::V2, "good");
        let mut line = serde_json::to_value(&other.events[1]).unwrap();
        line["rehearsal"] = true.into();
        evidence.add(Some(line.to_string().as_bytes()));
    }
    assert_eq!(evidence.runs.len(), 1);
    let report = a_day().answer(&evidence);
    assert_eq!((report.verdict, report.hosts.len()), (Verdict::Ready, 1));
    assert_eq!(report.hosts[0].overlapping_runs, 0);
}

#[test]
fn a_caller_that_was_seen_to_adapt_does_not_block_but_for_what_it_did_not_adapt() {
    // The rejected request has no cause yet that its repetition could give it.
    for (causes, expected) in [
        (&["never-asks", "prefers-v1"][..], Verdict::Ready),
        (&["never-asks", "never-asks", "prefers-v1"], Verdict::NotReady),
        (&["prefers-v1", "unanswered"], Verdict::NotReady),
    ] {
        let mut story = Story::start("a", "r", 0);
        causes.iter().for_each(|cause| with_cause(&mut story, cause));
        story.stop(DAY, DAY);
        let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
        story.lines().iter().for_each(|line| evidence.add(Some(line)));
        assert_eq!(a_day().answer(&evidence).verdict, expected, "{causes:?}");
    }
}

#[test]
fn an_ordinary_cause_blocks() {
    let mut story = covered();
    with_cause(&mut story, "never-asks");
    story.tallies(DAY..=DAY);
    assert_eq!(verdict(&story).0, Verdict::NotReady);
}

#[test]
fn a_caller_of_which_something_is_unexplained_blocks() {
    // Requests without advice, and causes beyond the bound on them, may be of any cause.
    let beyond = crate::aggregate::causes::MAX_ADVICE + 1;
    let advised = |number: usize| {
        let mut event = caused("prefers-v1");
        event.client.as_mut().unwrap().name = number.to_string();
        event
    };
    let (few, many) = ((0..3).map(advised), (0..beyond).map(advised));
    let silent = RequestEvent { advice: None, ..caused("prefers-v1") };
    for (events, expected) in [
        (few.clone().collect::<Vec<_>>(), Verdict::Ready),
        (few.chain([silent]).collect(), Verdict::NotReady),
        (many.collect(), Verdict::NotReady),
    ] {
        let mut story = Story::start("a", "r", 0);
        events.into_iter().for_each(|event| story.push(event));
        // The same from requests and from tallies.
        let mut tallied = Story::start("a", "r", 0);
        tallied.windows = story.windows.clone();
        tallied.tallies(DAY..=DAY);
        story.stop(DAY, DAY);
        for story in [&story, &tallied] {
            assert_eq!(report(&a_day(), &[story]).verdict, expected);
        }
    }
}

#[test]
fn advice_counts_once_in_a_run_that_has_requests_and_tallies_of_them() {
    let mut story = Story::start("a", "r", 0);
    with_cause(&mut story, "never-asks");
    with_cause(&mut story, "unanswered");
    story.tallies(DAY..=DAY);
    let report = report(&a_day(), &[&story]);
    let counts: Vec<u64> = report.callers[0].advice.iter().map(|advice| advice.requests).collect();
    assert_eq!((counts, report.callers[0].without_token), (vec![1, 1], 2));
}

#[test]
fn a_repetition_by_a_relay_counts_nowhere() {
    let mut story = Story::start("a", "r", 0);
    story.push(caused("never-asks"));
    story.push(RequestEvent { relay: Some(RelayPart::Repetition), ..caused("never-asks") });
    story.stop(DAY, DAY);
    let report = report(&a_day(), &[&story]);
    assert_eq!((report.requests, report.callers[0].without_token), (1, 1));
}

#[test]
fn credentials_come_before_more_requests_of_others() {
    let mut story = covered();
    for _ in 0..9 {
        story.request(DAY - 2, Class::V1, "many");
    }
    story.request_for(DAY - 1, Class::V1, "credentials", Resource::Credentials);
    story.tallies(DAY..=DAY);
    let report = report(&a_day(), &[&story]);
    let callers: Vec<_> = report.callers.iter().map(|caller| caller.id.as_str()).collect();
    assert_eq!(callers, ["credentials", "many", "good"]);
}
