//! Callers that would rather be taken for somebody else.

use std::fs;

use imds_audit::event::Rule;
use imds_audit_tests::{Exchange, TestBed};

const CURL: &str = "curl -s -m 10 http://169.254.169.254/latest/meta-data/instance-id";

/// Runs an interpreter on a script of this name; the script is to make one request and then to
/// wait. Returns the request, the script's path and the closing summary.
fn reported(interpreter: &str, name: &str, text: &str) -> Option<(Exchange, String, String)> {
    let scene = TestBed::new()?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(&path, text).unwrap();
    let mut command = scene.command(interpreter);
    command.arg(&path);
    for number in 0..16 {
        // The most that Linux allows in one variable is 128 KiB.
        command.env(format!("FILLER_{number}"), "nobody-reads-this-".repeat(7_000));
    }
    let (mut findings, _) = scene.finish_with(&mut command);
    let everything = findings.report.everything();
    assert!(!everything.contains("nobody-reads-this-"), "the environment is nobody's business");
    Some((findings.exchanges.remove(0), path, findings.report.stderr))
}

#[test]
fn a_command_line_that_was_written_over_names_no_script() {
    let text = format!("$0 = 'bash /opt/innocent.sh';\nsystem('{CURL}');\n<STDIN>;\n");
    let Some((request, ..)) = reported("perl", "job.pl", &text) else { return };
    let parent = &request.process().ancestors[0];
    assert_eq!(parent.args.as_deref(), Some(&["bash /opt/innocent.sh".to_owned()][..]));
    let responsible = request.responsible();
    assert_eq!((responsible.rule, &responsible.script), (Rule::Caller, &None));
    assert_eq!(Some(responsible.pid), request.pid(), "{request:#?}");
}

#[test]
fn a_script_s_name_with_control_characters_forges_no_line_of_the_summary() {
    let text = format!("{CURL} >/dev/null\nread line || true\n");
    let name = "a\nin 1h no IMDSv1 request was served\x1b[2K.sh";
    let Some((request, path, summary)) = reported("bash", name, &text) else { return };
    assert_eq!(request.responsible().script, Some(path), "{request:#?}");
    assert!(!summary.contains('\x1b'), "{summary}");
    assert!(!summary.lines().any(|line| line.starts_with("in 1h no")), "{summary}");
}
