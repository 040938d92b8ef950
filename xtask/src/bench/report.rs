//! Costs of a report, by how much it reads.

use anyhow::{Context, Result};

use crate::apt;
use crate::command;
use crate::python;

use super::environment::BenchEnvironment;
use super::results::Measured;
use super::section::{Bound, Comparison, Goal, Quantity, Section};

/// The largest number of events.
const LARGEST: u64 = 10_000_000;

/// What a report takes, beside DuckDB and jq on the same question.
pub const REPORT: Section = Section {
    name: "report",
    title: "A report of many events",
    method: "\
Files of ten hosts with requests as the program writes them, 1.9 KB each, one in ten without a
token; `imds-audit report` writes its JSON form. DuckDB counts those without a token by caller, in
one scan of the five members that this needs, with two threads; jq does with `select`, `sort` and
`uniq -c`. They take turns on the same files, which are in the page cache. The time of DuckDB is its
query's alone. Memory is the most that was resident (`ru_maxrss`), Python's of DuckDB included.",
    columns: &["imds-audit", "DuckDB", "jq"],
    comparisons: &[Comparison::Ratio("imds-audit", "DuckDB")],
    goals: &[
        Goal {
            what: "report of 1 000 000 events",
            rows: "1000000 events of 100 callers: time",
            quantity: Quantity::Column("imds-audit"),
            bound: Bound::AtMost(3.0),
            miss: "",
        },
        Goal {
            what: "report of 1 000 000 events, beside DuckDB",
            rows: "1000000 events of 100 callers: time",
            quantity: Quantity::Comparison(Comparison::Ratio("imds-audit", "DuckDB")),
            bound: Bound::AtMost(1.0),
            miss: "",
        },
        Goal {
            what: "memory of a report of 1 000 000 events",
            rows: "1000000 events of 100 callers: memory",
            quantity: Quantity::Column("imds-audit"),
            bound: Bound::AtMost(64.0),
            miss: "",
        },
    ],
    remarks: "\
Ten million events are read compressed, as 19 GB of them would not stay in the page cache. Beyond
20 000 callers requests are counted without a name, so memory stops growing; `--max-callers` raises
that.",
    measure,
};

fn measure(bench: &BenchEnvironment<'_>) -> Result<Measured> {
    if command::find("jq").is_none() {
        apt::install(&["jq".to_owned()])?;
    }
    let environments = python::environments(bench.workspace)?;
    let found = environments.into_iter().find(|(name, _)| *name == "IMDS_AUDIT_PYTHON_REPORTS");
    let (_, python) = found.context("no Python environment for reports")?;
    let largest = LARGEST.to_string();
    bench.measure(&["report", "--python", &python.to_string_lossy(), "--largest", &largest])
}
