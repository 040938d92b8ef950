//! Faults of a node: programs that are killed, started again, missing, or slow.

use super::*;

#[test]
fn an_agent_that_is_killed_is_started_again() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.launched() else { return };
    node.run_well(&format!("kill -9 $(cat {BASE}/agent.pid)"));
    node.wait_for(LOG, "the agent ended with 137, starts again");
    let again = until(|| (lines_with(&node.read(LOG), " attached; ") == 2).then_some(()));
    assert!(again.is_some(), "{}", node.read(LOG));
    ask(&mut node, 1);
    terminate(&mut node);
    assert_eq!((cluster.events().count("start"), cluster.events().count("stop")), (2, 1));
    assert_eq!(cluster.events().count("request"), 1);
}

#[test]
fn a_script_that_was_killed_is_followed_by_one_that_ends_what_it_left() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.launched() else { return };
    let agent = node.read("/opt/imds-audit/agent.pid");
    // The supervisor is the parent of the agent.
    node.run_well(&format!("kill -9 $(sed -n 's/^PPid:\\t//p' /proc/{}/status)", agent.trim()));
    launch(&mut node, DRIVER);
    let log = node.wait_for(LOG, &format!("ends process {},", agent.trim()));
    let again = until(|| (lines_with(&node.read(LOG), " attached; ") == 2).then_some(()));
    assert!(again.is_some(), "{log}");
    assert_ne!(node.read("/opt/imds-audit/agent.pid"), agent);
    terminate(&mut node);
    assert_eq!((cluster.events().count("start"), cluster.events().count("stop")), (2, 2));
}

#[test]
fn a_node_that_lost_its_power_goes_on_in_the_same_files() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.launched() else { return };
    ask(&mut node, 1);
    node.kill();
    // Half a line, as a power failure leaves it.
    let file = |node: &mut Node| node.run_well(&format!("ls {BASE}/events/events-*.jsonl"));
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    let name = file(&mut node);
    node.run_well(&format!("printf '{{\"kind\":\"requ' >>{}", name.trim()));
    launch(&mut node, DRIVER);
    let again = until(|| (lines_with(&node.read(LOG), " attached; ") == 2).then_some(()));
    assert!(again.is_some(), "{}", node.read(LOG));
    ask(&mut node, 2);
    terminate(&mut node);
    assert_eq!(file(&mut node), name);
    let copied = fs::read_to_string(cluster.target().join(name.trim().rsplit('/').next().unwrap()));
    assert_eq!(lines_with(&copied.unwrap(), "instance-id"), 3);
}

#[test]
fn a_volume_that_hangs_does_not_hold_up_the_launch() {
    let Some(cluster) = Cluster::new() else { return };
    let mut setup = cluster.setup();
    setup.volumes.truncate(1);
    fs::remove_file(cluster.volume.path().join("imds-audit")).unwrap();
    let fifo = cluster.volume.path().join("imds-audit");
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let Some(mut node) = cluster.start(&setup) else { return };
    // It returns, though nobody ever writes into the pipe that is read.
    let said = launch(&mut node, DRIVER);
    assert!(said.contains("the launch goes on; the audit is not attached yet"), "{said}");
    terminate(&mut node);
}

#[test]
fn a_program_that_is_missing_is_one_line() {
    let Some(cluster) = Cluster::new() else { return };
    let mut setup = cluster.setup();
    setup.volumes.truncate(1);
    fs::remove_file(cluster.volume.path().join("imds-audit")).unwrap();
    let Some(mut node) = cluster.start(&setup) else { return };
    launch(&mut node, DRIVER);
    let log = node.wait_for(LOG, "cannot read");
    assert!(log.contains("No such file or directory"), "{log}");
    terminate(&mut node);
}

