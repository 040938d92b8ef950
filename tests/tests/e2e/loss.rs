//! Conservation: requests sent are requests reported and requests
//! counted as lost, whatever the program was kept from.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use imds_audit::simulator::{Entry, HttpTokens, TokenHeader};
use imds_audit_tests::{
    Caller, MemoryLimit, Report, Setup, TestBed, is_asleep, root, skip, text, until,
};
use rustix::process::Signal;
use serde_json::{Value, json};

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
    events: Vec<Value>,
    report: Report,
    /// How many requests were reported.
    reported: usize,
    /// How many were counted as lost.
    lost: usize,
}

/// Ends the audit, and gives what it wrote.
fn end(scene: TestBed) -> (Report, Vec<Value>) {
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    let events = report.events();
    assert_eq!(events.last().unwrap()["kind"], "stop", "{report:#?}");
    (report, events)
}

/// Ends the audit, and asserts the law.
fn account(scene: TestBed) -> Account {
    let entries = scene.entries();
    let (report, events) = end(scene);
    let stop = events.last().unwrap();
    let reported: Vec<_> = events.iter().filter(|event| event["kind"] == "request").collect();
    let lost = lost(events.iter().filter(|event| event["kind"] == "loss").map(|e| &e["loss"]));
    let of_stop = stop["losses"].as_array().unwrap();
    assert_eq!(lost, self::lost(of_stop.iter()), "the events and their sum: {stop:#}");
    assert_summary_tells(&report, of_stop);
    let sent = entries.len();
    assert_eq!(sent, reported.len() + lost, "{} reported, {lost} lost", reported.len());
    assert_true(&entries, &reported);
    let reported = reported.len();
    Account { events, report, reported, lost }
}

/// Adds up the requests among losses.
fn lost<'a>(losses: impl Iterator<Item = &'a Value>) -> usize {
    let requests = losses.filter(|loss| loss["what"] == "requests");
    requests.map(|loss| usize::try_from(loss["count"].as_u64().unwrap()).unwrap()).sum()
}

/// Asserts that the summary names each loss, and its process where the event does.
fn assert_summary_tells(report: &Report, losses: &[Value]) {
    for loss in losses {
        let shown =
            format!("lost: {} {} ({}", loss["count"], text(loss, "/what"), text(loss, "/reason"));
        let whose = loss.get("process").map(|process| format!("[{}]", process["pid"]));
        let is_it = |line: &&str| {
            line.starts_with(&shown) && whose.as_ref().is_none_or(|whose| line.contains(whose))
        };
        assert!(report.stderr.lines().any(|line| is_it(&line)), "{loss}: {}", report.stderr);
    }
}

/// Asserts that what was reported in spite of losses is true: of each connection no more requests
/// of a class than it was asked, and no outcome but the one that it had, or that none was seen.
fn assert_true(entries: &[Entry], reported: &[&Value]) {
    let mut asked: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for entry in entries {
        *asked.entry((entry.peer.to_string(), class(entry))).or_default() += 1;
    }
    for event in reported {
        let (class, outcome) = (text(event, "/imds/class"), text(event, "/imds/outcome"));
        if class == "unknown" {
            // Cut where what was lost was the last of its connection that there was to see.
            assert!(["lost", "cut"].contains(&text(event, "/imds/reason")), "{event:#}");
            continue;
        }
        let source = text(event, "/network/source").to_owned();
        let left = asked.get_mut(&(source, class)).filter(|left| **left > 0);
        *left.unwrap_or_else(|| panic!("it was not asked: {event:#}")) -= 1;
        let true_one = if class == "v1" { "rejected" } else { "served" };
        assert!([true_one, "unobserved"].contains(&outcome), "{event:#}");
    }
}

fn class(entry: &Entry) -> &'static str {
    match (&*entry.method, entry.token) {
        ("PUT", _) => "v2-token",
        (_, TokenHeader::Present) => "v2",
        _ => "v1",
    }
}

#[test]
fn under_a_flood_with_a_tiny_ring() {
    let Some((scene, address)) = scene(&TINY) else { return };
    flood(&scene, &address, &WHOLE);
    settle(&scene);
    // One that is certainly reported.
    let last = scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let Account { events, .. } = account(scene);
    let is_last = |event: &&Value| event["process"]["pid"] == last.pid;
    let last: Vec<_> = events.iter().filter(is_last).map(|e| text(e, "/imds/class")).collect();
    assert_eq!(last, ["v1"]);
}

#[test]
fn while_the_program_stands_still() {
    // Room for more than the processes that connect.
    let Some((scene, address)) = scene(&["--ring-size", "32768"]) else { return };
    scene.audit.signal(Signal::STOP);
    let callers = flood(&scene, &address, &WHOLE);
    scene.audit.signal(Signal::CONT);
    settle(&scene);
    let Account { events, reported, lost, report } = account(scene);
    assert!(lost > reported && reported > 0, "{reported} reported, {lost} lost");
    assert_eq!(report.code(), Some(0));
    // Whose they were is known, but for those whose process the eBPF programs had forgotten.
    let of = |caller: &Caller| {
        let losses = events.iter().filter(|event| event["loss"]["what"] == "requests");
        self::lost(losses.map(|e| &e["loss"]).filter(|l| l["process"]["pid"] == caller.pid))
    };
    assert_eq!(callers.iter().map(of).sum::<usize>(), lost);
    let loss = events.iter().find(|event| event["loss"]["what"] == "requests").unwrap();
    assert_eq!(loss["loss"]["reason"], "request");
    assert_eq!(loss["loss"]["process"]["name"], json!("imds-audit-test"));
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
    let Account { reported, lost, .. } = account(scene);
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
    let Account { reported, .. } = account(scene);
    assert!(reported > 0);
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
    let (report, events) = end(scene);
    assert_eq!((counted.metadata_no_token, counted.metadata_no_token_rejected), (7, 5));
    let shown = &events.last().unwrap()["totals"]["counters"];
    assert_eq!(
        shown,
        &json!({
            "MetadataNoToken": counted.metadata_no_token,
            "MetadataNoTokenRejected": counted.metadata_no_token_rejected,
        })
    );
    for (name, count) in shown.as_object().unwrap() {
        let line = format!("{name}: {count}");
        assert!(report.stderr.lines().any(|shown| shown == line), "{line}: {}", report.stderr);
    }
}
