use std::sync::Arc;

use super::*;
use crate::aggregate::caller;
use crate::aggregate::callers::MAX_CALLERS;
use crate::diagnose::{Diagnosis, Refusal, advise};
use crate::event::{Advice, Caller, LossEvent, LossUnit, Responsible, Rule, tests};

fn request(class: Class, outcome: Outcome, name: &str) -> Event {
    let mut event = tests::example();
    event.imds.class = class;
    event.imds.outcome = outcome;
    let process = Arc::make_mut(&mut event.process);
    process.name = Some(name.to_owned());
    process.exe = Some(format!("/usr/bin/{name}"));
    event.caller = Arc::new(caller::of(&event.process));
    if class == Class::V1 {
        event.advice = Some(advise(&Diagnosis::NeverAsks, &event));
    }
    event.into()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_summary_names_who_uses_version_1_and_what_to_do() {
    let mut summary = Summary::default();
    summary.add(&request(Class::V2, Outcome::Served, "java"));
    summary.add(&request(Class::V1, Outcome::Served, "curl"));
    summary.add(&request(Class::V1, Outcome::Rejected, "curl"));
    let expected = "\
requests: 3
  v1              served 1, rejected 1
  v2              served 1
MetadataNoToken: 1
MetadataNoTokenRejected: 1
callers:
  curl -s http://169.254.169.254/x  (refresh.service)
    v1: served 1, rejected 1; credentials; 2026-11-22T01:02:03Z
    never asks for a token
    → let what uses curl ask for a token and send it with the request, as the command does
      TOKEN=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' \
http://169.254.169.254/latest/api/token) && \
curl -H \"X-aws-ec2-metadata-token: $TOKEN\" -s http://169.254.169.254/x
  java  curl -s http://169.254.169.254/x  (refresh.service)
    v2: served 1; credentials; 2026-11-22T01:02:03Z
in 1h 1 IMDSv1 request was served, to 1 caller, and 1 more was made, by 1 caller (rejected 1); nothing was lost or unobserved
";
    assert_eq!(summary.render(HOUR), expected);
}

#[test]
fn the_tools_of_one_script_are_one_caller_and_v1_callers_come_first() {
    let mut summary = Summary::default();
    let path = "/opt/refresh.sh".to_owned();
    let called = |class, tool: &str, pid| {
        let Body::Request(mut event) = request(class, Outcome::Served, tool).body else {
            unreachable!("a request is one");
        };
        Arc::make_mut(&mut event.process).responsible = Some(Responsible {
            pid,
            name: Some("refresh.sh".to_owned()),
            script: Some(path.clone()),
            args: Some(vec!["/bin/sh".to_owned(), path.clone()]),
            rule: Rule::Script,
        });
        event.caller = Arc::new(caller::of(&event.process));
        Event::from(*event)
    };
    summary.add(&request(Class::V2, Outcome::Served, "a-java"));
    summary.add(&called(Class::V1, "curl", 1));
    summary.add(&called(Class::V1, "wget", 2));
    let page = summary.render(HOUR);
    let script = page.find("  /opt/refresh.sh  (refresh.service)");
    assert!(script < page.find("  a-java  ") && script.is_some(), "{page}");
    assert!(page.contains("    v1: served 2; credentials;"), "{page}");
    assert!(page.contains("2 IMDSv1 requests were served, to 1 caller;"), "{page}");
    assert!(!page.contains("wget"), "{page}");
}

#[test]
fn a_caller_s_first_and_last_request_are_told() {
    let mut summary = Summary::default();
    for time in ["2026-11-22T09:00:00Z", "2026-11-22T01:00:00Z", "2026-11-22T05:00:00Z"] {
        let Body::Request(mut event) = request(Class::V2, Outcome::Served, "curl").body else {
            unreachable!("a request is one");
        };
        event.time = Time(time.parse().unwrap());
        summary.add(&Event::from(*event));
    }
    let page = summary.render(HOUR);
    assert!(page.contains("; 2026-11-22T01:00:00Z to 2026-11-22T09:00:00Z\n"), "{page}");
}

#[test]
fn losses_and_unknown_requests_make_the_verdict_uncertain() {
    let mut summary = Summary::default();
    summary.add(&request(Class::Unknown, Outcome::Unobserved, "x"));
    let time = tests::example().time;
    let loss =
        Loss { reason: "ring-full".into(), what: LossUnit::Records, count: 7, process: None };
    summary.add(&Event::from(Body::Loss(LossEvent { time, loss, window: None })));
    let page = summary.render(HOUR);
    assert!(page.contains("lost: 7 records (ring-full)\n"), "{page}");
    assert!(
        page.ends_with(
            "in 1h no IMDSv1 request was made; not certain: 7 losses, 1 request of unknown class\n"
        ),
        "{page}"
    );
}

#[test]
fn each_cause_and_client_of_a_caller_has_its_advice_once() {
    let mut summary = Summary::default();
    summary.add(&request(Class::V1, Outcome::Served, "curl"));
    let Body::Request(mut fallback) = request(Class::V1, Outcome::Served, "curl").body else {
        unreachable!()
    };
    let refusal = Refusal { outcome: Outcome::Forbidden, fault: None };
    let refused = Diagnosis::Refused { refusal, at: Some(fallback.time) };
    fallback.advice = Some(advise(&refused, &fallback));
    let (client, caller) = (fallback.client.clone().unwrap(), Arc::clone(&fallback.caller));
    summary.add(&Event::from(Body::Request(fallback)));
    for _ in 0..2 {
        let mut old = tests::example();
        old.imds.class = Class::V1;
        old.client = Some(crate::event::Client {
            name: "aws-cli".to_owned(),
            version: Some("1.11.13".to_owned()),
            ..client.clone()
        });
        old.caller = Arc::clone(&caller);
        old.advice = Some(advise(&Diagnosis::NeverAsks, &old));
        summary.add(&Event::from(old));
    }
    summary.add(&request(Class::V2, Outcome::Served, "curl"));
    let page = summary.render(HOUR);
    assert!(page.contains("is refused (forbidden) and falls back"), "{page}");
    assert_eq!(page.matches('→').count(), 3, "{page}");
    assert_eq!(page.matches("update aws-cli").count(), 1, "{page}");
}

#[test]
fn no_advice_forges_a_line() {
    let mut summary = Summary::default();
    let Body::Request(mut event) = request(Class::V1, Outcome::Served, "curl").body else {
        unreachable!()
    };
    let forged = "x\nin 1h no IMDSv1 request was served";
    event.advice = event.advice.map(|advice| Advice {
        reason: forged.into(),
        text: forged.into(),
        command: Some(forged.into()),
        ..advice
    });
    summary.add(&Event::from(Body::Request(event)));
    let page = summary.render(HOUR);
    assert_eq!(page.matches(r"x\nin 1h no").count(), 3, "{page}");
    assert!(!page.lines().any(|line| line.starts_with("in 1h no")), "{page}");
}

/// Returns a name of letters: numbers of four digits are folded in a caller's identity.
fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'k')).collect()
}

