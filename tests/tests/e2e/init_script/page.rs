//! A walk through `docs/databricks.md`: each of its commands, as they stand there, with a driver, an
//! executor, a notebook, a script and an old SDK as callers.

use std::os::unix::fs::PermissionsExt;

use imds_audit::event::RequestEvent;
use imds_audit_tests::python;
use serde_json::{Value, json};

use super::*;
use crate::spark::{Application, DRIVER as DRIVER_CLASS, EXECUTOR};

/// Copies to where the volume is on this machine.
const DATABRICKS: &str = "#!/bin/sh\n[ \"$1 $2\" = 'fs cp' ] && \
                          exec cp -- \"$3\" \"$VOLUME/${4#dbfs:/Volumes/main/default/imds-audit/}\"\n";

/// What an SDK of 2019 does.
const OLD_SDK: &str = "import boto3\nprint(len(boto3.Session(region_name='us-east-1')\
                       .get_credentials().access_key))\n";

/// The blocks of a page in a language, in order.
pub(super) fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut rest = page;
    let mut found = Vec::new();
    while let Some((_, behind)) = rest.split_once(&format!("\n```{language}\n")) {
        let (block, behind) = behind.split_once("\n```").unwrap();
        found.push(block.to_owned());
        rest = behind;
    }
    found
}

