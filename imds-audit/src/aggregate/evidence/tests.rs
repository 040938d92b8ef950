mod laws;

use std::sync::Arc;

use super::*;
use crate::aggregate::window::Windows;
use crate::event::{Caller, Class, Origin, Outcome, StartEvent, tests::example};

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

fn origin(host: &str, run: &str) -> Arc<Origin> {
    let identity = HostIdentity { name: Some(host.to_owned()), id: None };
    Arc::new(Origin { host: Some(identity), run: Some(run.to_owned()), ..Origin::default() })
}

fn request(second: i64, class: Class, caller: &str) -> Event {
    let mut event = example();
    event.time = time(second);
    event.imds.class = class;
    event.imds.outcome = Outcome::Served;
    event.caller = Arc::new(Caller { id: caller.to_owned(), title: caller.to_owned(), home: None });
    Event { origin: origin("a", "r"), ..Event::from(event) }
}

fn lines(events: &[Event]) -> Vec<Vec<u8>> {
    events.iter().map(|event| serde_json::to_vec(event).unwrap()).collect()
}

fn evidence(lines: &[Vec<u8>]) -> Evidence {
    let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
    lines.iter().for_each(|line| evidence.add(Some(line)));
    evidence
}

/// A run of two windows and requests behind the second one.
fn tallied_run() -> Vec<Event> {
    let start = StartEvent {
        time: time(0),
        boot: None,
        container_start: None,
        kernel: None,
        architecture: None,
        version: String::new(),
        programs: Vec::new(),
        endpoints: Vec::new(),
        fallbacks: Vec::new(),
        netns: None,
    };
    let mut windows = Windows::new(time(0));
    let mut events = vec![Event { origin: origin("a", "r"), ..Event::from(start) }];
    for window in 0..2 {
        for second in 0..5 {
            let event = request(window * 10 + second, Class::V1, "script");
            windows.add(&event);
            events.push(event);
        }
        let tally = windows.close(time(window * 10 + 10), false);
        events.push(Event { origin: origin("a", "r"), ..Event::from(tally) });
    }
    events.push(request(25, Class::V1, "script"));
    events
}

fn v1(evidence: &Evidence) -> u64 {
    let sums = evidence.runs.iter().map(|(_, run)| run.sums().into_owned());
    sums.map(|sums| crate::aggregate::callers::of_class(&sums.classes, Class::V1)).sum()
}

#[test]
fn a_request_in_a_window_counts_once_and_one_behind_the_last_window_too() {
    let lines = lines(&tallied_run());
    assert_eq!(v1(&evidence(&lines)), 11);
}

#[test]
fn wherever_a_file_is_cut_for_two_threads_counts_are_the_same() {
    let lines = lines(&tallied_run());
    for cut in 0..=lines.len() {
        let windows = KnownWindows::default();
        let mut parts = [&lines[..cut], &lines[cut..]].map(|part| {
            let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, windows.clone());
            part.iter().for_each(|line| evidence.add(Some(line)));
            evidence
        });
        if cut % 2 == 0 {
            parts.reverse();
        }
        let [mut whole, other] = parts;
        whole.merge(other);
        assert_eq!(v1(&whole), 11, "{cut}");
        assert_eq!(whole.callers.len(), 1);
        assert_eq!(whole.input.events, 14);
    }
}

#[test]
fn a_window_that_two_files_have_counts_once() {
    let mut twice = lines(&tallied_run()[..12]);
    twice.extend(lines(&tallied_run()[6..7]));
    let evidence = evidence(&twice);
    assert_eq!(evidence.input.duplicates, 1);
    assert_eq!(v1(&evidence), 10);
}

#[test]
fn callers_beyond_the_bound_are_counted_without_a_name() {
    let mut evidence = Evidence::new(Bounds::default(), 3, KnownWindows::default());
    for number in 0..10 {
        let line = serde_json::to_vec(&request(number, Class::V1, &number.to_string())).unwrap();
        evidence.add(Some(&line));
    }
    assert_eq!((v1(&evidence), evidence.callers.len()), (10, 3));
    let (_, run) = &evidence.runs[0];
    assert_eq!(crate::aggregate::callers::of_class(&run.sums().others, Class::V1), 7);
}

#[test]
fn whatever_is_no_event_is_counted_and_changes_nothing_else() {
    let mut mixed = lines(&tallied_run());
    let torn = mixed[1][..40].to_vec();
    mixed.extend([b"hello".to_vec(), b"{\"a\":1}".to_vec(), torn, b"".to_vec()]);
    let mut evidence = evidence(&mixed);
    evidence.add(None);
    assert_eq!((evidence.input.foreign, evidence.input.malformed), (2, 1));
    assert_eq!((evidence.input.too_long, v1(&evidence)), (1, 11));
}

#[test]
fn lines_outside_the_time_asked_for_are_left_out() {
    let bounds = Bounds { since: Some(time(2)), until: Some(time(4)) };
    let mut evidence = Evidence::new(bounds, MAX_CALLERS, KnownWindows::default());
    for second in 0..10 {
        let line = serde_json::to_vec(&request(second, Class::V1, "x")).unwrap();
        evidence.add(Some(&line));
    }
    assert_eq!((v1(&evidence), evidence.input.outside), (2, 8));
}

#[test]
fn a_host_is_one_by_its_instance_id_and_else_by_its_name() {
    let of = |name: &str, id: Option<&str>| {
        let mut event = request(0, Class::V2, "x");
        let identity = HostIdentity { name: Some(name.into()), id: id.map(str::to_owned) };
        event.origin = Arc::new(Origin { host: Some(identity), ..Origin::default() });
        event
    };
    let hosts = |events: &[Event]| evidence(&lines(events)).hosts.len();
    assert_eq!(hosts(&[of("a", Some("i-1")), of("b", Some("i-1"))]), 1);
    assert_eq!(hosts(&[of("a", Some("i-1")), of("a", Some("i-2"))]), 2);
    assert_eq!(hosts(&[of("a", None), of("a", None), of("b", None)]), 2);
}
