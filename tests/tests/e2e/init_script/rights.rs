//! Nodes with all rights, and with fewer.

use imds_audit::event::{Body, Class, Event, SourceKind};
use imds_audit_tests::NodeSetup;
use serde_json::{Value, json};

use super::*;

#[test]
fn with_all_rights_a_driver_s_callers_reach_the_volume_and_no_secret_does() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    let said = launch(&mut node, DRIVER);
    assert!(said.starts_with("imds-audit: ") && said.lines().count() == 1, "{said}");
    node.wait_for(LOG, " attached; ");
    // The agent has nothing of the cluster's environment.
    let variables =
        node.run_well(&format!("tr '\\0' '\\n' </proc/$(cat {BASE}/agent.pid)/environ"));
    assert_eq!(lines_with(&variables, "="), 1, "{variables}");
    ask(&mut node, 2);
    // A second script, as a global and a cluster's own, changes nothing.
    assert!(launch(&mut node, DRIVER).contains("runs already"));
    let agents = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'imds-audit agent'";
    assert_eq!(node.run(agents).1.trim(), "1");
    terminate(&mut node);

    let events = cluster.events();
    let requests = events.requests();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let expected = [
        ("platform", "databricks"),
        ("cluster", CLUSTER),
        ("node", "10.20.30.40"),
        ("role", "driver"),
        ("cluster_name", "job-77-run-901-nightly \"etl\" ü"),
        ("job", "77"),
        ("run", "901"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert!(events.iter().all(|event| event.origin.labels == expected), "{events:#?}");
    assert_eq!(requests[0].imds.class, Class::V1);
    let responsible = requests[0].process.responsible.as_ref().unwrap();
    assert_eq!(responsible.script.as_deref(), Some("/opt/job/tag.sh"));
    assert_eq!(["start", "tally", "stop"].map(|kind| events.count(kind)), [1, 1, 1]);
    let found = node.run(&format!("grep -r -l {SECRET} {BASE} {HOME}/events"));
    assert_eq!(found, (1, String::new()));

    let output = cluster.report(&["--by", "cluster", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "NOT_READY", "{report:#}");
    assert_eq!(report["groups"][0]["value"], CLUSTER);
    assert_eq!((&report["requests"], &report["without_token"]), (&json!(2), &json!(2)));
}

/// A node that may not load programs into the kernel, and what else it may not.
fn without(cluster: &Cluster, more: &[&'static str]) -> NodeSetup {
    NodeSetup { without: [&["bpf", "sys_admin"], more].concat(), ..cluster.setup() }
}

#[test]
fn without_any_right_the_launch_goes_on_and_one_line_says_what_is_missing() {
    let Some(cluster) = Cluster::new() else { return };
    let setup = without(&cluster, &["net_raw", "net_admin", "perfmon"]);
    let Some(mut node) = cluster.start(&setup) else { return };
    launch(&mut node, DRIVER);
    let log = node.wait_for(LOG, "cannot audit here (exit code 4)");
    assert_eq!(lines_with(&log, "CAP_"), 1, "{log}");
    wait_until_gone(&mut node);
    // It is on the volume, where nobody has to enter the node to read it.
    let copied = std::fs::read_to_string(cluster.target().join("_init.txt")).unwrap();
    assert_eq!(lines_with(&copied, "cannot audit here (exit code 4)"), 1, "{copied}");
    // Again, as after a restart of the cluster: the same, and nothing is left running.
    launch(&mut node, DRIVER);
    wait_until_gone(&mut node);
    assert_eq!(lines_with(&node.read(LOG), "cannot audit here"), 2);
}

#[test]
fn without_the_right_to_load_programs_packets_are_read_where_the_program_can() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&without(&cluster, &[])) else { return };
    launch(&mut node, DRIVER);
    node.wait_for(LOG, " attached; ");
    ask(&mut node, 1);
    terminate(&mut node);
    let events = cluster.events();
    let is_of_packets = |event: &Event| event.origin.source == Some(SourceKind::Packet);
    assert!(events.iter().all(is_of_packets), "{events:#?}");
    assert_eq!(events.requests()[0].imds.class, Class::V1);
}

#[test]
fn an_ordinary_user_without_sudo_is_told_and_the_launch_goes_on() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = cluster.start(&cluster.setup()) else { return };
    let said = node.run_well(&format!(
        "chmod -R a+rX /Volumes; setpriv --reuid 65534 --clear-groups \
         env PATH=/bin /bin/bash {HOME}/imds-audit-init.sh"
    ));
    assert!(said.contains("not started: this needs root"), "{said}");
}

/// A script that uses IMDSv2.
const V2: &str = "token=$(curl -sf -m 20 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
    http://169.254.169.254/latest/api/token) && curl -sf -m 20 -o /dev/null \
    -H \"X-aws-ec2-metadata-token: $token\" http://169.254.169.254/latest/meta-data/instance-id";

#[test]
fn a_cluster_without_imdsv1_is_ready_as_far_as_its_containers_go_whatever_the_source() {
    for missing in [&[][..], &["bpf", "sys_admin"]] {
        let Some(cluster) = Cluster::new() else { return };
        let setup = NodeSetup { without: missing.to_vec(), ..cluster.setup() };
        let Some(mut node) = cluster.start(&setup) else { return };
        launch(&mut node, DRIVER);
        node.wait_for(LOG, " attached; ");
        node.run_well(V2);
        terminate(&mut node);
        let judge = |arguments: &[&str]| {
            let common = ["--max-gap", "10m", "--ended-hosts-are-gone", "--format", "json"];
            let output = cluster.report(&[arguments, &common].concat());
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let whole = judge(&[]);
        assert_eq!((&whole["verdict"], &whole["requests"]), (&json!("NOT_PROVEN"), &json!(2)));
        let own = judge(&["--scope", "container"]);
        assert_eq!(own["verdict"], "READY", "{missing:?} {own:#}");
        assert_eq!(own["scope"], "container");
        let events = cluster.events();
        let start = |event: &Event| match &event.body {
            Body::Start(start) => Some(start.clone()),
            _ => None,
        };
        let start = events.iter().find_map(start).unwrap();
        let container_start = start.container_start.unwrap();
        assert!(start.boot.unwrap() <= container_start, "{start:#?}");
        assert!(container_start <= start.time, "{start:#?}");
    }
}
