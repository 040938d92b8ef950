use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::limits::RETRY_AFTER;
use imds_audit_ebpf::{BegunProgram, ProcessKey, Snapshot};
use zerocopy::FromZeros;

use super::*;
use crate::snapshot::{BegunPrograms, SnapshotRecord};

/// A child that is ended with the test.
struct Running(Child);

impl Running {
    /// Starts a program and waits until its arguments are in place: `spawn` returns once the old
    /// memory is gone, which is a little earlier.
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let running = Self(child);
        let expected = [command.get_program().as_bytes(), b"\0"].concat();
        let path = format!("/proc/{}/cmdline", running.0.id());
        while !fs::read(&path).unwrap().starts_with(&expected) {
            std::thread::yield_now();
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn processes() -> Processes {
    Processes::open(&Roots::default(), RecordPids::Kernel, None).unwrap()
}

fn observe(processes: &mut Processes, snapshot: Snapshot, arguments: &[u8]) -> Arc<Process> {
    let bytes = fixture::bytes(snapshot, arguments);
    let observed = processes.observe(&SnapshotRecord::parse(&bytes).unwrap());
    if observed.is_pending { completed(processes) } else { observed }
}

/// Waits for the one process that is being completed.
fn completed(processes: &mut Processes) -> Arc<Process> {
    loop {
        if let Some(process) = processes.poll() {
            return process;
        }
        std::thread::yield_now();
    }
}

fn arguments(process: &Process) -> Vec<Vec<u8>> {
    process.arguments.as_ref().unwrap().iter().map(<[u8]>::to_vec).collect()
}

/// Starts `sh` with odd arguments, waiting for a line of input.
fn odd_shell() -> Running {
    let odd = [&b"line\nbreak"[..], b"", b"\xff\xfe", b""].map(std::ffi::OsStr::from_bytes);
    Running::start(Command::new("sh").args(["-c", "read line; exec sleep 60"]).args(odd))
}

#[test]
fn a_live_process_is_completed_with_odd_arguments_as_they_are() {
    let child = odd_shell();
    let (snapshot, bytes) = fixture::of_live_process(child.0.id());
    let mut seen = processes();
    let process = observe(&mut seen, snapshot, &bytes);
    assert_eq!(process.procfs_match, ProcfsMatch::Program);
    let expected: [&[u8]; 7] =
        [b"sh", b"-c", b"read line; exec sleep 60", b"line\nbreak", b"", b"\xff\xfe", b""];
    assert_eq!(arguments(&process), expected);
    let exe = fs::read_link(format!("/proc/{}/exe", child.0.id())).unwrap();
    assert_eq!(
        process.exe,
        Some(Executable::Path { path: exe.as_os_str().as_bytes().into(), deleted: false })
    );
    assert!(process.cgroup.is_some());
    assert!(Arc::ptr_eq(&process, &observe(&mut seen, snapshot, &bytes)));
    assert!(Arc::ptr_eq(&process, &seen.get(&snapshot.task.process()).unwrap()));
}

#[test]
fn another_program_in_the_same_process_is_not_taken_for_the_first() {
    let mut child = odd_shell();
    let (snapshot, bytes) = fixture::of_live_process(child.0.id());
    child.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let comm = format!("/proc/{}/comm", child.0.id());
    while fs::read(&comm).unwrap() != b"sleep\n" {
        std::thread::yield_now();
    }
    let process = observe(&mut processes(), snapshot, &bytes);
    assert_eq!(process.procfs_match, ProcfsMatch::Process);
    assert_eq!(process.exe, Some(Executable::FileName(name(&snapshot.exe))));
    assert_eq!(arguments(&process)[0], b"sh");
    assert!(process.cgroup.is_some());
}

fn name(field: &[u8]) -> Box<[u8]> {
    field.split(|&byte| byte == 0).next().unwrap().into()
}

#[test]
fn equal_addresses_with_other_arguments_are_another_program() {
    let child = odd_shell();
    let (snapshot, mut bytes) = fixture::of_live_process(child.0.id());
    bytes[0] = b'z';
    assert_eq!(observe(&mut processes(), snapshot, &bytes).procfs_match, ProcfsMatch::Process);
}

#[test]
fn unknown_addresses_prove_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let fields = ["0"; 49].join(" ");
    fs::create_dir(folder.path().join("7")).unwrap();
    fs::write(folder.path().join("7/stat"), format!("7 (x) S {fields}")).unwrap();
    fs::write(folder.path().join("7/cmdline"), "other\0").unwrap();
    let mut snapshot = fixture::empty();
    snapshot.flags = imds_audit_ebpf::snapshot_flags::KERNEL;
    (snapshot.task.pid, snapshot.task.start_time) = (7, 1);
    let roots = Roots { procfs: folder.path().into(), cgroup: None, ..Roots::default() };
    let process =
        observe(&mut Processes::open(&roots, RecordPids::Kernel, None).unwrap(), snapshot, b"");
    assert_eq!((process.procfs_match, &process.arguments), (ProcfsMatch::Process, &None));
}

#[test]
fn a_later_process_with_the_same_pid_is_refused() {
    let child = odd_shell();
    let (mut snapshot, bytes) = fixture::of_live_process(child.0.id());
    snapshot.task.start_time -= 1;
    let process = observe(&mut processes(), snapshot, &bytes);
    assert_eq!(process.procfs_match, ProcfsMatch::None);
    assert_eq!((process.cgroup.clone(), process.user.clone()), (None, None));
}

#[test]
fn a_vanished_process_keeps_what_the_kernel_said() {
    let child = odd_shell();
    let (snapshot, bytes) = fixture::of_live_process(child.0.id());
    drop(child);
    let process = observe(&mut processes(), snapshot, &bytes);
    assert_eq!(process.procfs_match, ProcfsMatch::None);
    assert_eq!(arguments(&process).len(), 7);
    assert_eq!(process.exe, Some(Executable::FileName(name(&snapshot.exe))));
}

#[test]
fn without_kernel_reads_procfs_is_marked_unverified_and_a_younger_process_refused() {
    let child = odd_shell();
    let (mut snapshot, _) = fixture::of_live_process(child.0.id());
    let (start_time, time) = (snapshot.task.start_time, snapshot.time);
    snapshot.flags = 0;
    (snapshot.task.start_time, snapshot.task.exec_id) = (0, 0);
    (snapshot.arguments_start, snapshot.arguments_end) = (0, 0);
    (snapshot.comm, snapshot.exe) = ([0; 16], [0; 64]);
    let process = observe(&mut processes(), snapshot, b"");
    assert_eq!(process.procfs_match, ProcfsMatch::Unverified);
    assert_eq!(process.start_time, Some(start_time));
    assert_eq!(process.ancestors[0].pid, std::process::id());
    assert_eq!(arguments(&process)[1], b"-c");
    snapshot.time = start_time - 1;
    assert_eq!(observe(&mut processes(), snapshot, b"").procfs_match, ProcfsMatch::None);
    snapshot.time = time;
    snapshot.thread_comm[0] = b'?';
    assert_eq!(observe(&mut processes(), snapshot, b"").procfs_match, ProcfsMatch::None);
}

#[test]
fn ancestors_are_completed_where_they_are_the_same() {
    let (parent, _) = fixture::of_live_process(std::process::id());
    let child = odd_shell();
    let (mut snapshot, bytes) = fixture::of_live_process(child.0.id());
    snapshot.ancestor_count = 2;
    snapshot.ancestors[0] = imds_audit_ebpf::Ancestor {
        pid: parent.task.pid,
        start_time: parent.task.start_time,
        comm: parent.comm,
        ..Default::default()
    };
    snapshot.ancestors[1] = snapshot.ancestors[0];
    snapshot.ancestors[1].start_time += 10_000_000;
    let process = observe(&mut processes(), snapshot, &bytes);
    let exe = std::env::current_exe().unwrap();
    let first = &process.ancestors[0];
    assert_eq!(first.exe.as_ref().unwrap().as_bytes(), exe.as_os_str().as_bytes());
    assert!(first.arguments.as_ref().unwrap().count() > 0);
    assert_eq!((&process.ancestors[1].exe, &process.ancestors[1].arguments), (&None, &None));
}

#[test]
fn a_rewritten_command_line_without_nuls_is_one_argument() {
    let title = [&b"nginx: worker process"[..], &[0; 90]].concat();
    let line = Arguments::new(&title, false);
    assert_eq!(line.iter().collect::<Vec<_>>(), [b"nginx: worker process"]);
    assert_eq!(Arguments::new(b"title", false).iter().collect::<Vec<_>>(), [b"title"]);
}

#[test]
fn empty_arguments_are_counted_as_they_were_given() {
    let all = |bytes: &[u8]| Arguments::new(bytes, false).count();
    assert_eq!([all(b""), all(b"\0"), all(b"\0\0"), all(b"a\0\0\0")], [0, 1, 2, 3]);
    assert_eq!(Arguments::new(b"", false).iter().count(), 0);
    assert_eq!(Arguments::new(b"a\0\0\0", false).iter().count(), 3);
}

#[test]
fn command_lines_stop_at_their_bounds() {
    let many = Arguments::new(&b"a\0".repeat(MAX_ARGUMENT_COUNT + 1), false);
    assert_eq!((many.count(), many.is_truncated()), (MAX_ARGUMENT_COUNT, true));
    assert_eq!(many.iter().count(), MAX_ARGUMENT_COUNT);
    let exact = Arguments::new(&b"a\0".repeat(MAX_ARGUMENT_COUNT), false);
    assert_eq!((exact.count(), exact.is_truncated()), (MAX_ARGUMENT_COUNT, false));
    let long = Arguments::new(&vec![b'a'; MAX_ARGUMENT_BYTES + 1], false);
    assert_eq!((long.len(), long.is_truncated()), (MAX_ARGUMENT_BYTES, true));
}

#[test]
fn debug_output_holds_no_argument() {
    let mut snapshot = fixture::empty();
    snapshot.arguments_end = 40;
    let bytes = fixture::bytes(snapshot, b"curl\0secret-token\0");
    let process = SnapshotRecord::parse(&bytes).unwrap().process();
    assert!(!format!("{process:?}").contains("secret"));
    assert!(format!("{process:?}").contains("count: 2"));
}

#[test]
fn an_ancestor_that_runs_another_program_since_is_not_taken_for_the_first() {
    let mut parent = Running::start(
        Command::new("sh").args(["-c", "read line; exec sh -c 'read line; :' other"]),
    );
    let (found, _) = fixture::of_live_process(parent.0.id());
    let child = odd_shell();
    let (mut snapshot, bytes) = fixture::of_live_process(child.0.id());
    snapshot.ancestor_count = 1;
    snapshot.ancestors[0] = imds_audit_ebpf::Ancestor {
        pid: found.task.pid,
        start_time: found.task.start_time,
        arguments_start: found.arguments_start,
        comm: found.comm,
        ..Default::default()
    };
    let first = observe(&mut processes(), snapshot, &bytes);
    assert_eq!(first.ancestors[0].workload, Workload::Commands);

    parent.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let path = format!("/proc/{}/cmdline", parent.0.id());
    while !fs::read(&path).unwrap().ends_with(b"\0other\0") {
        std::thread::yield_now();
    }
    let later = observe(&mut processes(), snapshot, &bytes);
    let ancestor = &later.ancestors[0];
    assert_eq!((&ancestor.arguments, &ancestor.workload), (&None, &Workload::Unknown));
    assert_eq!(ancestor.location, first.ancestors[0].location, "an exec moves no process");
}

/// What one process began.
#[derive(Debug)]
struct Begun(ProcessKey, BegunProgram);

impl BegunPrograms for Begun {
    fn find(&self, process: ProcessKey) -> Option<BegunProgram> {
        (process == self.0).then_some(self.1)
    }
}

#[test]
fn an_ancestor_that_is_gone_ran_what_it_had_begun() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots { procfs: folder.path().into(), cgroup: None, ..Roots::default() };
    let mut snapshot = fixture::empty();
    (snapshot.task.pid, snapshot.task.start_time, snapshot.task.exec_id) = (9, 90, 3);
    snapshot.ancestor_count = 2;
    // A subshell, which has made no `exec`, and its script.
    for (ancestor, pid) in snapshot.ancestors.iter_mut().zip([8, 7]) {
        (ancestor.pid, ancestor.start_time) = (pid, u64::from(pid) * 10);
        (ancestor.exec_id, ancestor.arguments_start) = (2, 4096);
    }
    let key = ProcessKey { pid: 7, start_time: 70, exec_id: 2 };
    let mut begun = BegunProgram::new_zeroed();
    let line = b"sh\0/opt/nightly.sh\0";
    begun.arguments[..line.len()].copy_from_slice(line);
    begun.exe[..4].copy_from_slice(b"dash");
    begun.arguments_length = line.len().try_into().unwrap();
    for (captured, key, expected) in [
        (begun.arguments_length, key, Some(&b"/opt/nightly.sh"[..])),
        // Another `exec`, nothing, and more than there can be.
        (begun.arguments_length, ProcessKey { exec_id: 1, ..key }, None),
        (0, key, None),
        (u32::MAX, key, None),
    ] {
        let program = BegunProgram { arguments_captured: captured, ..begun };
        let known: Arc<dyn BegunPrograms> = Arc::new(Begun(key, program));
        let mut seen = Processes::open(&roots, RecordPids::Kernel, Some(known)).unwrap();
        let process = observe(&mut seen, snapshot, b"curl\0");
        let responsible = process.responsible.as_ref().unwrap();
        assert_eq!(responsible.script.as_deref(), expected);
        assert_eq!(responsible.pid, if expected.is_some() { 7 } else { 9 });
    }
}

