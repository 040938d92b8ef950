//! Conservation: requests sent are requests reported and requests
//! counted as lost, whatever the program was kept from.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use imds_audit::event::{Class, Counters, Loss, LossUnit, Outcome, RequestEvent, UnknownReason};
use imds_audit::simulator::{Entry, HttpTokens, TokenHeader};
use imds_audit_tests::{Caller, MemoryLimit, Report, Setup, TestBed, is_asleep, root, skip, until};
use rustix::process::Signal;

use super::{CLIENT, GET_V1, GET_V2, PUT};

/// The smallest ring that there is: it holds about five requests with their processes.
const TINY: [&str; 2] = ["--ring-size", "4096"];
/// How many callers ask at once, and how often each.
const CALLERS: usize = 6;
const ROUNDS: usize = 25;

/// What a caller asks in a round, one request a segment.
const WHOLE: [&str; 8] = ["send", PUT, "receive", "send", GET_V2, "receive", "send", GET_V1];
/// The same, the second request in pieces that cut the token header's name.
const CUT: [&str; 12] = [
    "send",
    PUT,
    "receive",
    "send",
    "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nX-aws-ec2-metadata-",
    "send",
    "token: {token}\\r\\nHo",
    "send",
    "st: imds\\r\\n\\r\\n",
    "receive",
    "send",
    GET_V1,
];

/// Three requests that are sent before the first response came.
const AHEAD: [&str; 8] = ["send", GET_V1, "send", PUT, "send", GET_V1, "receive", "receive"];

/// Several requests in one segment, the last of them cut.
const TOGETHER: [&str; 6] = [
    "send",
    concat!(
        "PUT /latest/api/token HTTP/1.1\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n",
        "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: imds\\r\\n\\r\\n",
        "GET /latest/meta-data/ HTTP/1.1\\r\\nHo",
    ),
    "send",
    "st: imds\\r\\n\\r\\n",
    "receive",
    "receive",
];

/// Makes a scene on an address of its own: a tiny ring cannot take what others on the host ask.
/// Its service rejects version 1, so that no response can be taken for another's unnoticed.
fn scene(arguments: &[&str]) -> Option<(TestBed, String)> {
    let (scene, address) = TestBed::alone("json", arguments)?;
    scene.service.set_http_tokens(HttpTokens::Required);
    Some((scene, address))
}

