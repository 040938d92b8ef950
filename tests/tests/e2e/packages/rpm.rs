//! The RPM, by `rpm --root` on a root with a shell.

use super::*;

const CONFIGURATION: &str = "etc/imds-audit/imds-audit.toml";

/// Runs rpm on a root, without the network and without what a shell is called there.
fn rpm(root: &Root, words: &[&str]) -> String {
    let mut command = Command::new("rpm");
    command.arg("--root").arg(root.folder.path()).args(["--dbpath", "/var/lib/rpm"]).args(words);
    well(&mut command)
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_rpm_is_installed_audits_keeps_a_changed_configuration_and_is_erased() {
    let root = Root::new();
    let package = artefact(".x86_64.rpm");
    rpm(&root, &["--initdb"]);
    let before = root.files(&["var/lib/rpm"]);
    rpm(&root, &["-i", "--nodeps", package.to_str().unwrap()]);
    assert_eq!(rpm(&root, &["-V", "--nodeps", "imds-audit"]), "");
    assert_eq!(rpm(&root, &["-qc", "imds-audit"]).trim(), format!("/{CONFIGURATION}"));
    assert!(rpm(&root, &["-qL", "imds-audit"]).contains("LICENSE-APACHE"));
    Auditing::start(root.command(&["imds-audit", "run", "--format", "json"])).audit_one();

    let changed = root.read(CONFIGURATION).replace("\"15m\"", "\"5m\"");
    fs::write(root.path(CONFIGURATION), &changed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let new = newer(&root, folder.path());
    rpm(&root, &["-U", "--nodeps", new.to_str().unwrap()]);
    assert!(rpm(&root, &["-q", "imds-audit"]).contains("99.0"));
    assert_eq!(root.read(CONFIGURATION), changed);
    assert!(root.read("etc/imds-audit/imds-audit.toml.rpmnew").contains("new default"));

    rpm(&root, &["-e", "imds-audit"]);
    // A changed configuration is kept aside, as rpm does: it is the administrator's.
    let saved = "etc/imds-audit/imds-audit.toml.rpmsave";
    assert_eq!(root.read(saved), changed);
    for name in [saved, "etc/imds-audit/imds-audit.toml.rpmnew"] {
        fs::remove_file(root.path(name)).ok();
    }
    fs::remove_dir(root.path("etc/imds-audit")).ok();
    let after = root.files(&["var/lib/rpm"]);
    let left: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    // Folders of the file system's layout that this root did not have.
    let strange: Vec<_> =
        left.iter().filter(|path| path.to_str().unwrap().contains("imds")).collect();
    assert!(strange.is_empty(), "left behind: {strange:?}");
    assert!(left.iter().all(|path| root.path(path.to_str().unwrap()).is_dir()), "{left:?}");
}

/// Makes a newer package of the files that the installed one has, with another configuration.
pub(super) fn newer(root: &Root, folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    let mut list = String::new();
    let mut query = Command::new("rpm");
    query.args(["-qpl", "--nosignature"]).arg(artefact(".x86_64.rpm"));
    for path in well(&mut query).lines() {
        let name = path.strip_prefix('/').unwrap();
        let (installed, copy) = (root.path(name), tree.join(name));
        let kind = if installed.is_dir() {
            fs::create_dir_all(copy).unwrap();
            "%dir "
        } else {
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(installed, copy).unwrap();
            if name == CONFIGURATION { "%config(noreplace) " } else { "" }
        };
        list.push_str(&format!("{kind}{path}\n"));
    }
    let default =
        fs::read_to_string(imds_audit_tests::chart::deploy().join("imds-audit.toml")).unwrap();
    fs::write(tree.join(CONFIGURATION), format!("{default}# a new default\n")).unwrap();
    let template = imds_audit_tests::chart::deploy().join("packages/imds-audit.spec.in");
    let spec = fs::read_to_string(template)
        .unwrap()
        .replace("@VERSION@", "99.0")
        .replace("@TREE@", tree.to_str().unwrap())
        .replace("@FILES@", &list);
    let path = folder.join("new.spec");
    fs::write(&path, spec).unwrap();
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--nodeps", "--target", "x86_64-linux"]);
    rpmbuild.args(["--define", &format!("_topdir {}", folder.join("top").display())]);
    well(rpmbuild.arg(&path));
    folder.join("top/RPMS/x86_64/imds-audit-99.0-1.x86_64.rpm")
}
