use super::versions::MAX_VERSIONS;
use super::*;
use crate::flow::Unreadable;
use crate::process::{Ancestor, fixture};

const CONNECTION: ConnectionId = ConnectionId(1);

fn task(pid: u32, exec_id: u64) -> Task {
    Task { pid, tid: pid, start_time: 5, exec_id }
}

fn process_of(task: Task, name: &str, uid: u32) -> Arc<Process> {
    let mut snapshot = fixture::empty();
    (snapshot.task, snapshot.uid) = (task, uid);
    for (place, byte) in snapshot.comm.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    let bytes = fixture::bytes(snapshot, &[]);
    Arc::new(crate::snapshot::SnapshotRecord::parse(&bytes).unwrap().process())
}

fn process(task: Task, name: &str) -> Arc<Process> {
    process_of(task, name, 0)
}

fn request_at(started: u64, writer: Option<Task>, last_writer: Option<Task>) -> Request {
    let started = Timestamp(started);
    Request { started, head: Err(Unreadable::Cut), writer, last_writer, shared: false }
}

fn table() -> AttributionTable {
    AttributionTable::new(16)
}

fn connect(table: &mut AttributionTable, process: Arc<Process>) {
    connect_at(table, CONNECTION, Timestamp(0), process);
}

fn connect_at(
    table: &mut AttributionTable,
    connection: ConnectionId,
    time: Timestamp,
    process: Arc<Process>,
) {
    table.on_connect(connection, process.task, [0; COMM_LENGTH]);
    table.on_snapshot(time, process);
}

fn attribute(
    table: &mut AttributionTable,
    writer: Option<Task>,
    last: Option<Task>,
) -> (Attribution, Option<String>) {
    let (attribution, actor) = table.attribute_request(CONNECTION, &request_at(9, writer, last));
    let name = actor.and_then(|actor| actor.process).and_then(|process| process.name.clone());
    (attribution, name.map(|name| String::from_utf8(name.into()).unwrap()))
}

#[test]
fn the_writer_comes_before_the_last_writer_before_the_connector() {
    let mut table = table();
    connect(&mut table, process(task(1, 0), "opener"));
    table.on_snapshot(Timestamp(1), process(task(2, 0), "child"));
    let (child, opener) = (Some(task(2, 0)), Some(task(1, 0)));
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(attribute(&mut table, child, opener), (Attribution::Writer, named("child")));
    assert_eq!(attribute(&mut table, None, child), (Attribution::LastWriter, named("child")));
    assert_eq!(attribute(&mut table, None, None), (Attribution::Connector, named("opener")));
    assert_eq!(attribute(&mut table, opener, None), (Attribution::Writer, named("opener")));
}

#[test]
fn after_exec_the_new_program_is_named_and_never_the_old_one() {
    let mut table = table();
    connect(&mut table, process(task(1, 0), "before"));
    let after = Some(task(1, 1));
    assert_eq!(attribute(&mut table, after, None), (Attribution::Writer, None));
    table.on_snapshot(Timestamp(1), process(task(1, 1), "after"));
    assert_eq!(attribute(&mut table, after, None).1.as_deref(), Some("after"));
}

#[test]
fn a_connection_that_nobody_was_seen_to_open_is_unknown() {
    let mut table = table();
    assert_eq!(attribute(&mut table, None, None), (Attribution::Unknown, None));
    connect(&mut table, process(task(1, 0), "opener"));
    table.forget(CONNECTION);
    assert_eq!(attribute(&mut table, None, None), (Attribution::Unknown, None));
}