#[test]
fn what_a_gone_ancestor_had_begun_is_cleaned_like_any_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots { procfs: folder.path().into(), cgroup: None, ..Roots::default() };
    let mut snapshot = fixture::empty();
    (snapshot.task.pid, snapshot.task.start_time, snapshot.task.exec_id) = (9, 90, 3);
    (snapshot.cgroup, snapshot.ancestor_count) = (1, 1);
    let parent = &mut snapshot.ancestors[0];
    (parent.pid, parent.start_time, parent.exec_id) = (7, 70, 2);
    let mut begun = BegunProgram::new_zeroed();
    let line = b"curl\0--password\0hunter2\0";
    begun.arguments[..line.len()].copy_from_slice(line);
    begun.arguments_length = line.len().try_into().unwrap();
    (begun.arguments_captured, begun.cgroup) = (begun.arguments_length, 1);
    let key = ProcessKey { pid: 7, start_time: 70, exec_id: 2 };
    let known: Arc<dyn BegunPrograms> = Arc::new(Begun(key, begun));
    let mut seen =
        Processes::open(&roots, RecordPids::Kernel, Some(known)).unwrap().with_argument_filter(
            |arguments| arguments.with_words(&crate::redact::arguments(arguments.iter())),
        );
    let process = observe(&mut seen, snapshot, b"curl\0");
    let parent = &process.ancestors[0];
    let words: Vec<_> = parent.arguments.as_ref().unwrap().iter().collect();
    assert_eq!(words[..2], [&b"curl"[..], b"--password"]);
    assert!(!words.iter().any(|word| word.windows(7).any(|part| part == b"hunter2")));
    // The id of its cgroup is the child's, but nothing says that it names the child's place.
    assert_eq!(parent.location, None);
}

