//! Endpoints and network namespaces of a rehearsal.

use std::fs;
use std::io;
use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use imds_audit_tests::{Cgroup, skip, thread_fault, until};

use super::*;

const ASK: [&str; 5] = ["connect", SERVICE, "send", GET_V1, "receive"];

fn group(name: &str) -> Option<(Cgroup, String)> {
    let name = format!("imds-audit-test-{}-{name}", std::process::id());
    let Some(group) = Cgroup::create(&name, "inner") else {
        skip("there is no hierarchy of control groups of version 2");
        return None;
    };
    Some((group, format!("/{name}")))
}

/// Gives the number of addresses that lead to a front.
fn fronts(rehearsal: &Rehearsal) -> usize {
    bpf::entries(&rehearsal.objects(Kind::Map), "FRONTS").unwrap_or(0)
}

/// Takes the loopback interface of a stage's clients down.
fn take_loopback_down(stage: &TestNetwork) {
    let down = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // SAFETY: a structure of numbers, for which zeros are valid; no flags are the last of them.
        let mut request: libc::ifreq = unsafe { zeroed() };
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        // SAFETY: the request is ours, and of the type that this call takes (netdevice(7)).
        match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    stage.network.in_client(down).unwrap().unwrap();
}

#[test]
fn each_endpoint_has_its_front_and_what_is_none_is_left_alone() {
    if !root() {
        return;
    }
    let second = format!("169.254.169.254:{}", 9_000 + std::process::id() % 10_000);
    let stage = TestNetwork::new(Topology::Direct, Some(second.parse().unwrap()));
    let other = if stage.network.ipv6() { SERVICE_V6 } else { SERVICE };
    let ask = |address| ["connect", address, "send", GET_V1, "receive", "close"];
    let command = [&[CLIENT][..], &ask(&second), &ask(MAPPED), &ask(&second), &ask(other)].concat();
    let first = if other == SERVICE { MAPPED } else { SERVICE };
    let options = ["--endpoint", second.as_str(), "--endpoint", first];
    let Some(rehearsed) = Rehearsal::of_command(&stage, &options, &command) else { return };
    let is_ipv6 = other == SERVICE_V6;
    let expected = vec![("v1", 401, PATH); if is_ipv6 { 3 } else { 4 }];
    assert_eq!(rehearsed.seen(), expected, "{rehearsed:?}");
    assert_eq!(rehearsed.result().redirected, expected.len() as u64, "{rehearsed:?}");
    let requests = rehearsed.events.requests();
    let endpoints: Vec<_> = requests.iter().map(|request| &*request.imds.endpoint).collect();
    assert_eq!(endpoints[..3], [second.as_str(), SERVICE, second.as_str()]);
    // The one that was not named was asked as ever.
    assert_eq!(stage.entries().len(), usize::from(is_ipv6));
}

#[test]
fn a_fifth_endpoint_is_refused() {
    let Some(stage) = stage() else { return };
    let addresses: Vec<_> = (1..=5).map(|number| format!("10.0.0.{number}:80")).collect();
    let options: Vec<_> =
        addresses.iter().flat_map(|address| ["--endpoint", address.as_str()]).collect();
    let Some(rehearsal) = Rehearsal::start(&stage, &options, &[CLIENT]) else { return };
    let refused = rehearsal.wait();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("at most 4 endpoints"), "{refused:?}");
}

#[test]
fn connections_of_every_kind_are_redirected() {
    let Some(stage) = stage() else { return };
    // Multipath TCP, where the kernel has it, and a request that is sent with the connect.
    let fast = [CLIENT, "fast", SERVICE, GET_V1, "receive"];
    let multipath = [CLIENT, "multipath", SERVICE, "send", GET_V1, "receive"];
    let has_multipath = fs::exists("/proc/sys/net/mptcp").unwrap();
    let commands = [Some(&fast[..]), has_multipath.then_some(&multipath[..])];
    for command in commands.into_iter().flatten() {
        let Some(rehearsed) = Rehearsal::of_command(&stage, &[], command) else { return };
        assert_eq!(rehearsed.seen(), [("v1", 401, PATH)], "{command:?} {rehearsed:?}");
        assert!(stage.entries().is_empty(), "{command:?}");
    }
}

