use super::*;
use crate::source::ebpf::host::Host;

fn report(items: Vec<Item>) -> Report {
    let verdict = Verdict::of(&items);
    let host = Host {
        name: "node\x1b[2J".to_owned(),
        kernel: "6.1".to_owned(),
        architecture: "x86_64".to_owned(),
        lockdown: None,
        initial_pid_namespace: true,
    };
    Report { schema: SCHEMA, host, verdict, summary: verdict.sentence(&items), items }
}

#[test]
fn text_escapes_what_a_terminal_acts_on() {
    let refused = Item::lacking("btf", Status::Degraded, "a\nok  forged", "\x1b]0;x\x07");
    let page = text::render(&report(vec![refused]));
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    assert!(page.contains(r"a\nok  forged"));
}

#[test]
fn a_verifier_refusal_is_short_in_text_and_whole_in_json() {
    let item = Item::lacking("program-egress", Status::Missing, "R1 invalid", "no request is seen");
    let log = "0: (b7) r0 = 1\n".repeat(1000);
    let report = report(vec![Item { verifier_log: Some(log.clone()), ..item }]);
    assert!(text::render(&report).len() < 1000);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["items"][0]["verifier_log"], log);
    assert_eq!(json["items"][0]["status"], "missing");
    assert_eq!(json["verdict"], "impossible");
}

#[test]
fn columns_are_aligned_and_a_shared_remedy_is_told_once() {
    let lacking = |name: &str| {
        Item::lacking(name, Status::Missing, "FOUND", "cost").remedy("run as root: sudo x")
    };
    let page = text::render(&report(vec![Item::ok("a", "FOUND"), lacking("long"), lacking("b")]));
    let places: Vec<_> = page.lines().filter_map(|line| line.find("FOUND")).collect();
    assert_eq!(places.len(), 3);
    assert!(places.iter().all(|place| *place == places[0]), "{page}");
    assert_eq!(page.lines().filter(|line| line.contains("  to do:")).count(), 1);
    assert!(page.trim_end().ends_with("To do: run as root: sudo x"));
}

#[test]
fn every_item_has_its_place_whatever_the_host_allows() {
    let report = Report::make(&crate::process::Roots::default());
    let mut names: Vec<_> = report.items.iter().map(|item| item.name.as_str()).collect();
    for name in [
        "ebpf-programs",
        "CAP_BPF",
        "cgroup-root",
        "btf",
        "pid-namespace",
        "procfs",
        "agent-rights",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), report.items.len());
}
