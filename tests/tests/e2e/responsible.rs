//! The responsible process of requests that tools make.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use imds_audit::event::Rule;
use imds_audit::simulator::Style;
use imds_audit_tests::{Exchange, TestBed};
use rustix::process::Signal;
use tempfile::TempDir;

const URL: &str = "http://169.254.169.254/latest/meta-data/instance-id";
const CURL: &str = "curl -s -m 10 http://169.254.169.254/latest/meta-data/instance-id";

/// Writes a file that may be executed; gives its path.
fn script(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs a program in a scene of its own, which is to make one request; gives the request.
fn request(program: &str, arguments: &[&str]) -> Option<Exchange> {
    let scene = TestBed::new()?;
    // What has ended cannot be read any more: the tool and the layers above it live as long as the
    // request, for which a loaded machine wants a moment, and the script until its event is there.
    scene.service.set_style(Style { delay: Duration::from_secs(1), ..Style::default() });
    let mut command = scene.command(program);
    let (mut findings, _) = scene.finish_with(command.args(arguments));
    findings.exchanges.pop()
}

/// Asserts that a request of curl was put down to a script.
fn assert_script(found: &Exchange, script: &str) {
    assert_eq!(found.process().name.as_deref(), Some("curl"), "{found:#?}");
    let responsible = found.responsible();
    assert_eq!(responsible.rule, Rule::Script, "{found:#?}");
    assert_eq!(responsible.script.as_deref(), Some(script), "{found:#?}");
}

#[test]
fn a_script_answers_for_the_tools_that_it_calls() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(&folder, "refresh.sh", &format!("#!/bin/sh\n{CURL}\nread line || true\n"));
    for (program, arguments) in [
        (&*path, &[][..]),
        ("sh", &[&*path]),
        ("bash", &["-e", &path]),
        ("sh", &["-c", &format!("{path}; true")]),
        ("env", &["A=1", "nice", "-n", "5", "timeout", "20", &path]),
        ("setsid", &["--wait", "nohup", &path]),
    ] {
        let Some(found) = request(program, arguments) else { return };
        assert_script(&found, &path);
        assert_eq!(found.responsible().pid, found.process().ancestors[0].pid, "{found:#?}");
    }
}

#[test]
fn a_script_that_ended_before_anybody_looked_is_responsible_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("#!/bin/sh\nX=$({CURL})\n({CURL}; true)\n{CURL}\n");
    let path = script(&folder, "nightly.sh", &text);
    let Some(scene) = TestBed::new() else { return };
    // Nobody looks meanwhile. The last command of a shell's own line takes the shell's place.
    scene.audit.signal(Signal::STOP);
    scene.run_well(&path, &[]);
    scene.run_well("sh", &["-c", &format!("{path}; exec true")]);
    scene.audit.signal(Signal::CONT);
    let (_, requests) = scene.stop();
    assert_eq!(requests.len(), 6);
    for request in requests {
        let responsible = request.process.responsible.as_ref().unwrap();
        assert_eq!(responsible.rule, Rule::Script, "{request:#?}");
        assert_eq!(responsible.script.as_ref(), Some(&path), "{request:#?}");
        assert_eq!(request.caller.title, path, "{request:#?}");
    }
}

#[test]
fn the_layers_between_a_script_and_its_tool_are_looked_through() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "#!/bin/bash\necho {URL} | xargs -n1 timeout 20 curl -s -m 10\nread line || true\n"
    );
    let piped = script(&folder, "piped.sh", &text);
    let text = format!("#!/bin/bash\n(sh -c '{CURL}; true'; true)\nread line || true\n");
    let nested = script(&folder, "nested.sh", &text);
    for path in [piped, nested] {
        let Some(found) = request(&path, &[]) else { return };
        assert_script(&found, &path);
    }
}

#[test]
fn a_python_program_answers_for_itself_by_its_file_or_its_module() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("import urllib.request\nurllib.request.urlopen('{URL}', timeout=10).read()\n");
    let path = script(&folder, "job.py", &text);
    let Some(found) = request("python3", &["-u", &path]) else { return };
    let responsible = found.responsible();
    assert_eq!(Some(responsible.pid), found.pid(), "{found:#?}");
    assert_eq!((responsible.rule, responsible.script.as_ref()), (Rule::Script, Some(&path)));

    let Some(scene) = TestBed::new() else { return };
    let mut command = scene.command("python3");
    command.args(["-m", "job"]).current_dir(folder.path());
    assert!(scene.start_command(&mut command).wait().status.success());
    let findings = scene.finish();
    let responsible = findings.exchanges[0].responsible();
    assert_eq!((responsible.rule, responsible.script.as_deref()), (Rule::Module, Some("job")));
}

