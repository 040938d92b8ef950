use std::sync::Arc;

use super::*;
use crate::audit::diagnosis::Diagnosis;
use crate::audit::event::{LossEvent, LossUnit, Responsible, Rule, tests};

fn request(class: Class, outcome: Outcome, name: &str) -> Event {
    let mut event = tests::example();
    event.imds.class = class;
    event.imds.outcome = outcome;
    Arc::make_mut(&mut event.process).name = Some(name.to_owned());
    if class == Class::V1 {
        event.advice = Some(Advice::new(Diagnosis::NeverAsks, &event));
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
in 1h 1 IMDSv1 request was served, to 1 caller; nothing was lost or unobserved
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
    summary.add(&Event::from(Body::Loss(LossEvent { time, loss })));
    let page = summary.render(HOUR);
    assert!(page.contains("lost: 7 records (ring-full)\n"), "{page}");
    assert!(
        page.ends_with(
            "in 1h no IMDSv1 request was served; \
         not certain: 7 losses, 1 requests of unknown class\n"
        ),
        "{page}"
    );
}

#[test]
fn advice_stands_once_a_caller_and_is_that_on_its_latest_v1_request() {
    let mut summary = Summary::default();
    summary.add(&request(Class::V1, Outcome::Served, "curl"));
    let Body::Request(mut fallback) = request(Class::V1, Outcome::Served, "curl").body else {
        unreachable!()
    };
    let refused = Diagnosis::Refused { outcome: Outcome::Forbidden };
    fallback.advice = Some(Advice::new(refused, &fallback));
    summary.add(&Event::from(Body::Request(fallback)));
    summary.add(&request(Class::V2, Outcome::Served, "curl"));
    let page = summary.render(HOUR);
    assert!(page.contains("is refused (forbidden) and falls back"), "{page}");
    assert_eq!(page.matches('→').count(), 1, "{page}");
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

#[test]
fn a_flood_of_callers_is_counted_together() {
    let mut summary = Summary::default();
    for number in 0..MAX_CALLERS + 10 {
        summary.add(&request(Class::V1, Outcome::Served, &number.to_string()));
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
