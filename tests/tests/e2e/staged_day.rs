//! A day of real clients on several hosts, and the report from which each is fixed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use imds_audit::event::{Body, Event};
use imds_audit::simulator::{HttpTokens, TokenMode};
use imds_audit_tests::{Setup, TestBed, node_modules, program, python};
use serde_json::Value;
use tempfile::TempDir;

use super::field_cases::V1_FIRST;
use super::report::{assert_read_alike, path, rename};

const READ: &str = "curl -s http://169.254.169.254/latest/meta-data/instance-id";
const BOTO3: &str = "import boto3; boto3.Session().get_credentials().get_frozen_credentials()";
const TOKEN: &str = "curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
                     http://169.254.169.254/latest/api/token";
/// A call of the JavaScript SDK that sends no token in any version.
const PLAIN_CALL: &str = "new (require('aws-sdk').MetadataService)().request(\
                          '/latest/meta-data/instance-id', error => { if (error) throw error; });";

/// The last host of the day.
const LAST: &str = "web-3";

/// The hosts of the day, and the scripts that they run.
struct Day {
    events: TempDir,
    scripts: TempDir,
    modules: PathBuf,
}

impl Day {
    /// Writes a script; returns its path.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.scripts.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Audits a host while it runs commands; `None` if the test is skipped. The last host counts its
    /// requests in windows.
    fn host(
        &self,
        name: &str,
        set_up: impl FnOnce(&TestBed),
        commands: &[Vec<&str>],
    ) -> Option<()> {
        let raw = self.scripts.path().join(format!("{name}.raw"));
        let raw = raw.to_str().unwrap();
        let mut arguments = vec!["--output", raw, "--label", "cluster=shop"];
        if name == LAST {
            arguments.extend(["--tally", "1s"]);
        }
        let setup = Setup { arguments: &arguments, ..Setup::default() };
        let scene = TestBed::prepared(setup, |command| rename(command, name))?;
        set_up(&scene);
        for command in commands {
            let (program, arguments) = command.split_first().unwrap();
            let mut caller = scene.command(program);
            caller.env("NODE_PATH", &self.modules).args(arguments);
            scene.start_command(&mut caller).wait();
        }
        let namespace = scene.network.client_inode();
        let report = scene.finish().report;
        // The audit is of the whole machine, on which other tests may run.
        let is_own = |event: &Event| {
            let network = match &event.body {
                Body::Request(request) => &request.network,
                Body::Connection(connection) => &connection.network,
                // The totals at its end are of all of them.
                other => return !matches!(other, Body::Stop(_)),
            };
            network.netns.is_none_or(|netns| u64::from(netns) == namespace)
        };
        let lines = report.output.split_inclusive('\n').zip(report.typed_events());
        let own = lines.filter_map(|(line, event)| is_own(&event).then_some(line));
        fs::write(self.events.path().join(format!("{name}.jsonl")), own.collect::<String>())
            .unwrap();
        Some(())
    }
}

/// Runs the day; `None` if the test is skipped.
fn day() -> Option<Day> {
    let day = Day {
        events: tempfile::tempdir().unwrap(),
        scripts: tempfile::tempdir().unwrap(),
        modules: node_modules()?,
    };
    let (old, current) = (python("IMDS_AUDIT_PYTHON_V1")?, python("IMDS_AUDIT_PYTHON_CURRENT")?);
    let (old, current) = (old.to_str().unwrap(), current.to_str().unwrap());
    let nightly = day.script("nightly.sh", &format!("{READ}\n"));
    let billing = day.script("billing.py", BOTO3);
    let first = day.script("v1-first.py", V1_FIRST);
    let zone = day.script("zone.js", PLAIN_CALL);
    let typo = day.script("typo.sh", &format!("{READ} -H \"X-aws-metadata-token: $({TOKEN})\"\n"));
    let good = day
        .script("good.sh", &format!("T=$({TOKEN})\n{READ} -H \"X-aws-ec2-metadata-token: $T\"\n"));
    let optional = |_: &TestBed| ();
    let relayed = day.script("relayed.sh", &format!("{READ} -H 'X-Forwarded-For: 10.1.0.7'\n"));
    day.host(
        "web-1",
        optional,
        &[vec!["sh", &nightly], vec!["sh", &typo], vec![old, &billing], vec!["sh", &nightly]],
    )?;
    let silent = |scene: &TestBed| scene.service.set_mode(TokenMode::NoAnswer);
    day.host("container-1", silent, &[vec![current, &billing]])?;
    let required = |scene: &TestBed| scene.service.set_http_tokens(HttpTokens::Required);
    day.host("web-2", required, &[vec!["python3", &first], vec!["sh", &good]])?;
    day.host(LAST, optional, &[vec!["node", &zone], vec!["sh", &good], vec!["sh", &relayed]])?;
    Some(day)
}