/// Puts a compiled program into a folder under another name; it runs its arguments, the first of
/// which is a number of seconds, and waits for them.
fn runner(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    fs::copy("/usr/bin/timeout", &path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_launcher_is_not_responsible_for_the_single_command_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cron", "sshd", "s6-supervise"] {
        let launcher = runner(&folder, name);
        let curl = ["30", "curl", "-s", "-m", "10", URL];
        let Some(found) = request(&launcher, &curl) else { return };
        assert_eq!(found.process().ancestors[0].name.as_deref(), Some(name), "{found:#?}");
        assert_eq!(Some(found.responsible().pid), found.pid(), "{found:#?}");
        assert_eq!(found.responsible().rule, Rule::Command, "{found:#?}");

        let agent = runner(&folder, "billing-agent");
        let nested = [&["30", &*agent], &curl[..]].concat();
        let found = request(&launcher, &nested).unwrap();
        assert_eq!(found.responsible().name.as_deref(), Some("billing-agent"), "{found:#?}");
        assert_eq!(found.responsible().pid, found.process().ancestors[0].pid, "{found:#?}");
    }
}

#[test]
fn a_compiled_program_is_responsible_before_the_supervisor_that_watches_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "import subprocess, sys\nsubprocess.run(sys.argv[1:])\nsys.stdin.read()\n";
    let supervisor = script(&folder, "supervisord", text);
    let agent = runner(&folder, "telegraf");
    let curl = ["curl", "-s", "-m", "10", URL];
    let below = [&["-u", &*supervisor, &*agent, "30"], &curl[..]].concat();
    let Some(found) = request("python3", &below) else { return };
    assert_eq!(found.responsible().name.as_deref(), Some("telegraf"), "{found:#?}");
    // What it does through a tool is its own.
    let direct = [&["-u", &*supervisor], &curl[..]].concat();
    let found = request("python3", &direct).unwrap();
    assert_script(&found, &supervisor);
}

#[test]
fn of_nested_scripts_with_one_relative_name_the_nearest_is_responsible_by_its_full_path() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let text = "import subprocess, sys\nsubprocess.run(['python3', 'main.py'], cwd='inner')\n\
                sys.stdin.read()\n";
    fs::write(folder.path().join("main.py"), text).unwrap();
    let text = format!(
        "import subprocess, sys\nsubprocess.run(['curl', '-s', '-m', '10', '{URL}'])\n\
         sys.stdin.read()\n"
    );
    fs::write(inner.join("main.py"), text).unwrap();
    let Some(scene) = TestBed::new() else { return };
    scene.service.set_style(Style { delay: Duration::from_secs(1), ..Style::default() });
    let mut command = scene.command("python3");
    let (findings, _) = scene.finish_with(command.arg("main.py").current_dir(folder.path()));
    let found = &findings.exchanges[0];
    assert_script(found, inner.join("main.py").to_str().unwrap());
    assert_eq!(found.responsible().pid, found.process().ancestors[0].pid, "{found:#?}");
    assert_eq!(found.process().cwd.as_deref(), inner.to_str(), "{found:#?}");
}

#[test]
fn a_script_that_changed_its_working_directory_has_the_path_that_it_was_started_by() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("#!/bin/sh\ncd /\n{CURL}\nread line || true\n");
    let path = script(&folder, "run.sh", &text);
    for shell in ["bash", "dash"] {
        let Some(scene) = TestBed::new() else { return };
        scene.service.set_style(Style { delay: Duration::from_secs(1), ..Style::default() });
        let mut command = scene.command(shell);
        let (findings, _) = scene.finish_with(command.arg("./run.sh").current_dir(folder.path()));
        let found = &findings.exchanges[0];
        assert_script(found, &path);
        assert_eq!(found.process().cwd.as_deref(), Some("/"), "{found:#?}");
    }
}