/// Runs the page's upload, with a stand-in of the platform's command.
fn upload(block: &str, volume: &Path) {
    let desk = tempfile::tempdir().unwrap();
    let tool = desk.path().join("bin/databricks");
    for folder in ["bin", "target/dist", "deploy/databricks"] {
        fs::create_dir_all(desk.path().join(folder)).unwrap();
    }
    fs::write(&tool, DATABRICKS).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    for (from, to) in [
        (program().unwrap(), "target/dist/imds-audit"),
        (path("deploy/databricks/imds-audit-init.sh"), "deploy/databricks/imds-audit-init.sh"),
    ] {
        std::os::unix::fs::symlink(from, desk.path().join(to)).unwrap();
    }
    let output = Command::new("sh")
        .args(["-e", "-c", block])
        .current_dir(desk.path())
        .env("PATH", format!("{}:/usr/bin:/bin", desk.path().join("bin").display()))
        .env("VOLUME", volume)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Does what DuckDB's command line is asked for, with DuckDB.
const DUCKDB: &str = r"import duckdb, sys
connection = duckdb.connect()
for option, text in zip(sys.argv[1::2], sys.argv[2::2]):
    text = {'-c': lambda: text, '-f': lambda: open(text, encoding='utf-8').read()}[option]()
    result = connection.execute(text)
for row in result.fetchall():
    print(*row, sep='\t')
";

/// Runs the page's questions in DuckDB over the volume, and compares them with the report's numbers.
fn by_duckdb(block: &str, cluster: &Cluster) {
    let Some(python) = python("IMDS_AUDIT_PYTHON_REPORTS") else { return };
    let tools = tempfile::tempdir().unwrap();
    fs::write(tools.path().join("questions.py"), DUCKDB).unwrap();
    let (tool, code) = (tools.path().join("duckdb"), tools.path().join("questions.py"));
    let started = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", python.display(), code.display());
    fs::write(&tool, started).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("sh")
        .args(["-e", "-c", &block.replace(HOME, cluster.volume.path().to_str().unwrap())])
        .current_dir(path(""))
        .env("PATH", format!("{}:/usr/bin:/bin", tools.path().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let rows = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<_> = rows
        .lines()
        .map(|row| row.split('\t').map(str::to_owned).collect::<Vec<_>>())
        .map(|row| (row[0].clone(), row[2].clone()))
        .collect();
    found.sort();
    let report = cluster.report(&["--format", "json"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let mut expected: Vec<_> = report["callers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|caller| caller["without_token"] != 0)
        .map(|caller| (text_of(&caller["title"]), caller["without_token"].to_string()))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// Gives a member's text.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn the_page_leads_from_two_files_to_a_report_that_names_each_caller() {
    let Some(application) = Application::make() else { return };
    let Some(old_python) = python("IMDS_AUDIT_PYTHON_V1") else { return };
    let Some(cluster) = Cluster::new() else { return };
    let page = fs::read_to_string(path("docs/databricks.md")).unwrap();
    let commands = blocks(&page, "sh");
    let [upload_block, look, report, sql] = &commands[..] else { panic!("{commands:#?}") };
    upload(upload_block, cluster.volume.path());

    let mut setup = cluster.setup();
    setup.volumes.truncate(1);
    // The application, and the Python of the old SDK with what it is made from.
    let environment = old_python.parent().unwrap().parent().unwrap();
    let interpreter = fs::canonicalize(&old_python).unwrap();
    let made_from = interpreter.parent().unwrap().parent().unwrap();
    let mut shared = vec![application.path(""), environment.to_str().unwrap().to_owned()];
    if made_from != Path::new("/usr") {
        shared.push(made_from.to_str().unwrap().to_owned());
    }
    for folder in shared {
        let folder = folder.trim_end_matches('/');
        setup.volumes.push(format!("{folder}:{folder}:ro"));
    }
    cluster.disk.write("opt/job/old-sdk.py", OLD_SDK);
    let Some(mut node) = cluster.start(&setup) else { return };

    // The cluster's JSON: the platform runs the script, with these variables.
    let settings: Value = serde_json::from_str(&blocks(&page, "json")[0]).unwrap();
    assert_eq!(
        settings["init_scripts"],
        json!([{ "volumes": { "destination": format!("{HOME}/imds-audit-init.sh") } }])
    );
    let variables: String = settings["spark_env_vars"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| format!(" {name}={}", value.as_str().unwrap()))
        .collect();
    launch(&mut node, &format!("{DRIVER}{variables}"));
    node.wait_for(LOG, " attached; ");

    // A driver's notebook, an executor, a script, an old SDK. They live until the node ends.
    let notebook = application.path("databricks/python_shell/scripts/db_ipykernel_launcher.py");
    let machine = format!("java -Xmx64m -XX:TieredStopAtLevel=1 -cp {}", application.path(""));
    let run = |command: &str| format!("{DRIVER}\n(sleep 600 | {command}) >/dev/null 2>&1 &");
    node.run_well(&run(&format!("{machine} {DRIVER_CLASS} python3 {notebook} -f kernel.json")));
    node.run_well(&run(&format!("{machine} {EXECUTOR}")));
    node.run_well("sh /opt/job/tag.sh");
    node.run_well(&format!("{} /opt/job/old-sdk.py", old_python.display()));
    let written = format!("cat {BASE}/events/events-*.jsonl");
    let callers = ["db_ipykernel_launcher.py", EXECUTOR, "/opt/job/tag.sh", "/opt/job/old-sdk.py"];
    let seen = || {
        let requests = Events::read_whole_lines(&node.run(&written).1).requests();
        let is_of = |request: &RequestEvent, name: &str| request.caller.title.contains(name);
        let is_there = |name: &&str| requests.iter().any(|request| is_of(request, name));
        callers.iter().all(is_there).then_some(())
    };
    assert!(until(seen).is_some(), "{}", node.run(&written).1);
    terminate(&mut node);

    let log = node.run_well(look);
    assert!(log.contains("attached; events go to"), "{log}");
    let text = node.run_well(report);
    assert!(text.starts_with("NOT READY"), "{text}");
    for expected in [
        CLUSTER,
        "db_ipykernel_launcher.py",
        EXECUTOR,
        "/opt/job/tag.sh",
        "/opt/job/old-sdk.py",
        "api/token",
        "update Boto3 from 1.9.200",
        "'boto3>=1.12.6'",
    ] {
        assert!(text.contains(expected), "no {expected}: {text}");
    }
    // It says what it is about.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("outside of that container was not seen"), "{text}");
    by_duckdb(sql, &cluster);
    let output = cluster.report(&["--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let callers = report["callers"].as_array().unwrap();
    let homes: Vec<_> = callers.iter().filter_map(|caller| caller["home"].as_str()).collect();
    for expected in ["notebook of a Spark driver", "Spark executor"] {
        assert!(homes.iter().any(|home| home.starts_with(expected)), "{homes:?}");
    }
    // The statement that the page names for the driver is the one that the program gives.
    let fix = "spark.databricks.hive.metastore.glueCatalog.isolation.enabled false";
    assert!(text.contains(fix) && page.contains(fix), "{text}");
}
