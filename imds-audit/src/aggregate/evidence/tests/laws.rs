//! Laws of reading: tallies and requests of a run say the same, in whatever files they lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::aggregate::evidence::*;
use crate::aggregate::readiness::{CallerReport, Question, Report};
use crate::aggregate::window::Windows;
use crate::event::{
    Advice, Caller, Cause, Class, Classes, Loss, LossEvent, LossUnit, Origin, Outcome, Resource,
    tests::example,
};
use crate::property::costly;

const CAUSES: [Cause; 5] = [
    Cause::NeverAsks,
    Cause::PrefersV1,
    Cause::Unanswered,
    Cause::OtherCloudProbe,
    Cause::WrongHeader,
];
const OUTCOMES: [Outcome; 3] = [Outcome::Served, Outcome::Rejected, Outcome::NoResponse];
/// As many windows as are kept apart until their tally is read.
const WINDOWS: usize = 8;

/// What may happen in a run.
#[derive(Clone, Debug)]
struct Happening {
    class: Class,
    outcome: Outcome,
    relay: Option<RelayPart>,
    caller: u8,
    client: u8,
    cause: Option<Cause>,
    /// How long before its line it happened, in seconds.
    late: i64,
    /// Something was lost before it.
    loses: bool,
}

fn happening() -> impl Strategy<Value = Happening> {
    let relays = [None, None, None, None, Some(RelayPart::Relayed), Some(RelayPart::Repetition)];
    (
        prop::sample::select(&Class::ALL[..]),
        prop::sample::select(&OUTCOMES[..]),
        prop::sample::select(relays.to_vec()),
        0..3_u8,
        0..3_u8,
        prop::option::weighted(0.8, prop::sample::select(&CAUSES[..])),
        0..30_i64,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(class, outcome, relay, caller, client, cause, late, loses)| Happening {
            class,
            outcome,
            relay,
            caller,
            client,
            cause,
            late,
            loses,
        })
}

/// A run: what happens in it, and the places at which a window ends.
fn run() -> impl Strategy<Value = (Vec<Happening>, Vec<usize>)> {
    prop::collection::vec(happening(), 1..60).prop_flat_map(|happenings| {
        let places: Vec<usize> = (0..happenings.len()).collect();
        let ends = subsequence(places.clone(), 0..=places.len().min(WINDOWS - 1));
        (Just(happenings), ends)
    })
}

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

fn request(number: usize, happening: &Happening) -> Event {
    let mut event = example();
    event.time = time(10_000 + 7 * number as i64 - happening.late);
    event.imds.class = happening.class;
    event.imds.outcome = happening.outcome;
    event.imds.resource = Some(Resource::Metadata);
    event.network.host_network = Some(true);
    event.network.response_ttl = Some(2);
    event.relay = happening.relay;
    let id = format!("{:016x}", happening.caller);
    let title = format!("script {}", number % 3);
    event.caller = Arc::new(Caller { id, title, home: None });
    match happening.client {
        0 => event.client = None,
        client => event.client.as_mut().unwrap().name = format!("client {client}"),
    }
    event.advice = happening.cause.map(|cause| Advice {
        cause,
        reason: cause.name().to_owned(),
        text: format!("text {}", number % 2),
        command: None,
    });
    Event::from(event)
}

/// Returns the lines of a run, in the order in which they are written; the last one is a tally.
fn events(happenings: &[Happening], ends: &[usize]) -> Vec<Event> {
    let identity = HostIdentity { name: Some("a".to_owned()), id: None };
    let origin =
        Arc::new(Origin { host: Some(identity), run: Some("r".to_owned()), ..Origin::default() });
    let mut windows = Windows::new(time(0));
    let mut events = Vec::new();
    let mut write = |mut event: Event, windows: &mut Windows| {
        windows.number(&mut event);
        windows.add(&event);
        events.push(Event { origin: Arc::clone(&origin), ..event });
    };
    for (number, happening) in happenings.iter().enumerate() {
        let now = time(10_000 + 7 * number as i64);
        if happening.loses {
            let loss = Loss {
                reason: "request".into(),
                what: LossUnit::Requests,
                count: 2,
                process: None,
            };
            write(Event::from(LossEvent { time: now, loss, window: None }), &mut windows);
        }
        write(request(number, happening), &mut windows);
        if ends.contains(&number) {
            let tally = windows.close(now, false);
            write(Event::from(tally), &mut windows);
        }
    }
    let tally = windows.close(time(20_000), true);
    write(Event::from(tally), &mut windows);
    events
}

fn is_tally(event: &Event) -> bool {
    matches!(event.body, Body::Tally(_))
}

/// Reads lines as several threads do: each takes some of the parts.
fn read(parts: &[Vec<&Event>], threads: usize) -> Report {
    let windows = KnownWindows::default();
    let mut all: Vec<_> = (0..threads)
        .map(|_| Evidence::new(Bounds::default(), MAX_CALLERS, windows.clone()))
        .collect();
    for (number, part) in parts.iter().enumerate() {
        for event in part {
            all[number % threads].add(Some(&serde_json::to_vec(event).unwrap()));
        }
    }
    let mut whole = all.remove(0);
    all.into_iter().for_each(|other| whole.merge(other));
    Question::default().answer(&whole)
}

