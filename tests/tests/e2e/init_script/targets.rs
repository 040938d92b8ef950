//! Volumes that do not take what is copied to them.

use super::*;

/// Has a launched node copy every second until it has tried again after a failure. Gives the log,
/// in which the failure is one line.
fn fails_once(node: &mut Node, reason: &str) -> String {
    launch(node, &format!("{DRIVER} IMDS_AUDIT_EVERY=1"));
    node.wait_for(LOG, " attached; ");
    // What is laid out for the next copy has the line of the failure in it.
    node.wait_for("/opt/imds-audit/out/_init.txt", "cannot copy");
    terminate(node);
    let log = node.read(LOG);
    assert_eq!(lines_with(&log, "cannot copy to"), 1, "{log}");
    assert_eq!(lines_with(&log, reason), 1, "{log}");
    log
}

#[test]
fn one_that_is_read_only_is_one_line() {
    let Some(cluster) = Cluster::new() else { return };
    let mut setup = cluster.setup();
    let events = cluster.volume.path().join("events");
    setup.volumes.push(format!("{}:{HOME}/events:ro", events.display()));
    let Some(mut node) = cluster.start(&setup) else { return };
    fails_once(&mut node, "Read-only file system");
    // The node's own disk has everything.
    let own = node.run_well(&format!("cat {BASE}/events/tallies-*.jsonl"));
    assert_eq!(lines_with(&own, "\"kind\":\"stop\""), 1, "{own}");
}

#[test]
fn one_that_is_full_is_one_line_and_keeps_no_half_file() {
    let Some(cluster) = Cluster::new() else { return };
    let mut setup = cluster.setup();
    let events = format!("{HOME}/events");
    setup.arguments.extend(["--tmpfs".to_owned(), format!("{events}:size=4k")]);
    let Some(mut node) = cluster.start(&setup) else { return };
    fails_once(&mut node, "No space left on device");
    assert_eq!(node.run_well(&format!("find {events} -name '.copy-*'")), "");
}

#[test]
fn one_that_goes_away_is_not_made_on_the_disk_and_gets_everything_when_it_is_back() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    // A folder that stands for the mount of a volume.
    let away = "mv /Volumes/other/imds-audit /Volumes/other/away";
    let back = "mv /Volumes/other/away /Volumes/other/imds-audit";
    node.run_well(&format!(
        "mkdir -p /Volumes/other/imds-audit && cp {HOME}/imds-audit /Volumes/other/imds-audit/"
    ));
    launch(
        &mut node,
        &format!("{DRIVER} IMDS_AUDIT_EVERY=1 IMDS_AUDIT_HOME=/Volumes/other/imds-audit/"),
    );
    node.wait_for(LOG, " attached; ");
    node.run_well(away);
    ask(&mut node, 1);
    let log = node.wait_for(LOG, "cannot copy to");
    assert!(log.contains("there is no folder /Volumes/other/imds-audit"), "{log}");
    node.wait_for("/opt/imds-audit/out/_init.txt", "cannot copy");
    assert!(!node.path("/Volumes/other/imds-audit").exists());
    node.run_well(back);
    node.wait_for(LOG, "work again");
    terminate(&mut node);
    let log = node.read(LOG);
    assert_eq!((lines_with(&log, "cannot copy"), lines_with(&log, "work again")), (1, 1), "{log}");
    let copied = node.run_well("cat /Volumes/other/imds-audit/events/*/*/events-*.jsonl");
    assert_eq!(lines_with(&copied, "instance-id"), 1, "{copied}");
}

#[test]
fn what_is_removed_here_is_removed_there_and_nothing_of_other_nodes_is() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    launch(&mut node, &format!("{DRIVER} IMDS_AUDIT_EVERY=1"));
    node.wait_for(LOG, " attached; ");
    // A rotated file, and one of another life of this address.
    let name = node.run_well(&format!("cd {BASE}/events && ls tallies-*.jsonl"));
    let (rotated, other) = (format!("{}.20261129T000000Z", name.trim()), "tallies-other.jsonl");
    node.run_well(&format!("echo '{{}}' >{BASE}/events/{rotated}"));
    let target = cluster.target();
    let copied = || target.join(&rotated).exists().then_some(());
    assert!(until(copied).is_some(), "{}", node.read(LOG));
    fs::write(target.join(other), "{}\n").unwrap();
    node.run_well(&format!("rm {BASE}/events/{rotated}"));
    let removed = || (!target.join(&rotated).exists()).then_some(());
    assert!(until(removed).is_some(), "{}", node.read(LOG));
    terminate(&mut node);
    assert!(target.join(other).exists());
}
