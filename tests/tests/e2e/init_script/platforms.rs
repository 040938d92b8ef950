//! Other platforms than Databricks: EMR, and whatever cloud-init starts. The object store is a folder
//! of the node, to which a stand-in of the AWS CLI copies.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

/// The two commands of the AWS CLI that the script uses, with the options that it gives.
const AWS: &str = r#"#!/bin/bash
place() { printf '%s' "${1/#s3:\/\///s3/}"; }
case "$1 $2 $3" in
    's3 cp --only-show-errors')
        cp -- "$(place "$4")" "$(place "$5")"
        ;;
    's3 sync --only-show-errors')
        [ "$4 $5 $6" = '--delete --exclude *' ] || exit 252
        patterns=()
        shift 6
        while [ "$1" = --include ]; do
            patterns+=("$2")
            shift 2
        done
        mkdir -p "$(place "$2")"
        for pattern in "${patterns[@]}"; do
            for file in "$(place "$2")"/$pattern; do
                [ -e "$1/${file##*/}" ] || rm -f "$file"
            done
            for file in "$1"/$pattern; do
                [ ! -e "$file" ] || cp -- "$file" "$(place "$2")/" || exit 1
            done
        done
        ;;
    *) exit 252 ;;
esac
"#;

/// Starts a node that has the stand-in, and the two files in its store.
fn start(cluster: &Cluster) -> Option<Node> {
    cluster.disk.write("opt/stand-in/aws", AWS);
    let mut node = cluster.start(&cluster.setup())?;
    node.run_well(&format!(
        "chmod 755 /opt/stand-in/aws && mkdir -p /s3/BUCKET && cp -r {HOME} /s3/BUCKET/imds-audit"
    ));
    Some(node)
}

/// The labels of the first event in the store, below a folder.
fn labels(node: &mut Node, folder: &str) -> BTreeMap<String, String> {
    let line = node.run_well(&format!("cat {folder}/*/tallies-*.jsonl | head -n 1"));
    Events::read(&line)[0].origin.labels.clone()
}

#[test]
fn on_emr_it_is_a_bootstrap_action_and_takes_its_labels_from_the_node() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = start(&cluster) else { return };
    for (name, text) in [
        ("instance.json", "{\"isMaster\": true, \"isRunningNameNode\":true}"),
        (
            "extraInstanceData.json",
            "{\n \"jobFlowId\" : \"j-3KVTXXXXXX7UG\",\n\"releaseLabel\":\"emr-7.9.0\" }",
        ),
    ] {
        cluster.disk.write(&format!("mnt/var/lib/info/{name}"), text);
    }
    // The action of the file that goes with the command of the platform.
    let actions = fs::read_to_string(path("deploy/emr/bootstrap-actions.json")).unwrap();
    let actions: Value = serde_json::from_str(&actions).unwrap();
    let action = &actions[0];
    let words = action["Args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let script = action["Path"].as_str().unwrap().replace("s3://", "/s3/");
    let arguments: Vec<_> = words.collect();
    node.run_well(&format!(
        "PATH=/opt/stand-in:$PATH /bin/bash {script} {} team=data",
        arguments.join(" ")
    ));
    node.wait_for(
        LOG,
        " attached; events go to s3://BUCKET/imds-audit/events/cluster=j-3KVTXXXXXX7UG",
    );
    ask(&mut node, 1);
    terminate(&mut node);
    let folder = "/s3/BUCKET/imds-audit/events/cluster=j-3KVTXXXXXX7UG";
    let labels = labels(&mut node, folder);
    let found = ["platform", "cluster", "role", "release", "team"].map(|name| &*labels[name]);
    assert_eq!(found, ["emr", "j-3KVTXXXXXX7UG", "master", "emr-7.9.0", "data"]);
    let requests = node.run_well(&format!("cat {folder}/*/events-*.jsonl"));
    assert_eq!(lines_with(&requests, "/opt/job/tag.sh"), 1, "{requests}");
    assert!(node.run_well(&format!("cat {folder}/*/_init.txt")).contains("ended"));
}

#[test]
fn cloud_init_starts_it_with_labels_of_its_own() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut node) = start(&cluster) else { return };
    // What `bootcmd` gives to a shell: the lines of the block behind it.
    let text = fs::read_to_string(path("deploy/cloud-init/imds-audit.yaml")).unwrap();
    let block = text.split_once("\nbootcmd:\n  - |\n").expect("a block").1;
    let command: String = block
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(command.contains("imds-audit-init.sh"), "{text}");
    node.run_well(&format!("export PATH=/opt/stand-in:$PATH\n{command}"));
    node.wait_for(LOG, " attached; events go to s3://BUCKET/imds-audit/events/cluster=web");
    terminate(&mut node);
    let labels = labels(&mut node, "/s3/BUCKET/imds-audit/events/cluster=web");
    assert_eq!((&*labels["cluster"], labels.get("platform")), ("web", None));
}