/// What must be the same whichever lines of a run are there.
#[derive(Debug, PartialEq)]
struct Facts {
    requests: u64,
    without_token: u64,
    blocking: u64,
    classes: Classes,
    callers: Vec<CallerReport>,
    losses: Vec<Loss>,
    hop_limits: Vec<u8>,
    timeline: (u64, u64, u64),
}

fn facts(report: &Report) -> Facts {
    let timeline = report.timeline.iter().fold((0, 0, 0), |sum, entry| {
        (sum.0 + entry.without_token, sum.1 + entry.with_token, sum.2 + entry.other)
    });
    Facts {
        requests: report.requests,
        without_token: report.without_token,
        blocking: report.hosts.iter().map(|host| host.blocking).sum(),
        classes: report.classes.clone(),
        callers: report.callers.clone(),
        losses: report.losses.clone(),
        hop_limits: report.hop_limits.iter().copied().collect(),
        timeline,
    }
}

/// Requests by caller, cause and client.
type Causes = BTreeMap<(String, &'static str, Option<String>), u64>;

proptest! {
    #![proptest_config(costly(64))]

    /// Tallies count each request of a cause under that cause, and lose none.
    #[test]
    fn tallies_have_as_many_requests_of_each_cause_as_there_were((happenings, ends) in run()) {
        let events = events(&happenings, &ends);
        let (mut requested, mut tallied) = (Causes::new(), Causes::new());
        for event in &events {
            match &event.body {
                Body::Request(request) if request.relay != Some(RelayPart::Repetition) => {
                    let Some(advice) = &request.advice else { continue };
                    let client = request.client.as_ref().map(|client| client.name.clone());
                    let key = (request.caller.id.clone(), advice.cause.name(), client);
                    *requested.entry(key).or_default() += 1;
                }
                Body::Tally(tally) => {
                    for caller in &tally.callers {
                        prop_assert_eq!(caller.advice_dropped, 0);
                        for advice in &caller.advice {
                            let client = advice.client.as_ref().map(|client| client.name.clone());
                            let key =
                                (caller.caller.id.clone(), advice.advice.cause.name(), client);
                            *tallied.entry(key).or_default() += advice.requests;
                        }
                    }
                }
                _ => {}
            }
        }
        prop_assert_eq!(tallied, requested);
    }

    /// A report on the tallies of a run says the same as one on its requests, and so does one on
    /// both, in whatever order files and threads have them and whichever tallies are missing.
    #[test]
    fn tallies_and_requests_say_the_same(
        (happenings, ends) in run(),
        missing in prop::collection::vec(any::<bool>(), WINDOWS),
        cuts in prop::collection::vec(0..80_usize, 0..6),
        threads in 1..4_usize,
    ) {
        let events = events(&happenings, &ends);
        let requests: Vec<&Event> = events.iter().filter(|event| !is_tally(event)).collect();
        let tallies: Vec<&Event> = events.iter().filter(|event| is_tally(event)).collect();
        let expected = facts(&read(std::slice::from_ref(&requests), 1));
        prop_assert_eq!(&facts(&read(std::slice::from_ref(&tallies), 1)), &expected);
        prop_assert_eq!(&facts(&read(&[tallies.clone(), requests.clone()], threads)), &expected);
        prop_assert_eq!(&facts(&read(&[requests, tallies], threads)), &expected);

        let is_missing = |event: &Event| match &event.body {
            Body::Tally(tally) => missing[tally.window as usize],
            _ => false,
        };
        let mixed: Vec<&Event> = events.iter().filter(|event| !is_missing(event)).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (mixed.len() + 1)).collect();
        cuts.extend([0, mixed.len()]);
        cuts.sort_unstable();
        let mut parts: Vec<Vec<&Event>> =
            cuts.windows(2).map(|ends| mixed[ends[0]..ends[1]].to_vec()).collect();
        prop_assert_eq!(&facts(&read(&parts, threads)), &expected);
        parts.reverse();
        prop_assert_eq!(&facts(&read(&parts, threads)), &expected);
    }
}

#[test]
fn a_killed_runs_last_requests_count_once_though_many_windows_tallies_are_read_later() {
    let happening = Happening {
        class: Class::V1,
        outcome: Outcome::Served,
        relay: None,
        caller: 1,
        client: 1,
        cause: Some(Cause::NeverAsks),
        late: 0,
        loses: false,
    };
    let events = events(&vec![happening; 100], &(0..100).step_by(2).collect::<Vec<_>>());
    let requests: Vec<&Event> = events.iter().filter(|event| !is_tally(event)).collect();
    let mut tallies: Vec<&Event> = events.iter().filter(|event| is_tally(event)).collect();
    assert_eq!(tallies.pop().map(|event| event.body.time()), Some(Some(time(20_000))));
    for threads in 1..3 {
        let report = read(&[requests.clone(), tallies.clone()], threads);
        assert_eq!(report.without_token, 100);
        assert_eq!(report.callers[0].advice[0].requests, 100);
    }
}
