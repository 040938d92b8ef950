//! Runs the commands of docs/rehearsal.md.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use imds_audit_tests::sandbox::in_cgroup;

use super::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rehearsal.md");

/// Gives the commands of the page: what stands in backquotes, or on a line of a block, and begins
/// with the program's name; but for the mere name of a command.
fn commands(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_block = !is_block;
            continue;
        }
        let pieces =
            if is_block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        let pieces = pieces.into_iter().map(|piece| piece.strip_prefix("sudo ").unwrap_or(piece));
        found.extend(pieces.filter(|piece| {
            piece.strip_prefix("imds-audit ").is_some_and(|rest| rest.contains(' '))
        }));
    }
    found
}

/// Gives the lines of a verdict without what differs from run to run: the clock, pids, the day, the
/// host and the length.
fn lines(verdict: &str) -> Vec<String> {
    let of_request = |line: &str| {
        let (_, rest) = line.trim_start().split_once("  ")?;
        let (rest, _) = rest.rsplit_once("  [")?;
        line.starts_with("      ").then(|| rest.to_owned())
    };
    let sentence = |line: &str| {
        let (day, rest) = line.strip_prefix("for the change request: on ")?.split_once(", ")?;
        let (subject, rest) = rest.split_once(" was rehearsed on ")?;
        let (_, rest) = rest.split_once(" with ")?;
        assert_eq!(day.len(), 10, "{line}");
        Some(format!("{subject} {rest}"))
    };
    let line = |line: &str| sentence(line).or_else(|| of_request(line)).unwrap_or(line.to_owned());
    verdict.trim().lines().map(line).collect()
}

/// What the commands of the page are about, each with the one of the page's that stands for it.
struct Place {
    folder: tempfile::TempDir,
    stand_ins: Vec<(&'static str, String)>,
}

impl Place {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes the page's words those of this place.
    fn adapt(&self, command: &str) -> String {
        let replace = |text: String, (from, to): &(&str, String)| text.replace(from, to);
        self.stand_ins.iter().fold(command.to_owned(), replace)
    }

    /// Runs a command of the page in a stage; gives its output.
    fn run(
        &self,
        stage: &TestNetwork,
        command: &str,
        group: Option<&Path>,
    ) -> std::process::Output {
        let mut shell = stage.command("sh");
        let bin = self.path("bin");
        shell.args(["-c", command]).env("PATH", format!("{bin}:/usr/sbin:/usr/bin:/sbin:/bin"));
        shell.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some(group) = group {
            in_cgroup(&mut shell, group);
        }
        shell.output().unwrap()
    }
}

#[test]
fn the_commands_of_the_page_and_its_example_are_the_program_s() {
    let Some(stage) = stage() else { return };
    let Some(program) = program() else { return };
    let page = fs::read_to_string(PAGE).unwrap();

    let number = std::process::id();
    let id = format!("{number:08x}{}", "cd".repeat(28));
    let (outer, inner) = (format!("imds-audit-test-{number}-page"), format!("docker-{id}.scope"));
    let Some(group) = Cgroup::create(&outer, &inner) else {
        return skip("there is no hierarchy of control groups of version 2");
    };
    let resident = stage.start("sleep", &["1000"]);
    group.adopt(resident.pid());
    let unit = format!("page-{number}.service");
    let service = "ExecStart=sleep 1000".to_owned();
    let Some(systemd) = Systemd::boot(&stage, "page-units", &[(&unit, service)], &[]) else {
        return;
    };
    assert!(until(|| (!systemd.processes(&unit).is_empty()).then_some(())).is_some());

    let place = Place { folder: tempfile::tempdir().unwrap(), stand_ins: Vec::new() };
    let stand_ins = vec![
        ("/opt/refresh.sh", place.path("refresh.sh")),
        ("/var/log/imds-audit", place.path("events")),
        ("COMMAND ARGUMENTS", "true".to_owned()),
        ("app.service", unit),
        ("0123456789ab", id[..12].to_owned()),
        ("/kubepods.slice/kubepods-pod1.slice", format!("/{outer}")),
        ("4242", resident.pid().to_string()),
        ("--for 10m", "--for 1s".to_owned()),
    ];
    let place = Place { stand_ins, ..place };
    for name in ["bin", "events"] {
        fs::create_dir(place.path(name)).unwrap();
    }
    std::os::unix::fs::symlink(program, place.path("bin/imds-audit")).unwrap();
    let script = place.path("refresh.sh");
    fs::write(&script, format!("#!/bin/sh\ncurl -sf {ROLE} || exit 9\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let collect = "imds-audit run --output events/a.jsonl --format json --duration 1s";
    assert!(place.run(&stage, collect, None).status.success());

    let commands = commands(&page);
    let (mut rehearsed, mut reports) = (0, 0);
    for command in &commands {
        // In a cgroup namespace of its own, what is in there is the whole host.
        let is_whole = command.contains("--whole-host");
        let output = place.run(&stage, &place.adapt(command), is_whole.then(|| group.folder()));
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = if command.contains("refresh.sh") { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{command}: {output:?}");
        if command.contains(" rehearse ") {
            rehearsed += 1;
            assert!(said.contains("for the change request: on "), "{command}: {said}");
            assert_eq!(said.contains("NOT EXERCISED"), expected == 0, "{command}: {said}");
        } else {
            reports += 1;
            assert!(!output.stdout.is_empty(), "{command}: {output:?}");
        }
    }
    assert!(rehearsed >= 8 && reports >= 2, "{commands:?}");

    // The page's example is what the first of them prints.
    let blocks: Vec<_> = page.split("```").skip(1).step_by(2).collect();
    let shown = lines(blocks[1]);
    // The script goes on until its request was reported: one that ends earlier may not be found.
    let seen = place.path("seen");
    let held = format!(
        "#!/bin/sh\ncurl -sf {ROLE} && exit\nfor n in $(seq 450); do\n\
         grep -q security-credentials {seen} && break; sleep 0.1\ndone\nexit 9\n"
    );
    fs::write(&script, held).unwrap();
    let written = format!(" rehearse --output {seen} ");
    let example = place.adapt(commands[0]).replace(" rehearse ", &written);
    let output = place.run(&stage, &example, None);
    let said = String::from_utf8(output.stderr).unwrap().replace(&script, "/opt/refresh.sh");
    assert_eq!(lines(&said), shown, "{said}");
}

#[test]
fn the_options_of_the_page_and_of_the_program_are_the_same() {
    let Some(program) = program() else { return };
    let page = fs::read_to_string(PAGE).unwrap();
    let help = Command::new(program).args(["rehearse", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let words = words.filter(|word| word.starts_with("--") && word.len() > 4);
        words.map(str::to_owned).collect()
    };
    let (shown, known) = (options(&page), options(&help));
    assert!(shown.len() > 8, "{shown:?}");
    assert!(shown.is_subset(&known), "{:?}", shown.difference(&known));
    // What the page is not about.
    let left_out: Vec<_> = known.difference(&shown).map(String::as_str).collect();
    assert_eq!(left_out, ["--help", "--verbose"]);
}
