//! Debian's package on a Debian root.

use super::*;

/// What the package manager writes for itself.
const MEMORY: [&str; 5] = [
    "var/lib/dpkg",
    "var/log/dpkg.log",
    "var/cache",
    "etc/ld.so.cache",
    "var/log/alternatives.log",
];

const CONFIGURATION: &str = "etc/imds-audit/imds-audit.toml";

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_deb_is_installed_audits_keeps_a_changed_configuration_and_is_purged_without_trace() {
    let root = Root::new();
    let before = root.files(&MEMORY);
    let package = artefact("_amd64.deb");
    fs::copy(&package, root.path("old.deb")).unwrap();
    root.run(&["dpkg", "-i", "/old.deb"]);
    assert_eq!(root.run(&["dpkg", "--verify", "imds-audit"]), "");
    let version = root.run(&["imds-audit", "--version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let valid = root.run(&["imds-audit", "agent", "check-config"]);
    assert!(valid.starts_with("valid: "), "{valid}");
    let page = root.run(&["man", "--warnings", "imds-audit"]);
    assert!(page.contains("IMDSv1"), "{page}");
    Auditing::start(root.command(&["imds-audit", "run", "--format", "json"])).audit_one();

    let changed = root.read(CONFIGURATION).replace("\"15m\"", "\"5m\"");
    fs::write(root.path(CONFIGURATION), &changed).unwrap();
    newer(&root, &package);
    root.run(&["dpkg", "--force-confdef", "--force-confold", "-i", "/new.deb"]);
    assert!(root.run(&["dpkg-query", "-W", "imds-audit"]).contains("99.0"));
    assert_eq!(root.read(CONFIGURATION), changed);
    assert!(root.read("etc/imds-audit/imds-audit.toml.dpkg-dist").contains("new default"));
    assert!(root.run(&["imds-audit", "agent", "show-config"]).contains("5m"));

    // As `systemctl enable` and a running agent leave it.
    let wants = root.path("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    let unit = "/usr/lib/systemd/system/imds-audit.service";
    std::os::unix::fs::symlink(unit, wants.join("imds-audit.service")).unwrap();
    fs::create_dir_all(root.path("var/log/imds-audit")).unwrap();
    fs::write(root.path("var/log/imds-audit/events.jsonl"), "{}\n").unwrap();

    root.run(&["dpkg", "--remove", "imds-audit"]);
    assert!(!root.path("usr/bin/imds-audit").exists());
    assert!(!wants.join("imds-audit.service").is_symlink());
    assert_eq!(root.read(CONFIGURATION), changed);
    assert!(root.path("var/log/imds-audit/events.jsonl").exists());

    root.run(&["dpkg", "--purge", "imds-audit"]);
    for file in ["old.deb", "new.deb"] {
        fs::remove_file(root.path(file)).unwrap();
    }
    // Where the folder of enabled units was not there, it is the test's.
    if !before.contains_key(wants.strip_prefix(root.folder.path()).unwrap()) {
        fs::remove_dir(&wants).unwrap();
    }
    let after = root.files(&MEMORY);
    let left: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(gone.is_empty(), "gone with it: {gone:?}");
}

/// Makes a newer package from one, whose default configuration has changed.
pub(super) fn newer(root: &Root, package: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    well(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree));
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(control.contains(&version));
    fs::write(tree.join("DEBIAN/control"), control.replace(&version, "Version: 99.0\n")).unwrap();
    let path = tree.join(CONFIGURATION);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}# a new default\n")).unwrap();
    well(Command::new("dpkg-deb").args(["-Znone", "-b"]).arg(&tree).arg(root.path("new.deb")));
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn both_packages_of_an_architecture_have_the_same_program_and_no_file_of_another_s() {
    for (architecture, machine) in [("amd64", 0x3e_u8), ("arm64", 0xb7)] {
        let folder = tempfile::tempdir().unwrap();
        let rpm = if architecture == "amd64" { "x86_64" } else { "aarch64" };
        let deb = folder.path().join("deb");
        well(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(artefact(&format!("_{architecture}.deb")))
                .arg(&deb),
        );
        let unpack = "rpm2cpio \"$1\" | cpio -idm --quiet";
        let mut rpm2cpio = Command::new("sh");
        rpm2cpio.args(["-c", unpack, "sh"]).arg(artefact(&format!(".{rpm}.rpm")));
        well(rpm2cpio.current_dir(folder.path()));
        let read = |path: PathBuf| fs::read(path).unwrap();
        let program = read(deb.join("usr/bin/imds-audit"));
        assert!(program == read(folder.path().join("usr/bin/imds-audit")));
        assert!(program == read(artefact(&format!("-linux-{rpm}"))));
        assert_eq!(program[18], machine, "e_machine");
    }
}
