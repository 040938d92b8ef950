//! Wrong usage, and hosts that do not allow the audit.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use imds_audit_tests::{program, public_copy, root};

/// Runs the program with arguments that it is to refuse.
fn refused(arguments: &[&str]) -> Option<(i32, String)> {
    let output = Command::new(program()?).args(arguments).output().unwrap();
    Some(reported(&output))
}

/// Gives the exit code and what was said; nothing of it may be an event.
fn reported(output: &Output) -> (i32, String) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "stdout is for events");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn a_duration_that_is_none_is_wrong_usage() {
    let Some((code, said)) = refused(&["run", "--duration", "abc"]) else { return };
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("abc") && said.contains("--duration"), "{said}");
}

#[test]
fn an_endpoint_that_is_none_is_wrong_usage() {
    for wrong in ["nonsense", "169.254.169.254", "169.254.169.254:99999", "fd00:ec2::254:80:", ""] {
        let Some((code, said)) = refused(&["run", "--endpoint", wrong]) else { return };
        assert_eq!(code, 2, "{wrong}: {said}");
        assert!(said.contains("--endpoint"), "{said}");
    }
}

#[test]
fn a_class_that_is_none_is_wrong_usage_and_the_real_ones_are_named() {
    for flag in ["--only", "--fail-on"] {
        let Some((code, said)) = refused(&["run", flag, "v3"]) else { return };
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("v3") && said.contains("v2-empty-token"), "{said}");
    }
}

#[test]
fn more_endpoints_than_the_programs_compare_with_are_refused_with_a_sentence() {
    let endpoints: Vec<_> = (1..=9).map(|number| format!("192.0.2.{number}:80")).collect();
    let arguments = endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]);
    let arguments: Vec<_> = ["run"].into_iter().chain(arguments).collect();
    let Some((code, said)) = refused(&arguments) else { return };
    assert!([2, 4].contains(&code), "{code}: {said}");
    assert!(said.contains("endpoints"), "{said}");
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    let Some((code, said)) = refused(&["watch"]) else { return };
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("watch"), "{said}");
}

#[test]
fn without_rights_the_missing_one_is_named() {
    let Some(program) = program().filter(|_| root()) else { return };
    let (_folder, program) = public_copy(&program);
    let mut command = Command::new(program);
    let output = command.arg("run").uid(65_534).gid(65_534).current_dir("/").output().unwrap();
    let (code, said) = reported(&output);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("CAP_BPF") || said.contains("root"), "{said}");
}

#[test]
fn an_output_that_cannot_be_opened_is_a_failure_that_names_it() {
    if !root() {
        return;
    }
    let Some((code, said)) = refused(&["run", "--output", "/no/such/folder/events"]) else {
        return;
    };
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("/no/such/folder/events"), "{said}");
}
