//! The packages' program for arm64, on an emulated processor.
//!
//! The emulator of programs has no `bpf` system call: `cargo xtask vm --arch arm64` boots whole
//! machines, where the programs are loaded and requests audited.

use std::sync::Arc;

use imds_audit::event::{Body, Event, Origin};

use super::*;

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_program_for_arm64_runs_and_knows_its_packages_configuration() {
    let folder = tempfile::tempdir().unwrap();
    well(Command::new("dpkg-deb").arg("-x").arg(artefact("_arm64.deb")).arg(folder.path()));
    let program = folder.path().join("usr/bin/imds-audit");
    let run = |arguments: &[&str]| {
        well(Command::new(tool("qemu-aarch64-static")).arg(&program).args(arguments))
    };
    assert!(run(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
    let config = folder.path().join("etc/imds-audit/imds-audit.toml");
    let valid = run(&["agent", "check-config", "--config", config.to_str().unwrap()]);
    assert!(valid.starts_with("valid: "), "{valid}");
    // The engine, from packets to verdicts, says the same as on the other architecture.
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pcap");
    let other = artefact("-linux-x86_64");
    let mut found = 0;
    for name in ["ethernet", "cooked"] {
        let capture = captures.join(name);
        let replay = ["replay", "--format", "json", capture.to_str().unwrap()];
        let emulated = requests(&run(&replay));
        assert_eq!(emulated, requests(&well(Command::new(&other).args(replay))), "{name}");
        found += emulated.len();
    }
    assert!(found > 0);
}

/// Gives the requests among events, without the number of their run, which is random.
fn requests(events: &str) -> Vec<Event> {
    let events = Events::read(events).into_iter();
    let requests = events.filter(|event| matches!(event.body, Body::Request(_)));
    requests
        .map(|event| {
            let origin = Origin { run: None, ..Origin::clone(&event.origin) };
            Event { origin: Arc::new(origin), ..event }
        })
        .collect()
}
