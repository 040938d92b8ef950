//! Input: copies, torn lines, other versions, lines of other programs.

use super::*;

/// Returns the verdict on lines, and the codes of its reasons.
fn verdict_on(lines: &[Vec<u8>]) -> (Verdict, Vec<ReasonCode>) {
    let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
    lines.iter().for_each(|line| evidence.add(Some(line)));
    // The lines are those of one file.
    evidence.input.files = 1;
    let report = a_day().answer(&evidence);
    (report.verdict, report.reasons.iter().map(|reason| reason.code).collect())
}

const READY: (Verdict, Vec<ReasonCode>) = (Verdict::Ready, Vec::new());

#[test]
fn a_torn_last_line_and_lines_of_other_programs_change_nothing() {
    let mut lines = covered().lines();
    lines.push(b"Nov 30 10:00:00 host sshd[1]: hello".to_vec());
    lines.push(br#"{"level":"info","msg":"hello"}"#.to_vec());
    lines.push(lines[1][..60].to_vec());
    assert_eq!(verdict_on(&lines), READY);
    // More of them are no torn end.
    lines.push(lines[1][..50].to_vec());
    assert_eq!(verdict_on(&lines), (Verdict::NotProven, vec![ReasonCode::DamagedInput]));
}

#[test]
fn a_line_that_is_too_long_and_a_damaged_file_leave_it_open() {
    let damaged = (Verdict::NotProven, vec![ReasonCode::DamagedInput]);
    let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
    covered().lines().iter().for_each(|line| evidence.add(Some(line)));
    evidence.input.damaged_files = 1;
    let report = a_day().answer(&evidence);
    let codes: Vec<_> = report.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!((report.verdict, codes), damaged);
}

#[test]
fn copies_of_lines_count_once() {
    let mut story = Story::start("a", "r", 0);
    story.request(5, Class::V1, "bad").tallies(HOUR..=DAY);
    let tallies: Vec<_> =
        story.events.iter().filter(|event| matches!(event.body, Body::Tally(_))).collect();
    let copies = tallies.iter().map(|event| serde_json::to_vec(event).unwrap());
    let lines: Vec<_> = story.lines().into_iter().chain(copies).collect();
    let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
    lines.iter().for_each(|line| evidence.add(Some(line)));
    let report = a_day().answer(&evidence);
    assert_eq!((report.without_token, report.input.duplicates), (1, 24));
}

/// Rewrites each line as JSON.
fn rewritten(story: &Story, change: impl Fn(&mut serde_json::Value)) -> Vec<Vec<u8>> {
    let rewrite = |line: Vec<u8>| {
        let mut value = serde_json::from_slice(&line).unwrap();
        change(&mut value);
        value.to_string().into_bytes()
    };
    story.lines().into_iter().map(rewrite).collect()
}

#[test]
fn a_newer_version_that_adds_kinds_members_and_values_is_read() {
    let newer = rewritten(&covered(), |line| {
        line["schema"] = 9.into();
        line["weather"] = serde_json::json!({"rain": [1, {"a": "}"}]});
        if line["kind"] == "request" {
            line["imds"]["outcome"] = "postponed".into();
        }
    });
    assert_eq!(verdict_on(&newer), READY);
    let mut other = newer.clone();
    other.push(br#"{"schema":9,"kind":"weather","host":{"name":"a"},"run":"r"}"#.to_vec());
    assert_eq!(verdict_on(&other), READY);
    // Of a class that it does not know it cannot say that nobody breaks.
    let mut story = Story::start("a", "r", 0);
    story.request(10, Class::V2, "good").stop(DAY, DAY);
    let unknown = rewritten(&story, |line| {
        if line["kind"] == "request" {
            line["imds"]["class"] = "v3".into();
        }
    });
    assert_eq!(verdict_on(&unknown), (Verdict::NotProven, vec![ReasonCode::UnknownRequests]));
}

#[test]
fn an_older_version_without_run_caller_and_tallies_is_read() {
    let old = |class| {
        let mut story = Story::start("a", "r", 0);
        story.request(10, class, "any").stop(DAY, DAY);
        rewritten(&story, |line| {
            let line = line.as_object_mut().unwrap();
            // A host was a bare name in `start`, and nowhere else.
            let host = line.remove("host").unwrap();
            if line["kind"] == "start" {
                line.insert("host".to_owned(), host["name"].clone());
            }
            for name in ["run", "labels", "caller", "window"] {
                line.remove(name);
            }
        })
    };
    let (verdict, reasons) = verdict_on(&old(Class::V1));
    assert_eq!((verdict, reasons[0]), (Verdict::NotReady, ReasonCode::V1));
    // Its lines do not say which host they are of, so the one that `start` names proves nothing.
    assert_ne!(verdict_on(&old(Class::V2)).0, Verdict::NotReady);
}

#[test]
fn hosts_are_grouped_by_a_label_and_the_worst_group_comes_first() {
    let (mut good, mut bad) = (covered(), Story::start("b", "s", 0));
    good.label = "prod";
    bad.label = "etl";
    bad.request(5, Class::V1, "x").tallies(HOUR..=DAY);
    good.events.iter_mut().for_each(|event| {
        Arc::make_mut(&mut event.origin).labels.insert("cluster".into(), "prod".into());
    });
    let question = Question { by: Some("cluster".into()), ..a_day() };
    let report = report(&question, &[&good, &bad]);
    let groups: Vec<_> =
        report.groups.iter().map(|group| (group.value.as_str(), group.verdict)).collect();
    assert_eq!(groups, [("etl", Verdict::NotReady), ("prod", Verdict::Ready)]);
    assert_eq!(report.groups[0].without_token, 1);
}

#[test]
fn no_events_prove_nothing() {
    let report = report(&Question::default(), &[]);
    assert_eq!(report.verdict, Verdict::NotProven);
    assert_eq!(report.reasons[0].code, ReasonCode::NoEvidence);
}
