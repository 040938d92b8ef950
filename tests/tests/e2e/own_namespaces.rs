//! An audit in namespaces of its own, as in a container.

use std::process::Command;

use imds_audit_tests::{program, root};
use serde_json::Value;

#[test]
fn an_audit_in_namespaces_of_its_own_does_not_take_them_for_the_hosts() {
    if !root() {
        return;
    }
    let Some(program) = program() else { return };
    // An address on which nobody asks: only what the audit says of its host is looked at.
    let arguments = ["run", "--format", "json", "--duration", "1s", "--endpoint", "127.0.0.1:9"];
    let output = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--mount-proc"])
        .arg(program)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let start: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(start["kind"], "start");
    assert_eq!(start["netns"], Value::Null, "{start:#}");
    let fallbacks = start["fallbacks"].as_array().unwrap();
    assert!(fallbacks.iter().any(|fallback| fallback["name"] == "pid-namespace"), "{start:#}");
}
