//! Rehearsals at a terminal, and in a unit that is stopped.

use imds_audit_tests::bpf::{self, Kind};

use super::*;

/// Starts what its arguments say at a terminal of its own, types, and passes the exit status on.
const TYPIST: &str = r#"
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
def until(text):
    global seen
    while text not in seen:
        seen += os.read(terminal, 4096)
until(b"ready")
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
os.write(terminal, b"size\n")
until(b"size 99 33")
os.write(terminal, b"\x03")
until(b"interrupted 1")
os.write(terminal, b"\x03")
until(b"interrupted 2")
os.write(terminal, b"end\n")
until(b"total")
try:
    while True:
        piece = os.read(terminal, 4096)
        if not piece:
            break
        seen += piece
except OSError:
    pass
print(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Counts interrupts, and says what its terminal is.
const AT_TERMINAL: &str = r#"
import os, signal, sys
count = 0
def interrupted(*_):
    global count
    count += 1
    # print() must not be entered twice, and the interrupt may come within one.
    os.write(1, b"interrupted %d\n" % count)
signal.signal(signal.SIGINT, interrupted)
print("ready", os.isatty(0), os.isatty(1), os.isatty(2), flush=True)
for line in sys.stdin:
    if line != "size\n":
        break
    print("size", *os.get_terminal_size(), flush=True)
print("total", count, flush=True)
sys.exit(7)
"#;

#[test]
fn the_command_has_the_terminal_and_gets_each_of_its_interrupts_once() {
    let Some(stage) = stage() else { return };
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("events");
    let (program, output) = (program.to_str().unwrap(), output.to_str().unwrap());
    let arguments = [
        "-c",
        TYPIST,
        program,
        "rehearse",
        "--output",
        output,
        "--",
        "/usr/bin/python3",
        "-c",
        AT_TERMINAL,
    ];
    let typed = stage.run("/usr/bin/python3", &arguments);
    assert!(typed.stdout.contains("ready True True True"), "{typed:?}");
    assert!(typed.stdout.contains("total 2"), "{typed:?}");
    assert!(typed.stdout.contains("the command ended with exit status 7"), "{typed:?}");
    assert_eq!(typed.status.code(), Some(7), "{typed:?}");
}

/// A unit is stopped as systemd does it: SIGTERM to all that is in its cgroup, the command among it,
/// and SIGKILL to what is left after a while.
#[test]
fn systemctl_stop_of_a_unit_that_rehearses_leaves_nothing_behind() {
    let Some(stage) = stage() else { return };
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("events");
    let unit = format!("rehearsing-{}.service", std::process::id());
    // Signals that are ignored stay ignored in what `exec` starts.
    let command = format!("trap \"\" TERM; curl -sf -m 20 {URL}; exec sleep 1000");
    let service = format!(
        "StandardOutput=null\nStandardError=null\nTimeoutStopSec=1s\n\
         ExecStart={} rehearse --format json --output {} -- bash -c '{command}'",
        program.display(),
        output.display()
    );
    let Some(systemd) = Systemd::boot(&stage, "stop", &[(&unit, service)], &[]) else { return };
    let seen = || {
        let text = fs::read_to_string(&output).unwrap_or_default();
        text.contains("\"kind\":\"request\"").then_some(())
    };
    assert!(until(seen).is_some(), "nothing was rehearsed");
    let is_program =
        |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    let processes = systemd.processes(&unit);
    let pid = processes.iter().copied().find(is_program).unwrap();
    assert!(processes.len() >= 2, "{processes:?}");
    let held = [Kind::Program, Kind::Map, Kind::Link].map(|kind| (kind, bpf::held_by(pid, kind)));
    assert!(held.iter().all(|(_, ids)| !ids.is_empty()), "{held:?}");
    let stopped = systemd.systemctl(&["stop", &unit]);
    assert!(stopped.status.success(), "{stopped:?}");
    bpf::wait_until_gone(&held);
    assert!(systemd.processes(&unit).is_empty());
    assert!(stage.entries().is_empty(), "{:?}", stage.entries());
    let after = stage.run("curl", &["-sf", "-m", "20", URL]);
    assert!(after.status.success(), "{after:?}");
}