#[test]
fn a_network_whose_front_cannot_be_reached_is_left_alone() {
    let Some(stage) = stage() else { return };
    if stage.network.topology() != Topology::Direct {
        return skip("the service is on the loopback interface");
    }
    let Some((group, path)) = group("down") else { return };
    take_loopback_down(&stage);
    let mut client = stage.start(CLIENT, &[&["stdin-line"], &ASK[..], &["stdin"]].concat());
    group.adopt(client.pid());
    let Some(rehearsal) = Rehearsal::start(&stage, &["--cgroup", &path], &[]) else { return };
    rehearsal.wait_until_attached();
    assert_eq!(fronts(&rehearsal), 0);
    client.say("go on\n");
    rehearsal.wait_for_requests(1);
    let rehearsed = rehearsal.end_by(Signal::TERM);
    client.wait();
    assert_eq!(rehearsed.seen(), [("v1", 200, PATH)], "{rehearsed:?}");
    assert_eq!(stage.entries().len(), 1);
    assert_eq!(rehearsed.result().passed, 1, "{rehearsed:?}");
    assert_eq!(rehearsed.verdicts(), ["not-exercised"], "{rehearsed:?}");
    let alone = &rehearsed.result().left_alone[0];
    assert_eq!(alone.netns, stage.network.client_inode(), "{rehearsed:?}");
    assert!(alone.reason.contains("the front cannot"), "{}", alone.reason);
    assert_eq!(rehearsed.status.code(), Some(0), "{rehearsed:?}");
}

#[test]
fn a_second_network_namespace_of_the_cgroup_gets_a_front_as_it_appears_and_is_let_go() {
    let (Some(stage), Some(other)) = (stage(), stage()) else { return };
    let Some((group, path)) = group("networks") else { return };
    let Some(rehearsal) = Rehearsal::start(&stage, &["--cgroup", &path], &[]) else { return };
    rehearsal.wait_until_attached();
    let mut client = other.start(CLIENT, &[&["stdin-line"], &ASK[..], &["stdin"]].concat());
    group.adopt(client.pid());
    // Its front is in use as soon as the map of fronts names it.
    assert!(until(|| (fronts(&rehearsal) > 0).then_some(())).is_some(), "no front appeared");
    client.say("go on\n");
    rehearsal.wait_for_requests(1);
    client.wait();
    // With its last process the namespace ends, if nobody keeps it: no thread, and no descriptor.
    assert!(until(|| (fronts(&rehearsal) == 0).then_some(())).is_some(), "the front is kept");
    let pid = rehearsal.pid();
    let name = format!("net:[{}]", other.network.client_inode());
    let is_inside = || networks_of(pid).contains(&name);
    assert!(until(|| (!is_inside()).then_some(())).is_some(), "a thread is left in the namespace");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let kept = files.filter_map(|file| fs::read_link(file.path()).ok());
    assert_eq!(kept.filter(|target| target.to_str() == Some(&name)).count(), 0);
    let rehearsed = rehearsal.end_by(Signal::TERM);
    assert_eq!(rehearsed.seen(), [("v1", 401, PATH)], "{rehearsed:?}");
    assert!(other.entries().is_empty());
}

/// Gives the network namespaces of a process's threads.
fn networks_of(pid: u32) -> Vec<String> {
    let namespaces = thread_fault::threads(pid).into_iter().filter_map(|(id, _)| {
        let target = fs::read_link(format!("/proc/{pid}/task/{id}/ns/net")).ok()?;
        Some(target.to_str()?.to_owned())
    });
    namespaces.collect()
}
