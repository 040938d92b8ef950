//! An audit in namespaces of its own, as in a container.

use std::process::Command;

use imds_audit_tests::{Events, program, root};

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
    let start = Events::read(&String::from_utf8(output.stdout).unwrap()).start();
    assert_eq!(start.netns, None, "{start:#?}");
    let mut fallbacks = start.fallbacks.iter();
    assert!(fallbacks.any(|fallback| fallback.name == "pid-namespace"), "{start:#?}");
}