#[test]
fn a_writer_whose_snapshot_was_lost_keeps_its_thread_name_and_is_counted_once() {
    let mut table = table();
    let comm = *b"worker\0\0\0\0\0\0\0\0\0\0";
    table.on_send(CONNECTION, task(3, 0), comm);
    for _ in 0..3 {
        let (_, actor) =
            table.attribute_request(CONNECTION, &request_at(9, Some(task(3, 0)), None));
        let actor = actor.unwrap();
        assert_eq!((actor.comm, actor.process.is_none()), (comm, true));
    }
    assert_eq!(table.take_unattributed(), (vec![(task(3, 0), comm)], 0));
    assert_eq!(table.take_forgotten(), [task(3, 0).process()]);
    assert_eq!(table.take_unattributed(), (vec![], 0));
    // Its snapshot came after all, and was lost again.
    table.on_snapshot(Timestamp(1), process(task(3, 0), "x"));
    assert_eq!(attribute(&mut table, Some(task(3, 0)), None).1.as_deref(), Some("x"));
    assert_eq!(table.take_unattributed(), (vec![], 0));
}

#[test]
fn a_forgotten_connection_is_attributed_again_with_its_next_request() {
    let mut table = table();
    connect(&mut table, process(task(1, 0), "opener"));
    table.on_send(CONNECTION, task(1, 0), *b"thread-one\0\0\0\0\0\0");
    for other in 100..200 {
        connect_at(&mut table, ConnectionId(other), Timestamp(1), process(task(7, 0), "flood"));
    }
    table.forget(CONNECTION);
    let (attribution, actor) =
        table.attribute_request(CONNECTION, &request_at(9, Some(task(1, 0)), None));
    let actor = actor.unwrap();
    assert_eq!(attribution, Attribution::Writer);
    assert_eq!(&actor.comm[..10], b"thread-one");
    assert_eq!(actor.process.unwrap().name.as_deref(), Some(&b"opener"[..]));
}

#[test]
fn a_hundred_writers_before_a_response_keep_their_names() {
    let mut table = table();
    connect(&mut table, process(task(1, 0), "opener"));
    for pid in 2..102 {
        let comm = *b"forked-writer\0\0\0";
        table.on_snapshot(Timestamp(1), process(task(pid, 0), &format!("w{pid}")));
        table.on_send(CONNECTION, task(pid, 0), comm);
    }
    for pid in 2..102 {
        let (_, actor) =
            table.attribute_request(CONNECTION, &request_at(9, Some(task(pid, 0)), None));
        let actor = actor.unwrap();
        assert_eq!(&actor.comm, b"forked-writer\0\0\0");
        assert_eq!(actor.process.unwrap().name.as_deref(), Some(format!("w{pid}").as_bytes()));
    }
}

#[test]
fn a_request_has_the_user_that_its_process_had_when_it_was_sent() {
    let mut table = table();
    connect_at(&mut table, CONNECTION, Timestamp(10), process_of(task(1, 0), "x", 0));
    table.on_snapshot(Timestamp(20), process_of(task(1, 0), "x", 65_534));
    let mut uid = |started| {
        let request = request_at(started, Some(task(1, 0)), None);
        table.attribute_request(CONNECTION, &request).1.unwrap().process.unwrap().uid
    };
    assert_eq!([uid(5), uid(15), uid(20), uid(30)], [0, 0, 65_534, 65_534]);
}

#[test]
fn a_thousand_changes_of_user_stay_within_the_bound() {
    let mut table = table();
    for uid in 0..1000 {
        table.on_snapshot(Timestamp(uid.into()), process_of(task(1, 0), "x", uid));
    }
    let versions = table.processes.get_mut(&task(1, 0).process()).unwrap();
    assert_eq!(versions.0.len(), MAX_VERSIONS);
    assert_eq!(versions.at(Timestamp(2_000)).unwrap().uid, 999);
}

#[test]
fn two_processes_of_one_pid_whose_start_is_unknown_are_told_apart_by_time() {
    let mut table = table();
    let unknown = Task { start_time: 0, ..task(1, 0) };
    table.on_snapshot(Timestamp(10), process(unknown, "first"));
    table.on_snapshot(Timestamp(20), process(unknown, "second"));
    let mut name = |started| {
        let request = request_at(started, Some(unknown), None);
        let actor = table.attribute_request(CONNECTION, &request).1.unwrap();
        String::from_utf8(actor.process.unwrap().name.clone().unwrap().into()).unwrap()
    };
    assert_eq!([name(15), name(25)], ["first", "second"]);
}

