//! Callers in real units of a real systemd.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use imds_audit::event::{Manager, Rule};
use imds_audit_tests::{Comparison, Exchange, Systemd, TestBed, public_copy};

use super::{CLIENT, SERVICE};

/// Gives each request, by what was asked for.
fn by_target(findings: &Comparison) -> BTreeMap<&str, &Exchange> {
    let by_name = findings.exchanges.iter().map(|exchange| {
        let (_, name) = exchange.entry.target.rsplit_once('/').unwrap();
        (name, exchange)
    });
    by_name.collect()
}

#[test]
fn units_of_the_system_s_and_of_a_user_s_manager_are_named_with_who_answers_in_them() {
    let Some(scene) = TestBed::new() else { return };
    let (folder, client) = public_copy(CLIENT.as_ref());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // What reads it lives as long as the test holds it open for writing.
    let fifo = path("wait");
    assert!(Command::new("mkfifo").args(["-m", "644", &fifo]).status().unwrap().success());
    let held = File::options().read(true).write(true).open(&fifo).unwrap();
    let client = client.to_str().unwrap();
    // The client's own escapes, and systemd's: it takes `%` for a specifier and `\` for an escape.
    let ask = |name: &str| {
        format!(
            "{client} connect {SERVICE} send \"GET /latest/meta-data/{name} HTTP/1.1\
             \\\\r\\\\nHost: imds\\\\r\\\\n\\\\r\\\\n\" receive stdin"
        )
    };
    let script = |name: &str| {
        let path = path(&format!("{name}.sh"));
        let text = format!(
            "#!/bin/sh\ncurl -s -m 10 http://169.254.169.254/latest/meta-data/{name}\nread line\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let common = format!(
        "Environment=IMDS_AUDIT_TEST_NAMESPACE={}\nStandardInput=file:{fifo}\n\
         StandardOutput=null\nStandardError=null",
        scene.network.client_inode()
    );
    let system = [
        ("own.service", format!("{common}\nExecStart={}", ask("own"))),
        ("script.service", format!("{common}\nSlice=batch.slice\nExecStart={}", script("script"))),
        ("line.service", format!("{common}\nExecStart=/bin/sh -c '{}; true'", ask("line"))),
    ];
    let user = [("mine.service", format!("{common}\nExecStart={}", script("mine")))];
    let Some(systemd) = Systemd::boot(&scene, "units", &system, &user) else { return };
    scene.wait_for_events(4);
    drop(held);
    drop(systemd);

    let findings = scene.finish();
    let requests = by_target(&findings);
    let placed = |name: &str| {
        let process = requests[name].process();
        (process.manager.unwrap(), [&process.slice, &process.unit].map(|n| n.as_deref().unwrap()))
    };
    let cgroup = |name: &str| requests[name].process().cgroup.as_deref().unwrap();
    let responsible = |name: &str| {
        let found = requests[name].responsible();
        (found.rule, found.script.clone())
    };
    assert_eq!(placed("own"), (Manager::System, ["system.slice", "own.service"]));
    assert!(cgroup("own").ends_with("/system.slice/own.service"), "{}", cgroup("own"));
    assert_eq!(responsible("own"), (Rule::Unit, None));
    assert_eq!(Some(requests["own"].responsible().pid), requests["own"].pid());

    assert_eq!(placed("script"), (Manager::System, ["batch.slice", "script.service"]));
    assert_eq!(responsible("script"), (Rule::Script, Some(path("script.sh"))));

    assert_eq!(placed("line"), (Manager::System, ["system.slice", "line.service"]));
    assert_eq!(responsible("line"), (Rule::Command, None));

    assert_eq!(placed("mine"), (Manager::User, ["app.slice", "mine.service"]));
    let user = Systemd::USER;
    let below = format!("/user.slice/user-{user}.slice/user@{user}.service/app.slice/mine.service");
    assert!(cgroup("mine").ends_with(&below), "{}", cgroup("mine"));
    assert_eq!(responsible("mine"), (Rule::Script, Some(path("mine.sh"))));
    assert_eq!(requests["mine"].process().uid, Some(user));
}