#[test]
fn a_container_that_was_named_late_is_asked_for_again_and_nothing_else_is() {
    const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";
    let container = "0123456789abcdef".repeat(4);
    let folder = tempfile::tempdir().unwrap();
    let process = folder.path().join("7");
    fs::create_dir(&process).unwrap();
    fs::write(process.join("stat"), format!("7 (x) S {}", ["7"; 49].join(" "))).unwrap();
    fs::write(process.join("cmdline"), "app\0").unwrap();
    fs::write(process.join("cgroup"), format!("0::/kubepods/pod{POD}/{container}\n")).unwrap();
    for name in ["app", "proxy"] {
        fs::create_dir_all(folder.path().join(format!("pods/shop_web_{POD}/{name}"))).unwrap();
    }
    fs::create_dir(folder.path().join("containers")).unwrap();
    let mut snapshot = fixture::empty();
    (snapshot.task.pid, snapshot.task.start_time) = (7, 70_000_000);
    (snapshot.arguments_start, snapshot.arguments_end) = (7, 7);
    let roots =
        Roots { procfs: folder.path().into(), cgroup: None, kubelet_logs: folder.path().into() };
    let mut seen = Processes::open(&roots, RecordPids::Kernel, None).unwrap();
    let mut ask = |time| {
        snapshot.time = time;
        let process = observe(&mut seen, snapshot, b"");
        assert_eq!(process.procfs_match, ProcfsMatch::Program);
        let names = process.pod_names.clone().unwrap();
        assert_eq!((&*names.namespace, &*names.name), (&b"shop"[..], &b"web"[..]));
        (process.arguments.clone(), names.container)
    };
    let first = ask(0);
    assert_eq!(first.1, None);
    let link = format!("containers/web_shop_app-{container}.log");
    std::os::unix::fs::symlink("/no/such/file", folder.path().join(link)).unwrap();
    fs::remove_dir_all(process).unwrap();
    assert_eq!(ask(RETRY_AFTER - 1), first);
    assert_eq!(ask(RETRY_AFTER), (first.0, Some((*b"app").into())));
}