/// The beginning of a program for a machine that is neither of those that we build for (RISC-V).
fn of_another_machine() -> Vec<u8> {
    let mut program = vec![0; 4096];
    program[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0");
    program
}

#[test]
fn a_program_for_another_machine_is_one_line_and_the_right_one_beside_it_is_taken() {
    let Some(cluster) = Cluster::new() else { return };
    let mut setup = cluster.setup();
    let right = format!("{HOME}/imds-audit-{}", std::env::consts::ARCH);
    setup.volumes[1] = format!("{}:{right}:ro", program().unwrap().display());
    fs::write(cluster.volume.path().join(right.rsplit('/').next().unwrap()), "").unwrap();
    fs::write(cluster.volume.path().join("imds-audit"), of_another_machine()).unwrap();
    let Some(mut node) = cluster.start(&setup) else { return };
    launch(&mut node, DRIVER);
    node.wait_for(LOG, " attached; ");
    terminate(&mut node);
    drop(node);

    setup.volumes.truncate(1);
    fs::remove_file(cluster.volume.path().join(right.rsplit('/').next().unwrap())).unwrap();
    let Some(mut node) = cluster.start(&setup) else { return };
    launch(&mut node, DRIVER);
    let expected = format!("the program is not one for {}", std::env::consts::ARCH);
    let log = node.wait_for(LOG, &expected);
    assert_eq!(lines_with(&log, "cannot audit here"), 1, "{log}");
    wait_until_gone(&mut node);
}

#[test]
fn two_starts_at_once_are_one_audit() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    let both = "{ /bin/bash $script & first=$!; /bin/bash $script; second=$?; \
                wait $first && [ $second = 0 ]; }";
    let said = launch_by(&mut node, DRIVER, both);
    assert_eq!(said.lines().count(), 2, "{said}");
    node.wait_for(LOG, " attached; ");
    ask(&mut node, 1);
    terminate(&mut node);
    let log = node.read(LOG);
    assert_eq!(lines_with(&log, " attached; "), 1, "{log}");
    let files = node.run_well(&format!("ls {BASE}"));
    assert!(!files.lines().any(|name| name.starts_with("settings.")), "{files}");
    let counts = ["start", "request", "stop"].map(|kind| cluster.events().count(kind));
    assert_eq!(counts, [1, 1, 1], "{log}");
}

#[test]
fn a_disk_that_takes_nothing_is_one_line_and_a_full_one_gives_way_to_the_next() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    node.run_well(
        "mkdir -p /var/lib && for folder in /opt /var/lib /run; do \
         mount -t tmpfs -o ro none $folder || exit 1; done",
    );
    let said = launch(&mut node, DRIVER);
    assert!(said.starts_with("imds-audit: not started: none of /opt/imds-audit "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    node.run_well(
        "umount /opt /var/lib /run && mount -t tmpfs -o size=4k none /opt && \
         head -c 4096 /dev/zero >/opt/full",
    );
    launch(&mut node, DRIVER);
    let log = "/var/lib/imds-audit/init.log";
    node.run_well(&format!(
        "for step in $(seq 600); do grep -q ' attached; ' {log} && exit 0; sleep 0.05; done; exit 1"
    ));
    node.run("kill -TERM -1");
    node.run_well(&format!(
        "for step in $(seq 600); do grep -q 'as it was asked to' {log} && \
         flock -n /var/lib/imds-audit/lock true && exit 0; sleep 0.05; done; exit 1"
    ));
    assert_eq!((cluster.events().count("start"), cluster.events().count("stop")), (1, 1));
}

#[test]
fn a_shell_that_ends_at_the_first_failure_does_not_end_the_launch() {
    let Some(cluster) = Cluster::new() else { return };
    let mut setup = cluster.setup();
    setup.volumes.truncate(1);
    let Some(mut node) = cluster.start(&setup) else { return };
    fs::remove_file(cluster.volume.path().join("imds-audit")).unwrap();
    let options = "env SHELLOPTS=braceexpand:errexit:hashall:interactive-comments:nounset:pipefail";
    launch_by(&mut node, DRIVER, &format!("{options} /bin/bash $script"));
    node.wait_for(LOG, "cannot read");
    terminate(&mut node);
}
