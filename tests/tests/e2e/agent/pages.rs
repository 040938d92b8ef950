//! Runs the commands of docs/agent.md and docs/guide.md.

use std::os::unix::{fs::symlink, process::CommandExt};
use std::process::Output;

use imds_audit::simulator::Topology;
use imds_audit_tests::{TestNetwork, written_so_far};

use rustix::process::kill_process_group;

use super::*;
use crate::SERVICE;

pub(super) const AGENT: &str = include_str!("../../../../docs/agent.md");
const GUIDE: &str = include_str!("../../../../docs/guide.md");

/// A program of another user of the guide's commands: jq.
const JQ: &str = "jq";

/// The blocks of a page in a language, in order.
pub(super) fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// The commands of console blocks, each with the output that the page shows.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in blocks(page, "console").into_iter().flat_map(str::lines) {
        match line.strip_prefix("# ") {
            Some(command) => found.push((command.to_owned(), String::new())),
            None => {
                let (_, output) = found.last_mut().unwrap();
                *output += line;
                *output += "\n";
            }
        }
    }
    found
}

/// A folder with the program in it.
fn folder() -> Option<TempDir> {
    let program = program().filter(|_| root())?;
    let folder = tempfile::tempdir().unwrap();
    symlink(program, folder.path().join("imds-audit")).unwrap();
    Some(folder)
}

/// Makes a shell that runs a command in a folder, in a mount namespace of its own in which the
/// agent's places are empty.
fn shell(folder: &TempDir, command: &str) -> Command {
    const EMPTY: &str = "mount -t tmpfs none /var/log && if test -d /etc/imds-audit; \
                         then mount -t tmpfs none /etc/imds-audit; fi";
    let mut shell = Command::new("unshare");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.path().display());
    shell.args(["--mount", "--propagation", "private", "sh", "-c"]);
    shell.arg(format!("{EMPTY} && {command}")).current_dir(folder.path());
    shell.env("PATH", path).env_remove("RUST_LOG").stdin(Stdio::null());
    shell
}

