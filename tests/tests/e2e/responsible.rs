//! Who answers for a request that a tool made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use imds_audit::simulator::Style;
use imds_audit_tests::Scene;
use serde_json::{Value, json};
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

/// Runs a program in a scene of its own, which is to make one request; gives who made it.
fn process(program: &str, arguments: &[&str]) -> Option<Value> {
    let scene = Scene::new()?;
    // What has ended cannot be read any more: the tool and the layers above it live as long as the
    // request, for which a loaded machine wants a moment, and the script until its event is there.
    scene.service.set_style(Style { delay: Duration::from_secs(1), ..Style::default() });
    let mut command = scene.command(program);
    let (findings, _) = scene.finish_with(command.args(arguments));
    Some(findings.exchanges[0].event["process"].clone())
}

/// Asserts that a request of a tool was put down to a script.
fn assert_script(process: &Value, tool: &str, rule: &str, script: &str) {
    assert_eq!(process["name"], tool, "{process:#}");
    let responsible = &process["responsible"];
    assert_eq!(responsible["rule"], rule, "{process:#}");
    assert_eq!(responsible["script"], script, "{process:#}");
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
        let Some(process) = process(program, arguments) else { return };
        assert_script(&process, "curl", "script", &path);
        let chain = process["ancestors"].as_array().unwrap();
        assert_eq!(chain[0]["pid"], process["responsible"]["pid"], "{process:#}");
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
        let Some(process) = process(&path, &[]) else { return };
        assert_script(&process, "curl", "script", &path);
    }
}

#[test]
fn a_python_program_answers_for_itself_by_its_file_or_its_module() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("import urllib.request\nurllib.request.urlopen('{URL}', timeout=10).read()\n");
    let path = script(&folder, "job.py", &text);
    let Some(found) = process("python3", &["-u", &path]) else { return };
    assert_eq!(found["responsible"]["pid"], found["pid"], "{found:#}");
    assert_eq!(
        (&found["responsible"]["rule"], &found["responsible"]["script"]),
        (&json!("script"), &json!(path))
    );

    let Some(scene) = Scene::new() else { return };
    let mut command = scene.command("python3");
    command.args(["-m", "job"]).current_dir(folder.path());
    assert!(scene.start_command(&mut command).wait().status.success());
    let findings = scene.finish();
    let responsible = &findings.exchanges[0].event["process"]["responsible"];
    assert_eq!((&responsible["rule"], &responsible["script"]), (&json!("module"), &json!("job")));
}
