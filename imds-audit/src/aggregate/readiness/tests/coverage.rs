//! Coverage: what proves a verdict, and what leaves it open.

use super::*;

#[test]
fn a_host_that_was_covered_and_has_no_v1_is_ready() {
    assert_eq!(verdict(&covered()), (Verdict::Ready, vec![]));
    let mut single = Story::start("a", "r", 0);
    single.request(5, Class::V2, "good").request(6, Class::V2Token, "good").stop(DAY, DAY);
    assert_eq!(verdict(&single), (Verdict::Ready, vec![]));
}

#[test]
fn each_gap_in_the_evidence_has_its_reason() {
    use ReasonCode::{ClockStep, Gap, Losses, ShortCoverage, StoppedReporting, UnknownRequests};
    type Change = fn() -> Story;
    let rows: [(&str, Change, &[ReasonCode]); 9] = [
        (
            "covered for half of the window",
            || {
                let mut story = Story::start("a", "r", DAY / 2);
                story.tallies(DAY / 2 + HOUR..=DAY);
                story
            },
            &[ShortCoverage],
        ),
        (
            "a gap between two windows",
            || {
                let mut story = Story::start("a", "r", 0);
                story.tallies(HOUR..=DAY);
                story.events.remove(5);
                story
            },
            &[Gap],
        ),
        (
            "the clock was set forward",
            || {
                let mut story = Story::start("a", "r", 0);
                story.tallies(HOUR..=2 * HOUR);
                let mut tally = story.windows.close(time(4 * HOUR), false);
                tally.from = time(3 * HOUR);
                story.push(tally);
                story.tallies(5 * HOUR..=DAY);
                story
            },
            &[Gap, ClockStep],
        ),
        (
            "the length of a run contradicts its end",
            || {
                let mut story = Story::start("a", "r", 0);
                story.stop(DAY, DAY - HOUR);
                story
            },
            &[ClockStep],
        ),
        (
            "lost requests",
            || {
                let mut story = covered();
                story.loss(DAY - 1, LossUnit::Requests).tallies(DAY..=DAY);
                story
            },
            &[Losses],
        ),
        (
            "lost details hide nobody",
            || {
                let mut story = covered();
                story.loss(DAY - 1, LossUnit::Processes).tallies(DAY..=DAY);
                story
            },
            &[],
        ),
        (
            "the clock was set back",
            || {
                let mut story = Story::start("a", "r", 0);
                story.tallies(HOUR..=4 * HOUR);
                let mut tally = story.windows.close(time(5 * HOUR), false);
                tally.from = time(2 * HOUR);
                story.push(tally);
                story.tallies(6 * HOUR..=DAY);
                story
            },
            &[ClockStep],
        ),
        (
            "requests of unknown class",
            || {
                let mut story = covered();
                story.request(DAY - 1, Class::Unknown, "odd").tallies(DAY..=DAY);
                story
            },
            &[UnknownRequests],
        ),
        (
            "a run that was killed",
            || {
                let mut story = Story::start("a", "r", 0);
                story.tallies(HOUR..=DAY / 2).request(DAY / 2 + 5, Class::V2, "good");
                story
            },
            &[StoppedReporting],
        ),
    ];
    let mut end = Story::start("end", "e", 0);
    end.tallies(HOUR..=DAY);
    for (what, story, expected) in rows {
        let report = report(&a_day(), &[&story(), &end]);
        let codes: Vec<_> = report.reasons.iter().map(|reason| reason.code).collect();
        assert_eq!(codes, expected, "{what}: {:?}", report.reasons);
        let verdict = if expected.is_empty() { Verdict::Ready } else { Verdict::NotProven };
        assert_eq!(report.verdict, verdict, "{what}");
    }
}

#[test]
fn a_limitation_of_the_host_counts_by_whether_it_can_hide_callers() {
    // Each name that `start` events carry (docs/requirements.md), and one of a newer version.
    for (name, can_hide) in [
        ("no-btf", false),
        ("no-kernel-reads", false),
        ("no-member", false),
        ("no-exec", false),
        ("partial-cgroup", true),
        ("no-cgroup-names", false),
        ("no-ptrace", false),
        ("no-ebpf", false),
        ("own-network-only", true),
        ("status-lines-only", false),
        ("pid-namespace", false),
        ("capture", true),
        ("of-a-newer-version", true),
    ] {
        let mut story = Story::start_with("a", "r", 0, &[name]);
        story.tallies(HOUR..=DAY);
        let expected = if can_hide {
            (Verdict::NotProven, vec![ReasonCode::Fallback])
        } else {
            (Verdict::Ready, vec![])
        };
        assert_eq!(verdict(&story), expected, "{name}");
    }
}

