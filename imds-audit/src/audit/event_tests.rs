use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::audit::build::{self, Answer, Found, FoundAncestor, Head, Seen, Way};
use crate::audit::class::Class;
use crate::audit::redact::Known;
use crate::audit::token::TokenHasher;

/// The example of the design.
pub(crate) fn example() -> RequestEvent {
    request(
        &[(b"Host", b"169.254.169.254"), (b"User-Agent", b"curl/7.88.1")],
        &[b"curl", b"-s", b"http://169.254.169.254/x"],
    )
}

/// A request with these headers from a process with these arguments.
pub(crate) fn request(headers: &[(&[u8], &[u8])], args: &[&[u8]]) -> RequestEvent {
    let seen = Seen {
        time: Time("2026-11-22T01:02:03.123456Z".parse().unwrap()),
        way: Way {
            source: Some("10.0.0.5:43210".parse().unwrap()),
            endpoint: "169.254.169.254:80".parse().unwrap(),
            mapped: false,
            netns: Some(4_026_531_840),
            host_network: None,
        },
        head: Ok(Head {
            method: b"GET",
            target: b"/latest/meta-data/iam/security-credentials/app",
            headers,
        }),
        answer: Answer::Status { status: 200, ttl: Some(1) },
        duration: Some(Duration::from_micros(812)),
    };
    let found = Found {
        pid: Some(4242),
        tid: Some(4242),
        name: Some(b"curl"),
        thread_name: Some(b"curl"),
        exe: Some(b"/usr/bin/curl"),
        args: Some(args),
        uid: Some(0),
        user: Some(b"root"),
        start_time: Some(Time("2026-11-22T01:02:03.1Z".parse().unwrap())),
        ancestors: &[FoundAncestor {
            pid: 4200,
            name: Some(b"bash"),
            args: Some(&[b"bash", b"/opt/refresh.sh"]),
        }],
        cgroup: Some(b"/system.slice/refresh.service"),
        unit: Some(b"refresh.service"),
        ..Found::default()
    };
    let who = |known: &Known<'_>| Arc::new(build::process(&found, Attribution::Writer, known));
    build::request(&seen, who, &TokenHasher::new())
}

#[test]
fn the_example_of_the_design_is_written_as_it_stands_there() {
    let expected = concat!(
        r#"{"schema":1,"kind":"request","time":"2026-11-22T01:02:03.123456Z","#,
        r#""imds":{"class":"v1","version":1,"operation":"read","resource":"credentials","#,
        r#""outcome":"served","duration_us":812,"endpoint":"169.254.169.254:80"},"#,
        r#""http":{"method":"GET","path":"/latest/meta-data/iam/security-credentials/app","#,
        r#""status":200,"host":"169.254.169.254","user_agent":"curl/7.88.1"},"#,
        r#""network":{"family":"ipv4","source":"10.0.0.5:43210","response_ttl":1,"#,
        r#""netns":4026531840},"#,
        r#""process":{"pid":4242,"tid":4242,"name":"curl","exe":"/usr/bin/curl","#,
        r#""args":["curl","-s","http://169.254.169.254/x"],"uid":0,"user":"root","#,
        r#""start_time":"2026-11-22T01:02:03.100000Z","attribution":"writer","#,
        r#""ancestors":[{"pid":4200,"name":"bash","args":["bash","/opt/refresh.sh"]}],"#,
        r#""cgroup":"/system.slice/refresh.service","unit":"refresh.service","#,
        r#""container":null,"pod":null},"client":{"name":"curl","version":"7.88.1","#,
        r#""hint":"user-agent"}}"#,
    );
    assert_eq!(serde_json::to_string(&Event::from(example())).unwrap(), expected);
}

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
fn a_request_that_is_no_http_has_a_reason_and_no_version() {
    let seen = Seen {
        time: Time("2026-11-22T01:02:03Z".parse().unwrap()),
        way: Way {
            source: None,
            endpoint: "[fd00:ec2::254]:80".parse().unwrap(),
            mapped: false,
            netns: None,
            host_network: None,
        },
        head: Err(UnknownReason::NotHttp),
        answer: Answer::Nothing,
        duration: None,
    };
    let event = build::request(
        &seen,
        |known| Arc::new(build::process(&Found::default(), Attribution::Unknown, known)),
        &TokenHasher::new(),
    );
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
fn a_thousand_long_arguments_stay_within_the_bound() {
    let long = vec![b'a'; 4096];
    let args: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 1000).collect();
    let event = request(&[], &args);
    let total: usize = event.process.args.iter().flatten().map(String::len).sum();
    assert!(event.process.args_truncated);
    assert!(total <= crate::audit::limit::bound::ARGUMENTS + 8, "{total}");
}

#[test]
fn the_checked_in_schema_is_the_one_the_code_has() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/event.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Event)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &schema).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == schema, "run this test with UPDATE_SCHEMA=1 and look at the difference");
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
