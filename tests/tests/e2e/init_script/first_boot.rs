//! The recipe for images in `docs/limits.md`, and a boot of what it makes.

use std::os::unix::fs::symlink;

use super::page::blocks;
use super::*;

/// Asks as the first thing at a boot, and waits until that is written.
const CLOUD_INIT: &str = "#!/bin/sh\ncurl -s -m 20 -o /dev/null \
    http://169.254.169.254/2009-04-04/meta-data/instance-id\n\
    until grep -q cloud-init-stand-in /var/log/imds-audit/events.jsonl; do sleep 0.05; done\n";
const STAGE: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
                     ExecStart=/bin/sh /opt/cloud-init-stand-in\n";
/// Nothing but their own order has one of them start before the other.
const TARGET: &str = "[Unit]\nDefaultDependencies=no\n\
                      Wants=cloud-init-local.service imds-audit.service\n";

/// Runs the page's recipe on a disk that is not booted. The program goes elsewhere: what a node has
/// in `/usr` is this machine's.
fn install(block: &str, disk: &Disk) {
    let desk = tempfile::tempdir().unwrap();
    symlink(program().unwrap(), desk.path().join("imds-audit")).unwrap();
    symlink(path("deploy"), desk.path().join("deploy")).unwrap();
    let root = disk.path("").display().to_string();
    let root = root.trim_end_matches('/');
    let block = block
        .replace(" /usr/bin/", &format!(" {root}/opt/bin/"))
        .replace(" /etc/", &format!(" {root}/etc/"))
        .replace("systemctl ", &format!("systemctl --root={root} "));
    let mut command = Command::new("sh");
    let output = command.args(["-e", "-c", &block]).current_dir(desk.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let unit = disk.path("etc/systemd/system/imds-audit.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(unit, text.replace("/usr/bin/imds-audit", "/opt/bin/imds-audit")).unwrap();
}

#[test]
fn an_image_of_the_recipe_sees_the_first_request_of_cloud_init() {
    let Some(cluster) = Cluster::new() else { return };
    if !Path::new("/lib/systemd/systemd").exists() {
        return skip("there is no systemd");
    }
    let page = fs::read_to_string(path("docs/limits.md")).unwrap();
    let recipe = blocks(&page, "sh").into_iter().find(|block| block.contains("early.conf"));
    install(&recipe.expect("a recipe"), &cluster.disk);
    let wanted = "etc/systemd/system/sysinit.target.wants/imds-audit.service";
    assert!(cluster.disk.path(wanted).symlink_metadata().is_ok());
    cluster.disk.write("etc/systemd/system/cloud-init-local.service", STAGE);
    cluster.disk.write("etc/systemd/system/test.target", TARGET);
    cluster.disk.write("opt/cloud-init-stand-in", CLOUD_INIT);

    let mut setup = cluster.setup();
    setup.arguments.push("--systemd=always".to_owned());
    let first = ["/lib/systemd/systemd", "--unit=test.target", "--show-status=no"];
    let Some(node) = Node::start_with(&cluster.stage, &cluster.disk, &setup, &first) else {
        return;
    };
    let events = node.wait_for("/var/log/imds-audit/events.jsonl", "cloud-init-stand-in");
    assert!(events.contains("/2009-04-04/meta-data/instance-id"), "{events}");
}
