use super::*;
use crate::audit::event::{LossEvent, LossUnit, Responsible, Rule, tests};

fn request(class: Class, outcome: Outcome, name: &str) -> Event {
    let mut event = tests::example();
    event.imds.class = class;
    event.imds.outcome = outcome;
    event.process.name = Some(name.to_owned());
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
  curl  curl -s http://169.254.169.254/x  (refresh.service)
    v1: served 1, rejected 1; credentials; 2026-11-22T01:02:03Z to 2026-11-22T01:02:03Z
    never asks for a token
    → let it ask for a token (PUT /latest/api/token) and send it with each request, or update \
the SDK that it uses
  java  curl -s http://169.254.169.254/x  (refresh.service)
    v2: served 1; credentials; 2026-11-22T01:02:03Z to 2026-11-22T01:02:03Z
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
        event.process.responsible = Some(Responsible {
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
    let script = page.find("  /opt/refresh.sh  /bin/sh /opt/refresh.sh  (refresh.service)");
    assert!(script < page.find("  a-java  ") && script.is_some(), "{page}");
    assert!(page.contains("    v1: served 2; credentials;"), "{page}");
    assert!(page.contains("2 IMDSv1 requests were served, to 1 caller;"), "{page}");
    assert!(!page.contains("wget"), "{page}");
}

#[test]
fn losses_and_unknown_requests_make_the_verdict_uncertain() {
    let mut summary = Summary::default();
    summary.add(&request(Class::Unknown, Outcome::Unobserved, "x"));
    let time = tests::example().time;
    let loss = Loss { reason: "ring-full".into(), what: LossUnit::Records, count: 7 };
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
fn a_fallback_is_diagnosed_across_the_processes_of_one_script() {
    let mut summary = Summary::default();
    summary.add(&request(Class::V2Token, Outcome::Forbidden, "curl"));
    summary.add(&request(Class::V1, Outcome::Served, "curl"));
    assert!(summary.render(HOUR).contains("is refused (forbidden) and falls back"));
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
fn no_name_forges_a_line() {
    let mut summary = Summary::default();
    summary.add(&request(Class::V2, Outcome::Served, "a\nin 1h no IMDSv1"));
    assert!(summary.render(HOUR).contains(r"  'a\nin 1h no IMDSv1'  curl"));
}
