//! The hardened unit, run by a systemd.

use imds_audit_tests::{Systemd, TestNetwork};

use super::*;

const UNIT: &str = include_str!("../../../../deploy/systemd/imds-audit.service");

#[test]
fn the_hardened_unit_lets_the_agent_attach_and_write() {
    let Some(program) = program().filter(|_| root()) else { return };
    // Not below /tmp: the unit has one of its own.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = folder.path().join("agent.toml");
    let events_file = folder.path().join("events.jsonl");
    let text = format!("[[output]]\npath = \"{}\"\nmin_free_percent = 0\n", events_file.display());
    fs::write(&config, text).unwrap();
    let (_, service) = UNIT.split_once("[Service]\n").unwrap();
    let (service, _) = service.split_once("[Install]").unwrap();
    let command = format!("{} agent", program.display());
    let service: String = service
        .lines()
        // Folders of the host's own.
        .filter(|line| !line.starts_with("LogsDirectory") && !line.starts_with("Configuration"))
        .map(|line| match line.strip_prefix("Exec") {
            Some(_) if line.contains("/usr/bin/imds-audit") => {
                let line = line.replace("/usr/bin/imds-audit agent", &command);
                format!("{line} --config {}\n", config.display())
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let service = format!(
        // Whatever lies below /tmp the unit would not see.
        "{service}ReadWritePaths={0}\nBindPaths={0}\nBindReadOnlyPaths={1}\n\
         StandardError=append:{2}\n",
        folder.path().display(),
        program.display(),
        folder.path().join("stderr").display()
    );
    let stage = TestNetwork::new(imds_audit::simulator::Topology::Direct, None);
    let units = [("imds-audit.service", service)];
    let Some(systemd) = Systemd::boot(&stage, "agent-unit", &units, &[]) else { return };
    let said = || fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
    let is_attached = || said().contains("seccomp=on").then_some(());
    assert!(until(is_attached).is_some(), "it does not attach: {}", said());
    assert!(until(|| (events(&events_file).count("start") == 1).then_some(())).is_some());
    assert!(said().contains("capabilities=DAC_READ_SEARCH,SYS_PTRACE"), "{}", said());
    drop(systemd);
}