#[test]
fn a_packet_socket_sees_one_network_only() {
    let mut story = covered();
    for event in &mut story.events {
        Arc::make_mut(&mut event.origin).source = Some(crate::event::SourceKind::Packet);
    }
    assert_eq!(verdict(&story), (Verdict::NotProven, vec![ReasonCode::Fallback]));
}

#[test]
fn two_runs_at_once_count_once_and_one_after_the_other_both() {
    let mut long = Story::start("a", "long", 0);
    let mut short = Story::start("a", "short", HOUR);
    for story in [&mut long, &mut short] {
        story.request(HOUR + 5, Class::V1, "bad");
    }
    long.tallies(HOUR..=DAY);
    short.stop(2 * HOUR, HOUR);
    let report_of = |stories: &[&Story]| report(&a_day(), stories);
    let report = report_of(&[&long, &short]);
    assert_eq!((report.without_token, report.hosts[0].runs_left_out), (1, 1));
    let mut later = Story::start("a", "later", DAY);
    later.request(DAY + 5, Class::V1, "bad").stop(DAY + HOUR, HOUR);
    let report = report_of(&[&long, &later]);
    assert_eq!((report.without_token, report.hosts[0].runs_left_out), (2, 0));
}

#[test]
fn a_restart_within_the_allowed_gap_is_none() {
    let mut first = Story::start("a", "1", 0);
    first.tallies(HOUR..=12 * HOUR);
    for (pause, expected) in [(30, Verdict::Ready), (300, Verdict::NotProven)] {
        let mut second = Story::start("a", "2", 12 * HOUR + pause);
        second.tallies(13 * HOUR..=DAY);
        assert_eq!(report(&a_day(), &[&first, &second]).verdict, expected, "{pause}");
    }
}

#[test]
fn a_host_that_ended_in_order_may_be_gone() {
    let mut gone = Story::start("a", "r", 0);
    gone.stop(DAY / 2, DAY / 2);
    let mut other = Story::start("b", "s", 0);
    other.tallies(HOUR..=DAY);
    let stories = [&gone, &other];
    assert_eq!(report(&a_day(), &stories).verdict, Verdict::NotProven);
    let question = Question { ended_hosts_are_gone: true, ..a_day() };
    assert_eq!(report(&question, &stories).verdict, Verdict::Ready);
}

#[test]
fn a_host_that_was_started_within_the_window_needs_no_coverage_before() {
    let mut young = Story::start("a", "r", DAY / 2);
    if let Body::Start(start) = &mut young.events[0].body {
        start.boot = Some(time(DAY / 2 - 20));
    }
    young.tallies(DAY / 2 + HOUR..=DAY);
    assert_eq!(report(&a_day(), &[&young]).verdict, Verdict::Ready);
}

#[test]
fn an_audit_inside_a_container_proves_what_runs_in_it_and_nothing_else() {
    let container = Question { scope: Scope::Container, ..a_day() };
    for fallbacks in [&["partial-cgroup"][..], &["partial-cgroup", "own-network-only", "no-ebpf"]] {
        let mut story = Story::start_with("a", "r", 0, fallbacks);
        story.tallies(HOUR..=DAY);
        let whole = report(&a_day(), &[&story]);
        assert_eq!((whole.verdict, whole.scope), (Verdict::NotProven, Scope::Host));
        let own = report(&container, &[&story]);
        assert_eq!((own.verdict, own.scope), (Verdict::Ready, Scope::Container));
        assert!(own.scope.text().unwrap().contains("outside of that container was not seen"));
    }
    // What counts is when the container was started, and not its host.
    let mut late = Story::start_with("a", "r", DAY / 2, &["partial-cgroup"]);
    late.tallies(DAY / 2 + HOUR..=DAY);
    if let Body::Start(start) = &mut late.events[0].body {
        (start.boot, start.container_start) = (Some(time(0)), Some(time(DAY / 2 - 20)));
    }
    assert_eq!(report(&container, &[&late]).verdict, Verdict::Ready);
    let mut new = Story::start_with("a", "r", 0, &["partial-cgroup", "new-one"]);
    new.tallies(HOUR..=DAY);
    assert_eq!(report(&container, &[&new]).verdict, Verdict::NotProven);
    let mut v1 = Story::start_with("a", "r", 0, &["partial-cgroup"]);
    v1.request(DAY - 1, Class::V1, "bad").tallies(HOUR..=DAY);
    assert_eq!(report(&container, &[&v1]).verdict, Verdict::NotReady);
}
