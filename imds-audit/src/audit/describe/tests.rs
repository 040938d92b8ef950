use std::sync::Arc;

use imds_audit_ebpf::Task;

use super::*;
use crate::audit::attribution::Actor;
use crate::audit::fixture::{CLOCK, actor, ends, request};
use crate::event::{Attribution, Class, Event};
use crate::process::fixture;

#[test]
fn the_token_on_the_wire_is_removed_from_every_other_place() {
    let token = b"plainlookingvalue";
    let event = request(
        &[
            (b"X-aws-ec2-metadata-token", token),
            (b"User-Agent", b"mine/plainlookingvalue"),
            (b"Host", b"plainlookingvalue"),
        ],
        &[b"tool", b"plainlookingvalue", b"xplainlookingvaluey"],
    );
    let line = serde_json::to_string(&Event::from(event.clone())).unwrap();
    assert!(!line.contains("plainlookingvalue"), "{line}");
    assert_eq!(event.imds.class, Class::V2);
    assert!(event.imds.token.is_some());
}

#[test]
fn every_secret_that_went_over_the_wire_is_removed_from_arguments_that_do_not_name_it() {
    let event = request(
        &[
            (b"X-aws-ec2-metadata-token", b"wire-token-one"),
            (b"X-aws-ec2-metadata-token", b"wire-token-two"),
            (b"Authorization", b"Bearer wire-bearer"),
            (b"Cookie", b"a=b; session=wire-cookie"),
            (b"User-Agent", b"wire-bearer/wire-cookie"),
        ],
        &[b"tool", b"wire-token-one", b"wire-token-two", b"wire-bearer", b"wire-cookie"],
    );
    let shown = serde_json::to_string(&Event::from(event)).unwrap();
    assert!(!shown.contains("wire-"), "{shown}");
}

#[test]
fn a_request_is_described_with_its_times_its_response_and_its_process() {
    let event =
        request(&[(b"Host", b"169.254.169.254"), (b"User-Agent", b"curl/7.88.1")], &[b"curl"]);
    let value = serde_json::to_value(Event::from(event)).unwrap();
    assert_eq!(value["time"], "2026-11-22T01:02:03.123456Z");
    assert_eq!(value["imds"]["class"], "v1");
    assert_eq!(value["imds"]["duration_us"], 812);
    assert_eq!(value["http"]["status"], 200);
    assert_eq!(value["http"]["user_agent"], "curl/7.88.1");
    assert_eq!(value["network"]["source"], "10.0.0.5:43210");
    assert_eq!(value["network"]["response_ttl"], 1);
    assert_eq!(value["process"]["start_time"], "2026-11-22T01:02:03.100000Z");
    assert_eq!(value["process"]["exe"], "/usr/bin/curl");
    assert_eq!(value["client"]["name"], "curl");
}

#[test]
fn a_request_that_is_no_http_has_a_reason_and_no_version() {
    let request = Request {
        started: Timestamp(0),
        head: Err(Unreadable::NotHttp),
        writer: None,
        last_writer: None,
        shared: false,
    };
    let endpoint = "[fd00:ec2::254]:80".parse().unwrap();
    let ends = EndpointPair { endpoint, ..ends() };
    let secrets = secrets(&request);
    let nobody = ProcessPart::describe(None, Attribution::Unknown, CLOCK, &secrets);
    let response = Response::None { time: Timestamp(7), by_service: false };
    let event = Describer::new(CLOCK).request(&ends, &request, &response, nobody, &secrets);
    let value = serde_json::to_value(Event::from(event)).unwrap();
    assert_eq!(value["imds"]["class"], "unknown");
    assert_eq!(value["imds"]["reason"], "not-http");
    assert_eq!(value["imds"]["outcome"], "no-response");
    assert_eq!(value["imds"]["version"], serde_json::Value::Null);
    assert_eq!(value["http"], serde_json::Value::Null);
    assert_eq!(value["network"]["family"], "ipv6");
    assert_eq!(value["process"]["attribution"], "unknown");
}

#[test]
fn a_thousand_long_arguments_are_marked_as_cut() {
    let long = vec![b'a'; 4096];
    let args: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 1000).collect();
    let event = request(&[], &args);
    let total: usize = event.process.args.iter().flatten().map(String::len).sum();
    assert!(event.process.args_truncated);
    assert!(total <= bound::ARGUMENTS + 8, "{total}");
}

#[test]
fn a_process_known_only_from_its_segment_has_its_threads_name() {
    let task = Task { pid: 7, tid: 7, start_time: 5_000, exec_id: 1 };
    let described = |task: Task| {
        let actor = Actor { task, comm: *b"worker\0\0\0\0\0\0\0\0\0\0", process: None };
        ProcessPart::describe(Some(&actor), Attribution::Writer, CLOCK, &Known::default()).process
    };
    let first = described(task);
    assert_eq!((first.pid, first.name.as_deref()), (Some(7), Some("worker")));
    assert_eq!(first.start_time, Some(CLOCK.time(Timestamp(5_000))));
    let other = described(Task { tid: 8, ..task });
    assert_eq!((other.name.as_deref(), other.thread_name.as_deref()), (None, Some("worker")));
}

#[test]
fn an_id_that_could_not_be_read_is_absent() {
    let mut snapshot = fixture::empty();
    (snapshot.uid, snapshot.gid) = (u32::MAX, 4);
    let bytes = fixture::bytes(snapshot, &[]);
    let process = Arc::new(crate::snapshot::SnapshotRecord::parse(&bytes).unwrap().process());
    let actor = Actor { process: Some(process), ..actor(&[]) };
    let part = ProcessPart::describe(Some(&actor), Attribution::Writer, CLOCK, &Known::default());
    let described = part.process;
    assert_eq!((described.uid, described.gid), (None, Some(4)));
}
