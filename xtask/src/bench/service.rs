//! The agent: what it takes, what a caller loses beside a noisy one, and an hour of it.

use anyhow::Result;

use super::environment::BenchEnvironment;
use super::results::Measured;
use super::section::{Bound, Comparison, Goal, Quantity, Section};

/// What the agent takes beside `run`.
pub const SERVICE: Section = Section {
    name: "service",
    title: "The agent beside `run`",
    method: "\
`imds-audit run` writes JSON lines into a pipe that is read, `imds-audit agent` into its file with the
default configuration, metrics served. Each is bound to one processor; on the other one a thread sends
requests without a token and answers them itself: nothing for ten seconds, then 10 a second for twenty
and 1 000 a second for ten on one connection; in a new run a million at 20 000 a second on 64. Every
run must add up.",
    columns: &["run", "agent"],
    comparisons: &[Comparison::Difference("agent", "run")],
    goals: &[
        memory("resident memory of `run`, idle", "resident memory, idle", "run", 10.0),
        memory("resident memory of the agent, idle", "resident memory, idle", "agent", 14.0),
        memory(
            "resident memory of the agent after a million requests",
            "resident memory after a million requests",
            "agent",
            16.0,
        ),
        Goal {
            what: "the agent at 10 requests a second",
            rows: "10 requests a second",
            quantity: Quantity::Column("agent"),
            bound: Bound::AtMost(0.1),
            miss: "\
A tenth of a second after the last request every cache is cold: a request takes four times what it takes
at 1 000 a second. The profile is flat (`perf record -e cpu-clock`): half of it is the program's own
code, in which no function has 2 of a hundred, a third the kernel's switches and system calls.",
        },
    ],
    remarks: "",
    measure: |environment| environment.measure(&["service"]),
};

/// What a caller loses beside another one.
pub const NEIGHBOURS: Section = Section {
    name: "neighbours",
    title: "A quiet caller beside a noisy one",
    method: "\
One process in a control group of its own sends 10 requests a second for ten seconds, another one in
another group 1 000, 20 000, or as many as it can, for twelve, on 64 connections that it answers
itself. The agent writes both to its file, with the default configuration, and shares the two
processors with them. Every run must add up: requests sent are requests tallied and requests counted
as lost.",
    columns: &[
        "sent a second beside it",
        "with a line, of a hundred",
        "tallied, of a hundred",
        "counted lost, of a hundred",
        "lost of the other's, of a hundred",
        "lines that the output lost",
    ],
    comparisons: &[],
    goals: &[
        Goal {
            what: "requests of a quiet caller that are tallied, of a hundred",
            rows: "beside",
            quantity: Quantity::Column("tallied, of a hundred"),
            bound: Bound::AtLeast(100.0),
            miss: "",
        },
        Goal {
            what: "requests of a quiet caller with a line of their own, of a hundred",
            rows: "beside",
            quantity: Quantity::Column("with a line, of a hundred"),
            bound: Bound::AtLeast(100.0),
            miss: "",
        },
    ],
    remarks: "",
    measure: |environment| environment.measure(&["neighbours"]),
};

/// An hour of the agent. Only `cargo xtask soak` measures it.
pub const SOAK: Section = Section {
    name: "soak",
    title: "An hour of the agent",
    method: "\
An hour of 50 requests a second: 40 on connections that are kept for a minute, half of them with a
token, and 10 of a new process each. The file is rotated every minute, the metrics are scraped every 15
seconds, and SIGHUP comes once a minute. At the end every request must be in a tally or counted as
lost, each without a token must have its line or be counted, the tallies' windows must join, and memory
and descriptors must not be more in the last third than in the middle one.",
    columns: &["figure"],
    comparisons: &[],
    goals: &[Goal {
        what: "requests lost in an hour of the agent",
        rows: "requests lost",
        quantity: Quantity::Column("figure"),
        bound: Bound::AtMost(0.0),
        miss: "",
    }],
    remarks: "",
    measure: |environment| soak(environment, HOUR),
};

/// The minutes of an hour.
pub const HOUR: u32 = 60;

/// Has the agent run for so many minutes.
///
/// # Errors
/// Returns an error if a request is not accounted for, memory or descriptors grow, or the agent does
/// not work.
pub fn soak(environment: &BenchEnvironment<'_>, minutes: u32) -> Result<Measured> {
    environment.measure(&["soak", "--minutes", &minutes.to_string()])
}

/// Bounds the memory of one of the two, in MiB.
const fn memory(what: &'static str, rows: &'static str, column: &'static str, most: f64) -> Goal {
    let miss = "\
4.1 MiB of it is the ring, 1.4 MiB the program's own data (`/proc/PID/smaps`); the rest is code, which the
kernel maps by more than is run and can take back.";
    Goal { what, rows, quantity: Quantity::Column(column), bound: Bound::AtMost(most), miss }
}
