//! The words for a result.

use super::*;
use crate::event::{Caller, LeftAlone, Time};

fn event() -> RehearsalEvent {
    let from: jiff::Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
    let settings = RehearsedSettings { disabled: false, hop_limit: None };
    RehearsalEvent::begun(Time(from), "unit app.service".to_owned(), None, settings)
}

#[test]
fn the_sentence_names_the_command_the_host_and_the_time() {
    let mut event = event();
    let args = ["sh", "-c", "curl x; exit 0"].map(str::to_owned).to_vec();
    event.command = Some(RehearsedCommand { args, exit_status: Some(0), signal: None });
    let text = render(&event, Some("i-0123"));
    let expected = "for the change request: on 2026-11-30, sh -c 'curl x; exit 0' was rehearsed on \
                    i-0123 for less than 1 s with HttpTokens=required: of its callers 0 broke, 0 \
                    went on with tokens, 0 were not exercised; the instance was not changed.\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.contains("the command ended with exit status 0"), "{text}");
    for (seconds, words) in [(0, "less than 1 s"), (90, "90 s"), (600, "10 min"), (86_400, "24 h")]
    {
        assert_eq!(length(seconds), words);
    }
}

#[test]
fn a_running_target_is_announced_with_its_end_and_what_is_left_alone() {
    let mut event = event();
    let text = announcement(&event, None);
    assert_eq!(text, "rehearsing HttpTokens=required for unit app.service until Ctrl-C\n");
    event.settings.hop_limit = Some(1);
    event.open_before = 2;
    let text = announcement(&event, Some(Duration::from_secs(600)));
    let mut lines = text.lines();
    let first = "rehearsing HttpTokens=required, HttpPutResponseHopLimit=1 for unit app.service for \
                 10m, or until Ctrl-C";
    assert_eq!(lines.next(), Some(first));
    assert!(lines.next().unwrap().starts_with("2 connections to the service open before"));
}

#[test]
fn nothing_from_outside_forges_a_line() {
    let forged = "x\nBREAKS          forged\u{1b}[2J";
    let mut event = event();
    event.target = forged.to_owned();
    event.command = Some(RehearsedCommand {
        args: vec![forged.to_owned()],
        exit_status: None,
        signal: Some(9),
    });
    event.left_alone = vec![LeftAlone { netns: 1, reason: forged.to_owned() }];
    event.callers = vec![RehearsedCaller {
        caller: Caller {
            id: "c".to_owned(),
            title: forged.to_owned(),
            home: Some(forged.to_owned()),
        },
        verdict: RehearsalVerdict::Adapts,
        reason: forged.to_owned(),
        requests: 0,
        refused: 0,
        unrehearsed: 0,
        missing: Vec::new(),
        sequence: Vec::new(),
        advice: None,
    }];
    let text = render(&event, Some(forged)) + &announcement(&event, None);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("BREAKS")), "{text}");
}