#[test]
fn a_flood_of_connects_takes_bounded_memory_and_no_caller_its_name() {
    let mut table = AttributionTable::with_capacity(1_000, 256 << 10);
    connect(&mut table, process(task(1, 0), "caller"));
    table.on_send(CONNECTION, task(1, 0), *b"caller\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(attribute(&mut table, Some(task(1, 0)), None).1.as_deref(), Some("caller"));
    for number in 2..20_000_u32 {
        let mut flooder = Process::clone(&process(task(number, 0), "flood"));
        flooder.arguments = Some(crate::process::Arguments::new(&[b'a'; 4096], false));
        connect_at(&mut table, ConnectionId(number.into()), Timestamp(1), Arc::new(flooder));
        assert!(table.process_bytes() <= 256 << 10);
        assert!(table.connections() <= 1_000);
    }
    assert_eq!(attribute(&mut table, Some(task(1, 0)), None).1.as_deref(), Some("caller"));
    assert_eq!(attribute(&mut table, None, None), (Attribution::Connector, Some("caller".into())));
    assert_eq!(table.take_unattributed(), (vec![], 0));
    // Each process that made room is named, so that its snapshot can be had again.
    let forgotten = table.take_forgotten();
    assert_eq!((forgotten[0], forgotten.len()), (task(2, 0).process(), MAX_NAMED));
}

/// A process with one ancestor that has 4 KiB of arguments.
fn child(pid: u32, ancestor: &Arc<Ancestor>) -> Arc<Process> {
    let mut child = Process::clone(&process(task(pid, 0), "child"));
    child.ancestors = vec![Arc::clone(ancestor)];
    Arc::new(child)
}

fn script() -> Arc<Ancestor> {
    let mut snapshot = fixture::empty();
    snapshot.ancestor_count = 1;
    snapshot.ancestors[0].pid = 7;
    let bytes = fixture::bytes(snapshot, &[]);
    let mut parent = crate::snapshot::SnapshotRecord::parse(&bytes).unwrap().process().ancestors;
    let mut parent = parent.remove(0);
    let arguments = crate::process::Arguments::new(&[b'a'; 4096], false);
    Arc::make_mut(&mut parent).arguments = Some(arguments);
    parent
}

#[test]
fn the_processes_that_a_script_starts_have_its_description_in_common() {
    const CHILDREN: u32 = 100;
    let mut table = AttributionTable::with_capacity(1_000, 256 << 10);
    let parent = script();
    for pid in 1..=CHILDREN {
        table.on_snapshot(Timestamp(1), child(pid, &parent));
        table.on_send(ConnectionId(pid.into()), task(pid, 0), [0; COMM_LENGTH]);
    }
    for pid in 1..=CHILDREN {
        assert!(attribute(&mut table, Some(task(pid, 0)), None).1.is_some(), "{pid}");
    }
    // A fuller description has another ancestor in the place of the first.
    table.complete(&child(1, &script()));
    assert!(table.process_bytes() <= 256 << 10);
}

#[test]
fn ancestors_of_their_own_count_for_each_process() {
    let mut table = AttributionTable::with_capacity(1_000, 256 << 10);
    for pid in 1..=1_000 {
        table.on_snapshot(Timestamp(1), child(pid, &script()));
        // Those that send are bounded too.
        table.on_send(ConnectionId(1), task(pid, 0), [0; COMM_LENGTH]);
        assert!(table.process_bytes() <= 256 << 10);
    }
    assert!(attribute(&mut table, Some(task(1_000, 0)), None).1.is_some());
    assert!(table.take_forgotten().len() >= 900);
}

#[test]
fn processes_without_a_snapshot_are_each_counted_and_the_first_ones_named() {
    let mut table = table();
    for pid in 1..=5_000 {
        table.attribute_request(CONNECTION, &request_by(task(pid, 0)));
    }
    let (named, unnamed) = table.take_unattributed();
    assert_eq!((named.len(), unnamed), (MAX_NAMED, 5_000 - MAX_NAMED as u64));
    assert_eq!(table.take_unattributed(), (vec![], 0));
}

fn request_by(task: Task) -> Request {
    request_at(9, Some(task), None)
}
