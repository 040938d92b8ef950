use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use super::record::exec_of;
use super::*;

fn wait_for(owners: &mut SocketOwners) -> SocketOwner {
    let start = Instant::now();
    loop {
        if let Some(answer) = owners.poll() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no answer");
        thread::yield_now();
    }
}

fn question(ticket: u64, source: SocketAddr, endpoint: SocketAddr) -> Question {
    Question { ticket, source, endpoint, time: 5, netns: Some(9) }
}

#[test]
fn the_process_that_holds_a_socket_is_found_and_described() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let mut owners = SocketOwners::open(&Roots::default()).unwrap();
    for ticket in 1..4 {
        let caller = TcpStream::connect(endpoint).unwrap();
        let source = caller.local_addr().unwrap();
        assert!(owners.ask(question(ticket, source, endpoint)));
        let answer = wait_for(&mut owners);
        assert_eq!(answer.ticket, ticket);
        let record = answer.record.unwrap();
        let record = record.record();
        assert_eq!(record.task().pid, std::process::id());
        assert_eq!(record.snapshot().ends.netns, 9);
        assert!(record.snapshot().ancestor_count > 0);
        let own = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(own.starts_with(record.arguments()));
        drop(caller);
    }
}

#[test]
fn a_socket_that_a_child_has_from_its_parent_is_its_parent_s() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    // The shell opens the connection; its child has it under the same number.
    let script = format!("exec 9<>/dev/tcp/127.0.0.1/{}; cat <&0 >/dev/null", endpoint.port());
    let mut shell =
        Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let (connection, source) = listener.accept().unwrap();
    let mut owners = SocketOwners::open(&Roots::default()).unwrap();
    owners.ask(question(1, source, endpoint));
    let record = wait_for(&mut owners).record.unwrap();
    assert_eq!(record.record().task().pid, shell.id());
    drop(shell.stdin.take());
    drop(connection);
    shell.wait().unwrap();
}

#[test]
fn a_closed_socket_has_no_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let mut owners = SocketOwners::open(&Roots::default()).unwrap();
    owners.ask(question(1, SocketAddr::from(([127, 0, 0, 1], 1)), endpoint));
    assert!(wait_for(&mut owners).record.is_none());
}

#[test]
fn the_cgroup_of_a_socket_without_a_holder_stays_known() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let caller = TcpStream::connect(endpoint).unwrap();
    let procfs = Procfs::open(&Roots::default().procfs).unwrap().with_own_pids();
    let mut search = Search { procfs, diag: SocketDiag::open().ok(), recent: VecDeque::new() };
    let asked = question(1, caller.local_addr().unwrap(), endpoint);
    let Ok(wanted) = search.ask(asked) else { panic!("it is open") };
    let cgroup = wanted.socket.cgroup.filter(|cgroup| *cgroup != 0);
    drop(caller);
    let Ok(answer) = search.quick(wanted) else { panic!("it is waited for") };
    assert!(!answer.is_named() && !answer.is_open);
    let found = answer.record.map(|record| {
        let snapshot = *record.record().snapshot();
        (snapshot.task.pid, snapshot.cgroup, snapshot.uid)
    });
    assert_eq!(found, cgroup.map(|cgroup| (0, cgroup, u32::MAX)));
}

#[test]
fn an_exec_moves_the_arguments_and_a_fork_does_not() {
    assert_eq!(exec_of(0, &[]), 0);
    assert_eq!(exec_of(4096, b"a"), exec_of(4096, b"b"));
    assert_ne!(exec_of(4096, b"a"), exec_of(8192, b"a"));
    assert_ne!(exec_of(0, b"a"), exec_of(0, b"b"));
}
