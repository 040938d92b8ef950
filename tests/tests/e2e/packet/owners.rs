//! Owners of sockets: who is named, and what is known of the rest.

use std::time::{Duration, Instant};

use imds_audit_tests::{Cgroup, become_user, skip};

use super::*;

#[test]
fn of_a_process_that_may_not_be_looked_at_the_place_is_named_and_nothing_is_guessed() {
    let pod = "pod0b0dfd72-90c8-4b5e-9a2e-0f7d0a5e5c11";
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let name = format!("imds-audit-test-{}-kubepods-{pod}", std::process::id());
    let Some(group) = Cgroup::create(&name, id) else {
        return skip("there is no cgroup v2 to write to");
    };
    // Neither the right to look at other users' processes, nor that to override permissions.
    let rights = CapabilitySet::NET_RAW.union(CapabilitySet::DAC_READ_SEARCH);
    let scene = TestBed::by_packets_with(Setup::default(), |command| with_rights(command, rights));
    let Some(scene) = scene else { return };
    let (_folder, client) = imds_audit_tests::public_copy(std::path::Path::new(CLIENT));
    let mut command = scene.command(&client);
    let ask = ["send", PUT, "receive", "send", GET_V2, "receive"];
    // Its socket is open until it was looked for.
    command.args(["stdin-line", "connect", SERVICE]).args(ask).arg("stdin").current_dir("/");
    become_user(&mut command, 65_534);
    let mut caller = scene.start_command(&mut command);
    group.adopt(caller.pid());
    caller.say("\n");
    scene.wait_for_events(2);
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    let findings = scene.finish();
    assert_eq!(findings.classes(), ["v2-token", "v2"]);
    assert_eq!(findings.verdicts().last(), Some(&("v2", "served")));
    for exchange in &findings.exchanges {
        let process = exchange.process();
        assert_eq!(process.attribution, Attribution::Unknown, "{process:#?}");
        assert_eq!((process.pid, process.tid, process.uid), (None, None, None), "{process:#?}");
        assert_eq!((&process.name, &process.args), (&None, &None), "{process:#?}");
        assert_eq!(process.start_time, None, "{process:#?}");
        let path = format!("/{name}/{id}");
        assert!(process.cgroup.as_ref().unwrap().ends_with(&path), "{process:#?}");
        assert_eq!(process.container.as_ref().unwrap().id, id, "{process:#?}");
        assert_eq!(process.responsible, None, "{process:#?}");
    }
    let said = &findings.report.stderr;
    assert!(said.contains("socket-owner"), "{said}");
}

/// Asks as a root with every right, and then as one without any.
const TWICE: &str = r#"exec 3<>/dev/tcp/169.254.169.254/80
ask='GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: imds\r\n\r\n'
printf "$ask" >&3 && read -r -u 3 && read -r
exec setpriv --bounding-set=-all --inh-caps=-all bash -c '
printf "$1" >&3 && cat >/dev/null' bash "$ask""#;

#[test]
fn an_owner_that_is_not_found_at_first_is_found_when_the_next_request_is_sent() {
    // A root may look at another one who may do no more than itself.
    let rights = CapabilitySet::NET_RAW.union(CapabilitySet::DAC_READ_SEARCH);
    let scene = TestBed::by_packets_with(Setup::default(), |command| with_rights(command, rights));
    let Some(scene) = scene else { return };
    let mut caller = scene.start("bash", &["-c", TWICE]);
    scene.wait_for_events(1);
    caller.say("\n");
    scene.wait_for_events(2);
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    let findings = scene.finish_without_readers();
    let found: Vec<_> = findings
        .exchanges
        .iter()
        .map(|exchange| (exchange.process().attribution, exchange.pid()))
        .collect();
    let expected = [(Attribution::Unknown, None), (Attribution::SocketOwner, Some(caller.pid))];
    assert_eq!(found, expected);
}

#[test]
#[ignore = "a measurement: cargo test -p imds-audit-tests --test e2e -- --ignored --nocapture named"]
fn the_share_of_short_lived_callers_that_is_named() {
    const SECONDS: u32 = 3;
    for rate in [10, 100, 1_000] {
        let Some(scene) = TestBed::by_packets(&[]) else { return };
        let started = Instant::now();
        let (mut running, mut reached) = (Vec::new(), 0);
        for number in 0..rate * SECONDS {
            let due = Duration::from_secs(1) * number / rate;
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            if started.elapsed() > Duration::from_secs(20) {
                break;
            }
            reached += 1;
            running.push(scene.start(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]));
            // Those that have ended are not kept: each has three pipes.
            if running.len() > 64 {
                running.drain(..32).for_each(|client| drop(client.wait()));
            }
        }
        let reached = f64::from(reached) / started.elapsed().as_secs_f64();
        running.into_iter().for_each(|client| drop(client.wait()));
        let requests = scene.audit.stop().requests();
        let of = |wanted| {
            let is_wanted = move |request: &&RequestEvent| request.process.attribution == wanted;
            requests.iter().filter(is_wanted)
        };
        let placed = of(Attribution::Unknown).filter(|request| request.process.cgroup.is_some());
        let (named, unknown) =
            (of(Attribution::SocketOwner).count(), of(Attribution::Unknown).count());
        println!(
            "{rate} a second ({reached:.0} reached): {named} of {} named, {} more with their \
             cgroup",
            named + unknown,
            placed.count()
        );
    }
}