#[test]
fn a_day_of_real_clients_leads_to_a_report_from_which_each_one_is_fixed() {
    let Some(day) = day() else { return };
    let report = |format: &str| {
        let mut command = Command::new(program().unwrap());
        let output =
            command.arg("report").arg(day.events.path()).args(["--format", format]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let document: Value = serde_json::from_str(&report("json")).unwrap();
    assert_eq!(document["verdict"], "NOT_READY", "{document:#}");
    let callers = document["callers"].as_array().unwrap();
    let text = report("text");
    // Each by what it runs, with its status and what its fixes say.
    for (title, host, status, fixes) in [
        ("nightly.sh", "web-1", "blocks", &["never-asks: let what uses curl ask for a token"][..]),
        (
            "typo.sh",
            "web-1",
            "blocks",
            &["wrong-header: send the token in the header X-aws-ec2-me"],
        ),
        (
            "billing.py",
            "web-1",
            "blocks",
            &[
                "never-asks: update Boto3 from 1.9.200 to 1.12.6 or newer",
                "unanswered: raise the instance's HttpPutResponseHopLimit to 2",
            ],
        ),
        ("v1-first.py", "web-2", "prefers-v1", &["prefers-v1: let what uses Python-urllib ask"]),
        (
            "zone.js",
            "web-3",
            "blocks",
            &["never-asks: let the program ask for a token and send it"],
        ),
        ("relayed.sh", "web-3", "blocks", &["never-asks: look for the software at 10.1.0.7"]),
        ("good.sh", "", "v2", &[]),
    ] {
        let caller =
            callers.iter().find(|caller| caller["title"].as_str().unwrap().contains(title));
        let caller = caller.unwrap_or_else(|| panic!("{title}: {callers:#?}"));
        assert_eq!(caller["status"], status, "{caller:#}");
        let hosts = caller["example_hosts"].as_array().unwrap();
        assert!(host.is_empty() || hosts.contains(&host.into()), "{caller:#}");
        let advice = caller["advice"].as_array().unwrap();
        let given: Vec<_> = advice
            .iter()
            .map(|advice| {
                let part = |name: &str| advice[name].as_str().unwrap().to_owned();
                format!("{}: {}", part("cause"), part("text"))
            })
            .collect();
        for fix in fixes {
            let (cause, sentence) = fix.split_once(": ").unwrap();
            let is_given = |given: &String| given.starts_with(cause) && given.contains(sentence);
            assert!(given.iter().any(is_given), "{title}: {fix} in {given:#?}");
        }
        // A person who was not there reads the same.
        assert!(status == "v2" || text.contains(title), "{title}: {text}");
    }
    let python = python("IMDS_AUDIT_PYTHON_REPORTS").unwrap();
    for folder in [day.events.path(), volume(&day).path(), lake(&day).path()] {
        assert_read_alike(&python, folder);
    }
}

#[test]
#[ignore = "it takes Spark: cargo xtask spark"]
fn spark_answers_from_a_day_a_volume_and_a_lake_what_the_report_does() {
    let Some(spark) = python("IMDS_AUDIT_PYTHON_SPARK") else { return };
    let Some(day) = day() else { return };
    let (volume, lake) = (volume(&day), lake(&day));
    let place = tempfile::tempdir().unwrap();
    // In a network of its own, where nothing can be reached: no library asks the real service.
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(spark)
        .arg(path("python/check_spark.py"))
        .args([&program().unwrap(), &path("../deploy/sql/spark.sql")])
        .args([place.path(), day.events.path(), volume.path(), lake.path()])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Lays the day out as nodes of clusters leave it on a volume: a folder for each cluster and node,
/// the older part of each file rotated and compressed.
fn volume(day: &Day) -> TempDir {
    let volume = tempfile::tempdir().unwrap();
    for (number, (name, lines)) in files(day).into_iter().enumerate() {
        let folder = volume.path().join(format!("1130-100000-abcdefg{number}/10.0.0.{number}"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}-1a2b3c4d.jsonl"));
        let (older, newer) = lines.split_at(lines.len() / 2);
        fs::write(&file, newer.concat()).unwrap();
        compress(&file.with_extension("jsonl.20261130T100000Z"), older);
        fs::write(folder.join("_init.txt"), "attached\n").unwrap();
    }
    volume
}

/// Lays the day out by day and host, compressed.
fn lake(day: &Day) -> TempDir {
    let lake = tempfile::tempdir().unwrap();
    for (name, lines) in files(day) {
        let folder = lake.path().join(format!("day=2026-11-30/host={name}"));
        fs::create_dir_all(&folder).unwrap();
        compress(&folder.join("events.jsonl"), &lines);
    }
    lake
}

/// Returns the name of each host of the day with the lines of its file.
fn files(day: &Day) -> Vec<(String, Vec<String>)> {
    let mut files: Vec<_> = fs::read_dir(day.events.path())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (name, text.split_inclusive('\n').map(str::to_owned).collect())
        })
        .collect();
    files.sort();
    files
}

/// Writes lines to a file and compresses it.
fn compress(path: &Path, lines: &[String]) {
    fs::write(path, lines.concat()).unwrap();
    assert!(Command::new("gzip").arg(path).status().unwrap().success());
}
