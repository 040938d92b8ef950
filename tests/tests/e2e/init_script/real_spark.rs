//! The week after `docs/databricks.md` with the processes of a real Spark as callers: a driver's virtual
//! machine and its notebook's Python, an executor and its Python worker.

use imds_audit::event::{Spark, SparkPython, SparkRole};
use imds_audit_tests::python;
use serde_json::Value;

use super::page::text_of;
use super::*;

/// Where the platform has a notebook's Python.
const NOTEBOOK: &str = "/databricks/python_shell/scripts/db_ipykernel_launcher.py";

/// Asks from the notebook's Python; then has a file of the service handed to everybody, for which the
/// driver and the executor ask each; then asks from a Python worker.
const APPLICATION: &str = "import urllib.request
from pyspark.sql import SparkSession
URL = 'http://169.254.169.254/latest/meta-data/instance-id'
def ask(_):
    return [urllib.request.urlopen(URL, timeout=20).read()]
context = SparkSession.builder.getOrCreate().sparkContext
ask(None)
context.addFile(URL)
assert context.parallelize([None], 1).mapPartitions(ask).count() == 1
context.stop()
";

#[test]
#[ignore = "it takes Spark: cargo xtask spark"]
fn the_page_s_report_names_the_processes_of_a_real_spark() {
    let Some(python) = python("IMDS_AUDIT_PYTHON_SPARK") else { return };
    let Some(cluster) = Cluster::new() else { return };
    cluster.disk.write(NOTEBOOK.trim_start_matches('/'), APPLICATION);
    let environment = python.parent().unwrap().parent().unwrap();
    let made_from = fs::canonicalize(&python).unwrap();
    let made_from = made_from.parent().unwrap().parent().unwrap();
    let mut setup = cluster.setup();
    for folder in [environment, made_from].into_iter().filter(|&it| it != Path::new("/usr")) {
        let folder = folder.display();
        setup.volumes.push(format!("{folder}:{folder}:ro"));
    }
    let Some(mut node) = cluster.start(&setup) else { return };
    launch(&mut node, DRIVER);
    node.wait_for(LOG, " attached; ");

    let python = python.display();
    // Spark writes below its home, which is not to be changed here. No library of it asks by itself.
    node.run_well(&format!(
        "{DRIVER}\n\
         export SPARK_HOME=/opt/spark SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON={python} \
         AWS_EC2_METADATA_DISABLED=true\n\
         cd $({python} -c 'import pyspark, os; print(os.path.dirname(pyspark.__file__))') &&\n\
         mkdir /opt/spark && ln -s $PWD/bin $PWD/jars $PWD/python /opt/spark &&\n\
         cd /tmp && exec /opt/spark/bin/spark-submit --master 'local-cluster[1,1,512]' \
         --conf spark.executor.memory=512m --conf spark.ui.enabled=false {NOTEBOOK}"
    ));
    let written = format!("cat {BASE}/events/events-*.jsonl | grep -c instance-id");
    let seen = || (node.run(&written).1.trim() == "4").then_some(());
    assert!(until(seen).is_some(), "{}", node.read(LOG));
    terminate(&mut node);

    let requests = cluster.events().requests();
    let sparks: Vec<_> = requests.iter().filter_map(|it| it.process.spark.as_ref()).collect();
    let count = |role, python| {
        let is_of = |spark: &&&Spark| spark.role == Some(role) && spark.python == python;
        sparks.iter().filter(is_of).count()
    };
    let counts = [
        count(SparkRole::Driver, None),
        count(SparkRole::Driver, Some(SparkPython::Notebook)),
        count(SparkRole::Executor, None),
        count(SparkRole::Executor, Some(SparkPython::Worker)),
    ];
    assert_eq!((counts, requests.len()), ([1; 4], 4), "{sparks:#?}");

    let output = cluster.report(&["--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "NOT_READY");
    let mut callers: Vec<_> = report["callers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|caller| (text_of(&caller["title"]), caller["without_token"].as_u64().unwrap()))
        .collect();
    callers.sort();
    // The notebook is what the driver was started with: whatever both ask is the notebook's.
    let [(notebook, 2), (worker, 1), (executor, 1)] = &callers[..] else { panic!("{callers:#?}") };
    assert_eq!(notebook, NOTEBOOK);
    assert!(worker.ends_with("-m pyspark.daemon pyspark.worker"), "{worker}");
    assert_eq!(executor, "java org.apache.spark.executor.CoarseGrainedExecutorBackend");
}
