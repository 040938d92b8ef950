//! Programs that read what the agent writes: Prometheus, node_exporter, promtool, followers.

use std::io::{Seek, SeekFrom};

use serde_json::Value;

use super::*;

const RULES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/imds-audit.rules.yaml");
const RULE_TESTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/imds-audit.rules.test.yaml");
const DASHBOARD: &str = include_str!("../../../../deploy/grafana/imds-audit.json");

/// Runs promtool; `None` if it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}");
    Some(text)
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Returns the body of a page of a server that may not be there yet.
fn fetch(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    let (head, body) = page.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.0 200").then(|| body.to_owned())
}

fn query(address: SocketAddr, query: &str) -> Option<Vec<Value>> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let body = fetch(address, &format!("/api/v1/query?query={encoded}"))?;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer:#}");
    Some(answer["data"]["result"].as_array().unwrap().clone())
}

#[test]
fn promtool_finds_nothing_in_the_metrics_and_the_alert_rules_do_as_they_say() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    ask(&scene, &address, 2);
    agent.wait_for_requests(2);
    let page = agent.scrape();
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    let Some(said) = promtool(&["check", "metrics"], page) else { return };
    assert_eq!(said, "", "{page}");
    promtool(&["check", "rules", RULES], "").unwrap();
    promtool(&["test", "rules", RULE_TESTS], "").unwrap();
}

#[test]
fn every_query_of_the_dashboard_has_data_in_a_prometheus_that_scrapes_the_agent() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    let listen = free_address();
    let config = agent.path("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nrule_files: [\"{RULES}\"]\nscrape_configs:\n  \
         - job_name: imds-audit\n    static_configs:\n      - targets: [\"{}\"]\n",
        agent.metrics
    );
    fs::write(&config, text).unwrap();
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", agent.path("tsdb").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else { return };
    let _prometheus = Running(child);
    ask(&scene, &address, 2);
    agent.wait_for_requests(2);
    let is_seen = || {
        let sum = query(listen, "sum(imds_audit_requests_total)")?;
        (sum.first()?["value"][1] == "2").then_some(())
    };
    assert!(until(is_seen).is_some(), "Prometheus does not see the requests");
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() >= 8, "{queries:?}");
    for expression in queries {
        let expression = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        // A rate needs two samples.
        let has_data = || query(listen, &expression).filter(|found| !found.is_empty()).map(drop);
        assert!(until(has_data).is_some(), "{expression} has no data");
    }
}

#[test]
fn node_exporter_shows_what_is_in_the_text_file() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    let listen = free_address();
    let started = Command::new("prometheus-node-exporter")
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", agent.folder.path().display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else { return };
    let _exporter = Running(child);
    ask(&scene, &address, 2);
    agent.wait_for_requests(2);
    let is_seen = || {
        let page = fetch(listen, "/metrics")?;
        assert!(!page.contains("\nnode_textfile_scrape_error 1\n"), "{page}");
        page.lines().any(|line| line == "imds_audit_metadata_no_token_total 2").then_some(())
    };
    assert!(until(is_seen).is_some(), "{:?}", fetch(listen, "/metrics"));
}

/// A reader that follows a name, as the CloudWatch agent does: when the file of that name is
/// another, it ends the old one and begins the new one.
struct Follower {
    path: PathBuf,
    file: Option<fs::File>,
    read: Vec<u8>,
}

impl Follower {
    fn poll(&mut self) {
        use std::os::unix::fs::MetadataExt;
        let named = fs::metadata(&self.path).ok().map(|named| named.ino());
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.read).unwrap();
            if named.is_some_and(|named| named != file.metadata().unwrap().ino()) {
                // What came between the last read and the change of the name.
                file.read_to_end(&mut self.read).unwrap();
                self.file = None;
            }
        }
        if self.file.is_none() {
            self.file = fs::File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let end = file.stream_position().unwrap();
            file.seek(SeekFrom::Start(end)).unwrap();
            file.read_to_end(&mut self.read).unwrap();
        }
    }
}

#[test]
fn a_reader_that_follows_the_file_reads_every_line_over_rotations() {
    let Some((scene, address)) = scene() else { return };
    let settings = format!(
        "[[output]]\npath = \"{{folder}}/log/events.jsonl\"\nmin_free_percent = 0\n\
         max_size = \"{}B\"\nmax_total_size = \"1GiB\"\ncompress_after = \"never\"",
        20 * line_length(&scene, &address)
    );
    let Some(agent) = Agent::start(&address, &settings) else { return };
    let mut follower =
        Follower { path: agent.path("log/events.jsonl"), file: None, read: Vec::new() };
    let folder = ask_over_rotations(&scene, &address, agent, || follower.poll());
    follower.poll();
    follower.poll();
    assert_read_whole(follower.read);
    drop(folder);
}
