//! Nodes whose first process is systemd, and the script the first thing that it runs.

use super::*;

/// What a boot runs: the script, as the first thing, and then the node's work.
const TARGET: &str = "[Unit]\nDefaultDependencies=no\nWants=launch.service job.service\n";
const LAUNCH: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
                      ExecStart=/bin/bash /launch.sh\n";
const JOB: &str = "[Unit]\nDefaultDependencies=no\nAfter=launch.service\n[Service]\n\
                   ExecStart=/bin/sh /job.sh\n";
/// Waits for files of the test's.
const WORK: &str = "until test -e /ask; do sleep 0.1; done\nsh /opt/job/tag.sh\n\
                    until test -e /kill; do sleep 0.1; done\n\
                    kill -9 $(systemctl show -P MainPID imds-audit-init.service)\n";

/// The signal that has systemd end the host: `SIGRTMIN+3` (systemd(1)).
const HALT: i32 = 34 + 3;

#[test]
fn the_first_thing_at_boot_hands_over_to_systemd_which_ends_it_in_order() {
    let Some(cluster) = Cluster::new() else { return };
    for (name, text) in [
        ("etc/systemd/system/test.target", TARGET.to_owned()),
        ("etc/systemd/system/launch.service", LAUNCH.to_owned()),
        ("etc/systemd/system/job.service", JOB.to_owned()),
        ("job.sh", WORK.to_owned()),
        (
            "launch.sh",
            format!("{DRIVER}\n/bin/bash {HOME}/imds-audit-init.sh >/said; echo $? >/code\n"),
        ),
    ] {
        cluster.disk.write(name, &text);
    }
    let first = "/lib/systemd/systemd";
    if !Path::new(first).exists() {
        return skip("there is no systemd");
    }
    let mut setup = cluster.setup();
    setup.arguments.push("--systemd=always".to_owned());
    let first = [first, "--unit=test.target", "--show-status=no"];
    let Some(node) = Node::start_with(&cluster.stage, &cluster.disk, &setup, &first) else {
        return;
    };
    node.wait_for("/code", "0");
    node.wait_for(LOG, " attached; ");
    let wanted = "etc/systemd/system/multi-user.target.wants/imds-audit-init.service";
    assert!(node.path(wanted).symlink_metadata().is_ok(), "it is not started at the next boot");
    cluster.disk.write("ask", "");
    let file = || {
        let entries = fs::read_dir(node.path("/opt/imds-audit/events")).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().path());
        names.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("events-"))
    };
    let seen = || fs::read_to_string(file()?).ok().filter(|text| text.contains("tag.sh"));
    assert!(until(seen).is_some(), "{}", node.read(LOG));
    // A script that is killed is started again, and the agent with it.
    cluster.disk.write("kill", "");
    let again = until(|| (lines_with(&node.read(LOG), " attached; ") == 2).then_some(()));
    assert!(again.is_some(), "{}", node.read(LOG));
    node.signal(HALT);
    node.wait();

    let log = fs::read_to_string(cluster.disk.path(LOG)).unwrap();
    assert_eq!(lines_with(&log, "ended, as it was asked to"), 1, "{log}");
    assert_eq!(lines_with(&log, "systemd does not start"), 0, "{log}");
    assert_eq!(cluster.events().count("request"), 1, "{log}");
    assert!(cluster.events().count("stop") > 0, "{log}");
}
