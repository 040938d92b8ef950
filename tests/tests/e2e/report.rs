//! The report, from a day of requests of several hosts to a decision.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use imds_audit::event::{Caller, Class, Event, HostIdentity, Origin, RequestEvent};
use imds_audit::simulator::HttpTokens;
use imds_audit_tests::{Events, Setup, TestBed, node_modules, program, python, skip};
use serde_json::Value;
use tempfile::TempDir;

/// Asks for credentials without a token.
const V1: &str = "#!/bin/sh\ncurl -s http://$1/latest/meta-data/iam/security-credentials/app\n\
                  curl -s http://$1/latest/meta-data/instance-id\n";
/// Asks with a token.
const V2: &str = "#!/bin/sh\nt=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
                  http://$1/latest/api/token)\n\
                  curl -s -H \"X-aws-ec2-metadata-token: $t\" http://$1/latest/meta-data/instance-id\n";
/// Asks without a token first, as some agents do, and with one when it was refused.
const V1_FIRST: &str = "
import sys, urllib.error, urllib.request
base = 'http://' + sys.argv[1]
def ask(path, method='GET', headers={}):
    return urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers)).read()
path = '/latest/meta-data/instance-id'
try:
    ask(path)
except urllib.error.HTTPError:
    token = ask('/latest/api/token', 'PUT', {'X-aws-ec2-metadata-token-ttl-seconds': '60'})
    ask(path, headers={'X-aws-ec2-metadata-token': token.decode()})
";

/// The browser that looks at pages.
const BROWSER: &str = "/usr/bin/chromium";

/// A folder of events of several hosts, and what they ran.
struct Fleet {
    events: TempDir,
    scripts: TempDir,
}

impl Fleet {
    fn new() -> Self {
        let (events, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, text) in [("v1.sh", V1), ("v2.sh", V2), ("v1-first.py", V1_FIRST)] {
            fs::write(scripts.path().join(name), text).unwrap();
        }
        Self { events, scripts }
    }

    /// Audits a host of this name while it runs scripts; `None` if the test is skipped.
    fn host(&self, name: &str, tokens: HttpTokens, scripts: &[&str]) -> Option<()> {
        let file = self.events.path().join(format!("{name}.jsonl"));
        let cluster = format!("cluster={}", if name == "a" { "etl" } else { "prod" });
        let arguments = ["--output", file.to_str().unwrap(), "--label", &cluster];
        let setup = Setup { arguments: &arguments, ..Setup::default() };
        let (scene, address) = TestBed::alone_prepared(setup, |command| rename(command, name))?;
        scene.service.set_http_tokens(tokens);
        for script in scripts {
            let path = self.scripts.path().join(script);
            let shell = if script.ends_with(".py") { "python3" } else { "sh" };
            scene.run_well(shell, &[path.to_str().unwrap(), &address]);
        }
        let report = scene.audit.stop();
        assert_eq!(report.code(), Some(0), "{}", report.stderr);
        Some(())
    }

    fn report(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program().unwrap());
        command.arg("report").arg(self.events.path()).args(arguments).output().unwrap()
    }
}