fn ask_service(stage: &TestNetwork) {
    let ended = stage.run(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn the_commands_of_the_page_on_the_agent_do_as_it_says() {
    let Some(folder) = folder() else { return };
    fs::write(folder.path().join("agent.toml"), "tally_intervall = \"15m\"\n").unwrap();
    let commands = commands(AGENT);
    let names: Vec<_> = commands.iter().map(|(command, _)| command.as_str()).collect();
    let [_, agent, ..] = names[..] else { panic!("{names:?}") };
    assert_eq!(agent, "imds-audit agent");
    for (command, wanted) in commands.iter().filter(|(command, _)| command != agent) {
        let Output { status, stdout, stderr } = shell(&folder, command).output().unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(wanted.is_empty() || said == *wanted, "{command}: {said}");
        let is_refused = said.contains("has faults");
        assert_eq!(status.code(), Some(if is_refused { 2 } else { 0 }), "{command}: {said}");
        if command.contains("--set tally_interval=5m") {
            let line = "tally_interval = \"5m\"  # flag --set tally_interval";
            assert!(said.contains(line), "{said}");
        }
    }
    let said = folder.path().join("stderr");
    let mut agent = shell(&folder, &format!("exec {agent}"));
    let mut agent = agent.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    let log = PathBuf::from(format!("/proc/{}/root/var/log/imds-audit", agent.id()));
    let is_written = |kind| (events(&log.join("events.jsonl")).count(kind) > 0).then_some(());
    let said = || written_so_far(&said);
    assert!(until(|| is_written("start")).is_some(), "{}", said());
    let stage = TestNetwork::new(Topology::Direct, None);
    ask_service(&stage);
    assert!(until(|| is_written("request")).is_some(), "{}", said());
    // What is in its namespace is gone with it.
    let log = fs::File::open(&log).unwrap();
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!(until_exit(&mut agent).unwrap().code(), Some(0), "{}", said());
    let log = format!("/proc/self/fd/{}/events.jsonl", std::os::fd::AsRawFd::as_raw_fd(&log));
    let events = events(Path::new(&log));
    assert_eq!((events.count("tally"), events.count("stop")), (1, 1), "{}", said());
}

#[test]
fn the_options_and_metrics_of_the_page_on_the_agent_are_there() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    let steps = ["connect", &address, "send", PUT, "receive", "send", GET_V2, "receive"];
    scene.run_well(CLIENT, &steps);
    agent.wait_for_requests(2);
    let page = agent.scrape();
    let table = AGENT.split("| metric | meaning |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let words = table.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names: Vec<_> = words
        // `_output_errors_total` is short for the name with what all begin with.
        .filter(|word| word.starts_with("imds_audit_") || word.starts_with("_output_"))
        .map(|word| format!("imds_audit{}", word.trim_start_matches("imds_audit")))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    // Only on request, or of some hosts.
    let optional =
        ["imds_audit_caller_requests_total", "imds_audit_fallback", "imds_audit_hop_limit"];
    for name in names.iter().filter(|name| !optional.contains(&name.as_str())) {
        assert!(page.contains(&format!("\n{name}")), "{name}: {page}");
    }
}

/// Runs a command of the guide as its reader does, but without sudo and for a shorter time, and asks
/// the service until it has ended: by itself or, where it has no end, by Ctrl-C.
fn run(folder: &TempDir, stage: &TestNetwork, command: &str) -> (Option<i32>, String) {
    let command = command.replace("sudo ", "").replace("10m", "3s").replace("7d", "3s");
    let output = folder.path().join("output");
    let file = fs::File::create(&output).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(folder.path()).env_remove("RUST_LOG");
    shell.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = shell.process_group(0).spawn().unwrap();
    let mut is_endless = command.contains(" run") && !command.contains("--duration");
    let status = until(|| {
        ask_service(stage);
        let has_seen = written_so_far(&output).contains("  v1  ");
        if is_endless && has_seen {
            is_endless = false;
            kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
        }
        child.try_wait().unwrap()
    });
    let said = fs::read_to_string(&output).unwrap();
    if status.is_none() {
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
    }
    let status = status.unwrap_or_else(|| panic!("{command} does not end: {said}"));
    (status.code(), said)
}

#[test]
fn the_commands_of_the_guide_do_as_it_says() {
    let Some(folder) = folder() else { return };
    let stage = TestNetwork::new(Topology::Direct, None);
    let blocks = blocks(GUIDE, "sh");
    let [audits, questions] = blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(audits.lines().count(), 5);
    for command in audits.lines() {
        let (code, said) = run(&folder, &stage, command);
        if command.contains(" check") {
            assert!(matches!(code, Some(0 | 4)) && said.contains("cgroup"), "{code:?}: {said}");
            continue;
        }
        // dash ends as its child did.
        assert!(matches!(code, Some(0 | 130) | None), "{command}: {code:?}: {said}");
        assert!(said.contains("never-asks") || said.contains("v1: served"), "{command}: {said}");
        assert!(!command.contains("$?") || said.ends_with("3\n"), "{command}: {said}");
    }
    let events = events(&folder.path().join("events.jsonl"));
    assert!(events.count("request") > 0 && events.count("tally") == 1, "{events:?}");
    if Command::new(JQ).arg("--version").output().is_err() {
        return imds_audit_tests::skip("there is no jq");
    }
    for question in questions.lines().filter(|line| !line.starts_with('#')) {
        let output =
            Command::new("sh").args(["-ec", question]).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{question}: {said}");
        // Whether anything is lost, a busy host decides.
        assert!(!said.is_empty() || question.contains("loss"), "{question}");
    }
    let help = Command::new(program().unwrap()).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = GUIDE.lines().filter_map(|line| line.strip_prefix("| `--"));
    let options: Vec<_> = options.map(|line| line.split([' ', '`']).next().unwrap()).collect();
    assert!(options.len() > 7, "{options:?}");
    for option in options {
        assert!(help.contains(&format!("--{option}")), "{option}");
    }
}