/// Has many callers ask at once, each on one connection.
fn flood(scene: &TestBed, address: &str, round: &[&str]) -> Vec<Caller> {
    let times = ROUNDS.to_string();
    let steps = [&["connect", address, "times", &times], round, &["receive"]].concat();
    thread::scope(|scope| {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| scope.spawn(|| scene.run_well(CLIENT, &steps))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

/// Waits until the program has nothing to do, so that everything it received is written.
fn settle(scene: &TestBed) {
    assert!(until(|| is_asleep(scene.audit.pid()).then_some(())).is_some(), "it is never done");
}

/// What became of the requests.
struct Account {
    report: Report,
    /// The requests that were reported.
    requests: Vec<RequestEvent>,
    /// The losses that were reported.
    losses: Vec<Loss>,
    /// How many requests were counted as lost.
    lost: usize,
}

/// Ends the audit, and asserts the law.
fn account(scene: TestBed) -> Account {
    let entries = scene.entries();
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    let (requests, losses, stop) = (report.requests(), report.losses(), report.stop());
    let lost = lost(&losses);
    assert_eq!(lost, self::lost(&stop.losses), "the events and their sum: {stop:#?}");
    assert_summary_tells(&report, &stop.losses);
    let (sent, reported) = (entries.len(), requests.len());
    assert_eq!(sent, reported + lost, "{reported} reported, {lost} lost");
    assert_true(&entries, &requests);
    Account { report, requests, losses, lost }
}

/// Adds up the requests among losses.
fn lost<'a>(losses: impl IntoIterator<Item = &'a Loss>) -> usize {
    let requests = losses.into_iter().filter(|loss| loss.what == LossUnit::Requests);
    requests.map(|loss| usize::try_from(loss.count).unwrap()).sum()
}

/// Asserts that the summary names each loss, and its process where the event does.
fn assert_summary_tells(report: &Report, losses: &[Loss]) {
    for loss in losses {
        let shown = format!("lost: {} {} ({}", loss.count, loss.what.name(), loss.reason);
        let whose = loss.process.as_ref().map(|process| format!("[{}]", process.pid));
        let is_it = |line: &&str| {
            line.starts_with(&shown) && whose.as_ref().is_none_or(|whose| line.contains(whose))
        };
        assert!(report.stderr.lines().any(|line| is_it(&line)), "{loss:?}: {}", report.stderr);
    }
}

/// Asserts that what was reported in spite of losses is true: of each connection no more requests
/// of a class than it was asked, and no outcome but the one that it had, or that none was seen.
fn assert_true(entries: &[Entry], reported: &[RequestEvent]) {
    let mut asked: BTreeMap<(String, Class), usize> = BTreeMap::new();
    for entry in entries {
        *asked.entry((entry.peer.to_string(), class(entry))).or_default() += 1;
    }
    for request in reported {
        let (class, outcome) = (request.imds.class, request.imds.outcome);
        if class == Class::Unknown {
            // Cut where what was lost was the last of its connection that there was to see.
            let reason = request.imds.reason.unwrap();
            assert!(matches!(reason, UnknownReason::Lost | UnknownReason::Cut), "{request:#?}");
            continue;
        }
        let source = request.network.source.clone().unwrap();
        let left = asked.get_mut(&(source, class)).filter(|left| **left > 0);
        *left.unwrap_or_else(|| panic!("it was not asked: {request:#?}")) -= 1;
        let true_one = if class == Class::V1 { Outcome::Rejected } else { Outcome::Served };
        assert!([true_one, Outcome::Unobserved].contains(&outcome), "{request:#?}");
    }
}

fn class(entry: &Entry) -> Class {
    match (&*entry.method, entry.token) {
        ("PUT", _) => Class::V2Token,
        (_, TokenHeader::Present) => Class::V2,
        _ => Class::V1,
    }
}

#[test]
fn under_a_flood_with_a_tiny_ring() {
    let Some((scene, address)) = scene(&TINY) else { return };
    flood(&scene, &address, &WHOLE);
    settle(&scene);
    // One that is certainly reported.
    let last = scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let Account { requests, .. } = account(scene);
    let last: Vec<_> = requests.iter().filter(|r| r.process.pid == Some(last.pid)).collect();
    assert_eq!(last.iter().map(|request| request.imds.class).collect::<Vec<_>>(), [Class::V1]);
}

#[test]
fn while_the_program_stands_still() {
    // Room for more than the processes that connect.
    let Some((scene, address)) = scene(&["--ring-size", "32768"]) else { return };
    scene.audit.signal(Signal::STOP);
    let callers = flood(&scene, &address, &WHOLE);
    scene.audit.signal(Signal::CONT);
    settle(&scene);
    let Account { report, requests, losses, lost } = account(scene);
    let reported = requests.len();
    assert!(lost > reported && reported > 0, "{reported} reported, {lost} lost");
    assert_eq!(report.code(), Some(0));
    // Whose they were is known, but for those whose process the eBPF programs had forgotten.
    let is_of = |loss: &Loss, caller: &Caller| {
        loss.process.as_ref().is_some_and(|process| process.pid == caller.pid)
    };
    let of = |caller: &Caller| self::lost(losses.iter().filter(|loss| is_of(loss, caller)));
    assert_eq!(callers.iter().map(of).sum::<usize>(), lost);
    let loss = losses.iter().find(|loss| loss.what == LossUnit::Requests).unwrap();
    assert_eq!(loss.reason, "request");
    assert_eq!(loss.process.as_ref().unwrap().name.as_deref(), Some("imds-audit-test"));
}

#[test]
fn where_the_requests_are_cut_and_the_program_stops_and_goes_on() {
    stop_and_go(&CUT);
}

#[test]
fn where_the_requests_do_not_wait_and_the_program_stops_and_goes_on() {
    stop_and_go(&AHEAD);
}

#[test]
fn where_several_requests_share_a_segment_and_the_program_stops_and_goes_on() {
    stop_and_go(&TOGETHER);
}

fn stop_and_go(round: &[&str]) {
    let Some((scene, address)) = scene(&TINY) else { return };
    thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&scene, &address, round));
        while !flood.is_finished() {
            scene.audit.signal(Signal::STOP);
            let seen = scene.entries().len();
            until(|| (flood.is_finished() || scene.entries().len() > seen + 20).then_some(()));
            scene.audit.signal(Signal::CONT);
            settle(&scene);
        }
    });
    // One that is certainly reported: the flood may have come while the program stood still.
    scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let Account { requests, lost, .. } = account(scene);
    let reported = requests.len();
    assert!(lost > 0 && reported > 0, "{reported} reported, {lost} lost");
}

#[test]
fn with_little_memory() {
    // It takes 35 MiB while it starts, a third of them the kernel's for it (measured on 6.18,
    // without optimisation): what comes then has to be made room for.
    const LIMIT: u64 = 40 << 20;
    if !root() {
        return;
    }
    let Some(limit) = MemoryLimit::create(LIMIT) else {
        return skip("there is no hierarchy of control groups to limit memory in");
    };
    let enter = |command: &mut Command| limit.enter(command);
    let Some((scene, address)) = TestBed::alone_prepared(Setup::default(), enter) else { return };
    scene.service.set_http_tokens(HttpTokens::Required);
    for _ in 0..4 {
        flood(&scene, &address, &WHOLE);
        scene.run_well(CLIENT, &["crowd", "200", &address, PUT]);
    }
    settle(&scene);
    let Account { requests, .. } = account(scene);
    assert!(!requests.is_empty());
    assert_eq!(limit.kills(), 0);
}

#[test]
fn the_counters_of_cloudwatch_are_the_service_s_own() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let steps = ["connect", &address, "times", "7", "send", PUT, "receive", "send", GET_V1];
    let missing = "GET /latest/no-such HTTP/1.1\\r\\nHost: imds\\r\\n\\r\\n";
    let more = ["receive", "send", GET_V2, "receive", "send", missing, "receive"];
    scene.run_well(CLIENT, &[&steps[..], &more].concat());
    scene.service.set_http_tokens(HttpTokens::Required);
    let steps = ["connect", &address, "times", "5", "send", GET_V1, "receive", "send", GET_V2];
    scene.run_well(CLIENT, &[&steps[..], &["receive"]].concat());
    let counted = scene.service.log().counters();
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!((counted.metadata_no_token, counted.metadata_no_token_rejected), (7, 5));
    let expected = Counters { metadata_no_token: 7, metadata_no_token_rejected: 5 };
    assert_eq!(report.stop().totals.counters, expected);
    for (name, count) in [("MetadataNoToken", 7), ("MetadataNoTokenRejected", 5)] {
        let line = format!("{name}: {count}");
        assert!(report.stderr.lines().any(|shown| shown == line), "{line}: {}", report.stderr);
    }
}