/// Has a command run on a host of this name: a host is known by it, and the new namespace has one
/// of its own.
pub(super) fn rename(command: &mut Command, name: &str) {
    let name = CString::new(name).unwrap();
    let rename = move || {
        // SAFETY: both are system calls, and the name lives as long as the closure.
        let done = unsafe {
            libc::unshare(libc::CLONE_NEWUTS) == 0
                && libc::sethostname(name.as_ptr(), name.as_bytes().len()) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(rename) };
}

fn fleet() -> Option<Fleet> {
    let fleet = Fleet::new();
    fleet.host("a", HttpTokens::Optional, &["v1.sh", "v2.sh", "v1.sh"])?;
    fleet.host("b", HttpTokens::Required, &["v1-first.py", "v2.sh"])?;
    Some(fleet)
}

pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn a_day_of_two_hosts_becomes_a_decision_with_each_fix() {
    let Some(fleet) = fleet() else { return };
    let output = fleet.report(&["--format", "json", "--by", "cluster", "--fail-unless-ready"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "NOT_READY");
    let caller = |script: &str| {
        let callers = report["callers"].as_array().unwrap();
        callers.iter().find(|c| c["title"].as_str().unwrap().contains(script)).unwrap().clone()
    };
    let v1 = caller("v1.sh");
    assert_eq!((&v1["status"], &v1["without_token"]), (&"blocks".into(), &4.into()), "{v1}");
    assert_eq!(v1["advice"][0]["cause"], "never-asks");
    assert!(v1["advice"][0]["command"].as_str().unwrap().contains("api/token"), "{v1}");
    assert_eq!(v1["example_hosts"], serde_json::json!(["a"]));
    let first = caller("v1-first.py");
    assert_eq!(first["without_token"], 1, "{first}");
    assert_eq!(caller("v2.sh")["status"], "v2");
    let groups: Vec<_> = report["groups"].as_array().unwrap().iter().collect();
    assert_eq!(groups[0]["value"], "etl");
    assert_eq!(report["requests"], 11);
}

#[test]
fn other_implementations_read_the_same_from_the_same_files() {
    let Some(python) = python("IMDS_AUDIT_PYTHON_REPORTS") else { return };
    let Some(fleet) = fleet() else { return };
    assert_read_alike(&python, fleet.events.path());
}

/// Asserts that other implementations read the same from these files as the report.
pub(super) fn assert_read_alike(python: &Path, events: &Path) {
    let output = Command::new(python)
        .arg(path("python/check_report.py"))
        .args([&program().unwrap(), events])
        .arg(path("../deploy/sql"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_names_of_other_schemas_are_their_own() {
    let Some(python) = python("IMDS_AUDIT_PYTHON_REPORTS") else { return };
    let output = Command::new(python)
        .args([path("python/check_names.py"), path("../docs/events.md")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_commands_and_options_of_the_page_on_reports_are_the_programs() {
    let Some(fleet) = fleet() else { return };
    let place = tempfile::tempdir().unwrap();
    let events = fleet.events.path();
    std::os::unix::fs::symlink(events, place.path().join("fleet")).unwrap();
    std::os::unix::fs::symlink(events.join("b.jsonl"), place.path().join("events.jsonl")).unwrap();
    let folder = place.path().join("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(program().unwrap(), folder.join("imds-audit")).unwrap();
    let page = fs::read_to_string(path("../docs/report.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let commands: Vec<_> = blocks.flat_map(str::lines).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let command = command.replace("/var/log/imds-audit", "fleet");
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(place.path())
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {output:?}");
        let is_told = command.contains("--output") || !said.is_empty();
        assert!(is_told && output.stderr.is_empty(), "{command}: {output:?}");
        assert!(!command.contains("$?") || said.ends_with("3\n"), "{command}: {said}");
    }
    let help = Command::new(program().unwrap()).args(["report", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words = page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let options: Vec<_> = words.filter(|word| word.starts_with("--") && word.len() > 4).collect();
    assert!(options.len() > 10, "{options:?}");
    // The page also names an option of `run`.
    for option in options.iter().filter(|option| **option != "--tally") {
        assert!(help.contains(option), "{option}");
    }
    for format in ["text", "html", "json", "csv", "ocsf", "emf"] {
        assert!(page.contains(format) && help.contains(format), "{format}");
    }
}

#[test]
fn the_page_is_accessible_asks_for_nothing_and_sorts_and_filters() {
    let Some(modules) = node_modules().filter(|_| has_browser()) else { return };
    let Some(fleet) = fleet() else { return };
    // Hostile texts, which must stay texts.
    let hostile = fs::read_to_string(fleet.events.path().join("a.jsonl")).unwrap();
    let hostile = hostile
        .replace("v1.sh", "<img src=x onerror=alert(1)></code><script>alert(2)</script>=1+1")
        .replace("\"run\":\"", "\"run\":\"0");
    fs::write(
        fleet.events.path().join("hostile.jsonl"),
        hostile.replace("{\"name\":\"a\"", "{\"name\":\"c\\u001b[2J\""),
    )
    .unwrap();
    check_page(&fleet, &modules);
    let csv = String::from_utf8(fleet.report(&["--format", "csv"]).stdout).unwrap();
    assert!(!csv.lines().any(|line| line.contains(",=") || line.contains('\x1b')), "{csv}");
}

#[test]
fn the_page_of_two_thousand_hosts_and_five_hundred_callers_stays_usable() {
    const HOSTS: usize = 2000;
    const CALLERS: usize = 500;
    let Some(modules) = node_modules().filter(|_| has_browser()) else { return };
    let Some(fleet) = fleet() else { return };
    let events = Events::read_file(&fleet.events.path().join("a.jsonl"));
    let mut requests = events.requests().into_iter();
    let v1 = requests.find(|request| request.imds.class == Class::V1).unwrap();
    let mut lines = String::new();
    for host in 0..HOSTS {
        // Three callers on each host, so that all of them are on several.
        for place in 0..3 {
            let caller = (host * 3 + place) % CALLERS;
            let caller = Caller {
                id: format!("{caller:016x}"),
                title: format!("/opt/jobs/job-{caller:03}.sh"),
                home: v1.caller.home.clone(),
            };
            let name = Some(format!("ip-10-0-{}-{}", host / 250, host % 250));
            let origin = Origin {
                host: events[0].origin.host.clone().map(|host| HostIdentity { name, ..host }),
                run: Some(format!("{host:032x}")),
                ..Origin::clone(&events[0].origin)
            };
            let request = RequestEvent { caller: Arc::new(caller), ..v1.clone() };
            let event = Event { origin: Arc::new(origin), ..request.into() };
            lines += &(serde_json::to_string(&event).unwrap() + "\n");
        }
    }
    for name in ["a.jsonl", "b.jsonl"] {
        fs::remove_file(fleet.events.path().join(name)).unwrap();
    }
    fs::write(fleet.events.path().join("fleet.jsonl"), lines).unwrap();
    let page = check_page(&fleet, &modules);
    assert_eq!(page.matches("<tbody data-status=").count(), CALLERS);
    assert!(page.len() < 2 << 20, "{}", page.len());
}

fn has_browser() -> bool {
    let is_there = Path::new(BROWSER).exists();
    if !is_there {
        skip(&format!("there is no {BROWSER}"));
    }
    is_there
}

/// Looks at the report's page in a browser, in both themes. Returns the page.
fn check_page(fleet: &Fleet, modules: &Path) -> String {
    let own = tempfile::tempdir().unwrap();
    // To be looked at by a person.
    let kept = std::env::var_os("IMDS_AUDIT_SCREENSHOTS").map(PathBuf::from);
    let shots = kept.as_deref().unwrap_or(own.path());
    let page = own.path().join("report.html");
    let output = fleet.report(&["--format", "html", "--output", page.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let output = Command::new("node")
        .arg(path("node/check_page.js"))
        .args([Path::new(BROWSER), &page, shots])
        .env("NODE_PATH", modules)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(page).unwrap()
}

#[test]
fn a_path_that_cannot_be_read_is_an_error_and_a_closed_pipe_is_none() {
    let Some(program) = program() else { return };
    let output = Command::new(&program).args(["report", "/nonexistent/x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot read /nonexistent/x"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{} report {} | true", program.display(), folder.path().display()))
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