#[test]
fn a_flood_of_callers_is_counted_together() {
    let mut summary = Summary::default();
    for number in 0..MAX_CALLERS + 10 {
        summary.add(&request(Class::V1, Outcome::Served, &letters(number)));
    }
    let page = summary.render(HOUR);
    assert!(page.contains("  other callers: 10 requests, 10 of them v1\n"));
    assert!(page.contains("to more than 4096 callers"));
}

#[test]
fn callers_that_were_forgotten_are_told() {
    let mut summary = Summary::default();
    assert!(!summary.render(HOUR).contains("forgotten"));
    summary.set_forgotten(7);
    let page = summary.render(HOUR);
    assert!(page.contains("  forgotten: token requests of 7 processes and programs"), "{page}");
    assert_eq!(summary.totals().forgotten_callers, 7);
}

#[test]
fn no_name_forges_a_line() {
    let mut summary = Summary::default();
    summary.add(&request(Class::V2, Outcome::Served, "a\nin 1h no IMDSv1"));
    assert!(summary.render(HOUR).contains(r"  'a\nin 1h no IMDSv1'  curl"));
}

/// Adds requests of a class, one for each outcome, and returns the closing sentence.
fn verdict(requests: &[(Class, Outcome)]) -> String {
    let mut summary = Summary::default();
    for &(class, outcome) in requests {
        summary.add(&request(class, outcome, "curl"));
    }
    summary.render(HOUR).lines().last().unwrap().to_owned()
}

#[test]
fn a_v1_caller_that_was_never_served_stands_in_the_verdict() {
    for (requests, expected) in [
        (
            &[(Class::V1, Outcome::NotFound)][..],
            "in 1h no IMDSv1 request was served, but 1 was made, by 1 caller (not-found 1); \
             nothing was lost or unobserved",
        ),
        (
            &[(Class::V1, Outcome::Rejected), (Class::V1, Outcome::NoResponse)],
            "in 1h no IMDSv1 request was served, but 2 were made, by 1 caller (rejected 1, \
             no-response 1); nothing was lost or unobserved",
        ),
        (
            &[(Class::V2EmptyToken, Outcome::Served)],
            "in 1h no IMDSv1 request was made; 1 request had an empty token, by 1 caller (served \
             1); nothing was lost or unobserved",
        ),
        (
            &[(Class::V2Token, Outcome::Unobserved), (Class::V1, Outcome::Unobserved)],
            "in 1h no IMDSv1 request was served, but 1 was made, by 1 caller (unobserved 1); not \
             certain: 1 v1 request whose response was not observed, 1 v2-token request whose \
             response was not observed",
        ),
        (&[], "in 1h no IMDSv1 request was made; nothing was lost or unobserved"),
    ] {
        assert_eq!(verdict(requests), expected);
    }
}

#[test]
fn callers_whose_lines_differ_only_behind_the_shown_part_are_two() {
    let mut summary = Summary::default();
    for id in ["1", "2"] {
        let Body::Request(mut event) = request(Class::V1, Outcome::Served, "curl").body else {
            unreachable!()
        };
        let title = "x".repeat(500);
        event.caller = Arc::new(Caller { id: id.to_owned(), title, home: None });
        summary.add(&Event::from(*event));
    }
    let page = summary.render(HOUR);
    assert!(page.contains("2 IMDSv1 requests were served, to 2 callers;"), "{page}");
}
