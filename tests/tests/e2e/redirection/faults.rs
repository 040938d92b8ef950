//! Ends of a rehearsal that nobody planned, and what is left of it in the kernel.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use imds_audit_tests::thread_fault::{fail_wait, threads};
use imds_audit_tests::until;

use super::*;

/// Makes a request, ends its connection, waits for the end of its input, and makes another.
const TWICE: [&str; 13] = [
    CLIENT, "connect", SERVICE, "send", GET_V1, "receive", "close", "stdin", "connect", SERVICE,
    "send", GET_V1, "receive",
];
/// The same, with a line of its input between them.
const TWICE_BY_LINE: [&str; 14] = [
    CLIENT,
    "connect",
    SERVICE,
    "send",
    GET_V1,
    "receive",
    "close",
    "stdin-line",
    "connect",
    SERVICE,
    "send",
    GET_V1,
    "receive",
    "stdin",
];

fn statuses(stage: &TestNetwork) -> Vec<Option<u16>> {
    stage.entries().iter().map(|entry| entry.status).collect()
}

/// Gives those of the sockets that the network of a stage's clients still has.
fn sockets_in<'a>(
    stage: &TestNetwork,
    sockets: impl IntoIterator<Item = &'a String>,
) -> Vec<&'a String> {
    let read = |table| fs::read_to_string(format!("/proc/thread-self/net/{table}"));
    let tables = stage.network.in_client(|| {
        let tables = ["tcp", "tcp6", "udp", "udp6"].map(|table| read(table).unwrap_or_default());
        tables.concat()
    });
    let tables = tables.unwrap();
    // The tenth column (proc_pid_net(5)).
    let listed: Vec<_> =
        tables.lines().filter_map(|line| line.split_ascii_whitespace().nth(9)).collect();
    sockets.into_iter().filter(|inode| listed.contains(&inode.as_str())).collect()
}

#[test]
fn whatever_ends_a_rehearsal_connects_lead_to_the_service_again() {
    // Killed from outside, and by what a broken program is killed by: an abort, which is the end of a
    // panic that cannot unwind, and an illegal instruction. Nothing of its own runs in any of these.
    for signal in [Signal::TERM, Signal::KILL, Signal::ABORT, Signal::ILL] {
        let Some(stage) = stage() else { return };
        // It lives on, and makes its second request after the rehearsal's end; but for SIGTERM, which
        // is handed on to the command, and whose end is the rehearsal's.
        let command = if signal == Signal::TERM { &[CLIENT, "stdin"][..] } else { &TWICE[..] };
        let Some(rehearsal) = Rehearsal::start(&stage, &[], command) else { return };
        rehearsal.wait_until_attached();
        if signal != Signal::TERM {
            rehearsal.wait_for_requests(1);
        }
        let links = rehearsal.objects(Kind::Link);
        assert!(links.len() >= 8, "{links:?}");
        let sockets = rehearsal.sockets();
        // The front's listeners and its probe are among them.
        assert!(sockets_in(&stage, &sockets).len() >= 2, "{sockets:?}");
        let rehearsed = rehearsal.end_by(signal);
        if signal == Signal::TERM {
            assert_eq!(rehearsed.status.code(), Some(128 + 15), "{rehearsed:?}");
        } else {
            assert_eq!(rehearsed.status.signal(), Some(signal.as_raw()), "{rehearsed:?}");
            assert_eq!(statuses(&stage), [Some(200)], "the command's second request");
        }
        assert!(sockets_in(&stage, &sockets).is_empty(), "{signal:?} leaves a socket behind");
        let before = stage.entries().len();
        stage.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
        assert_eq!(statuses(&stage)[before..], [Some(200)]);
    }
}

#[test]
fn a_panic_of_the_program_undoes_everything_and_the_command_goes_on() {
    let Some(stage) = stage() else { return };
    let Some(rehearsal) = Rehearsal::start(&stage, &[], &TWICE) else { return };
    rehearsal.wait_until_attached();
    rehearsal.wait_for_requests(1);
    let objects =
        [Kind::Program, Kind::Map, Kind::Link].map(|kind| (kind, rehearsal.objects(kind)));
    let sockets = rehearsal.sockets();
    assert!(sockets_in(&stage, &sockets).len() >= 2, "{sockets:?}");
    let pid = rehearsal.pid();
    let main = threads(pid).into_iter().find(|(id, _)| id.cast_unsigned() == pid).unwrap().1;
    fail_wait(pid, &main);
    // The input, which the command waits for the end of, is open until the program has ended.
    let rehearsed = rehearsal.wait_for_signal();
    assert_eq!(rehearsed.status.code(), Some(101), "{rehearsed:?}");
    assert!(rehearsed.stderr.contains("panicked"), "{rehearsed:?}");
    bpf::wait_until_gone(&objects);
    assert!(sockets_in(&stage, &sockets).is_empty());
    assert_eq!(statuses(&stage), [Some(200)], "the command's second request");
}

#[test]
fn where_a_front_panics_connects_lead_to_the_service_and_the_result_says_so() {
    let Some(stage) = stage() else { return };
    let Some(mut rehearsal) = Rehearsal::start(&stage, &[], &TWICE_BY_LINE) else { return };
    rehearsal.wait_until_attached();
    rehearsal.wait_for_requests(1);
    let fronts = |rehearsal: &Rehearsal| bpf::entries(&rehearsal.objects(Kind::Map), "FRONTS");
    assert!(fronts(&rehearsal) > Some(0));
    fail_wait(rehearsal.pid(), "front");
    // From then on nothing is redirected.
    assert!(until(|| (fronts(&rehearsal) == Some(0)).then_some(())).is_some());
    rehearsal.say("go on\n");
    let rehearsed = rehearsal.wait();
    assert!(rehearsed.stderr.contains("panicked"), "{rehearsed:?}");
    assert_eq!(statuses(&stage), [Some(200)], "the command's second request");
    assert_eq!(rehearsed.seen(), [("v1", 401, PATH), ("v1", 200, PATH)], "{rehearsed:?}");
    assert_eq!(rehearsed.result().passed, 1, "{rehearsed:?}");
    let alone = &rehearsed.result().left_alone[0];
    assert_eq!(alone.reason, "its front has failed", "{rehearsed:?}");
    assert_eq!(alone.netns, stage.network.client_inode(), "{rehearsed:?}");
    assert_eq!(rehearsed.status.code(), Some(3), "{rehearsed:?}");
}
