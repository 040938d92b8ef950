//! Cost for other traffic, measured on the machine itself.

use super::environment::BenchEnvironment;
use super::results::Measured;
use super::section::{Bound, Comparison, Goal, Quantity, Section};
use super::tools;

const WITH_BY_WITHOUT: Comparison = Comparison::Ratio("with", "without");
const EMPTY_BY_WITHOUT: Comparison = Comparison::Ratio("empty", "without");
const WITH_BY_EMPTY: Comparison = Comparison::Ratio("with", "empty");

/// What a packet of other traffic pays.
pub const PACKET: Section = Section {
    name: "packet",
    title: "Cost of a packet of other traffic",
    method: "\
`BPF_PROG_TEST_RUN` runs a program on a packet that has nothing to do with the metadata service,
a million times in a row: processor time a run. `empty` is a program of the same type and of two
instructions, `with one endpoint` and `with eight` are this program's own, as it loads them. What
the call itself takes is in all three.",
    columns: &["empty", "with one endpoint", "with eight"],
    comparisons: &[
        Comparison::Difference("with one endpoint", "empty"),
        Comparison::Difference("with eight", "empty"),
    ],
    goals: &[Goal {
        what: "a packet of other traffic, over an empty program",
        rows: "",
        quantity: Quantity::Comparison(Comparison::Difference("with one endpoint", "empty")),
        bound: Bound::AtMost(2.0),
        miss: "",
    }],
    remarks: "",
    measure: |environment| environment.measure(&["packet"]),
};

/// What other traffic loses on loopback.
pub const LOOPBACK: Section = Section {
    name: "loopback",
    title: "Other traffic on loopback",
    method: TRAFFIC,
    columns: &["without", "empty", "with"],
    comparisons: &[WITH_BY_WITHOUT, EMPTY_BY_WITHOUT, WITH_BY_EMPTY],
    goals: &[LARGE, WEB, SMALL],
    remarks: "",
    measure: |environment| traffic(environment, "loopback"),
};

/// What other traffic loses between two hosts.
pub const VETH: Section = Section {
    name: "veth",
    title: "Other traffic between two hosts",
    method: "\
As on loopback, between two network namespaces that a veth pair wires to each other.",
    columns: &["without", "empty", "with"],
    comparisons: &[WITH_BY_WITHOUT, EMPTY_BY_WITHOUT, WITH_BY_EMPTY],
    goals: &[LARGE, WEB, SMALL],
    remarks: "",
    measure: |environment| traffic(environment, "veth"),
};

const TRAFFIC: &str = "\
Twelve rounds; in each one every kind of traffic runs without anything attached, with `empty`
programs of two instructions at the same four hooks, and with the program auditing. The `empty`
column is the price of the hooks, which every tool at them pays; what lies above it is this
program's own. Server and client are bound to a processor each; the round trips and the connects,
where one waits for the other at every step, share one.";

const LARGE: Goal = throughput(
    "throughput of a large transfer",
    "iperf3",
    WITH_BY_WITHOUT,
    "Rounds differ by more than is to be held, and with `empty` programs too it is not held in each. \
     By the instruction clock, which repeats, the same transfer keeps its hundredth: see that \
     section.",
);
const WEB: Goal = throughput(
    "throughput of a web server",
    "wrk",
    WITH_BY_WITHOUT,
    "Most of it is there with `empty` programs, and rounds differ by more than is to be held. A \
     profile of wrk with nginx on loopback while the program audits (`perf record -e cpu-clock -a`, \
     Linux 6.18) has 0.53 of a hundred samples in its two programs and 0.45 in the kernel's calls \
     of them (`__cgroup_bpf_run_filter_skb`, `__bpf_prog_run_save_cb`): one of a hundred altogether.",
);
const SMALL: Goal = throughput(
    "tiny messages, over the hooks with empty programs",
    "",
    WITH_BY_EMPTY,
    "It is the worst of six rows, and in a row rounds differ by several times what is to be held. By \
     the instruction clock no row of tiny messages loses a hundredth: see that section.",
);

/// Says that no more than a hundredth may be lost, and why more is.
const fn throughput(
    what: &'static str,
    rows: &'static str,
    comparison: Comparison,
    miss: &'static str,
) -> Goal {
    let quantity = Quantity::Comparison(comparison);
    Goal { what, rows, quantity, bound: Bound::AtLeast(0.99), miss }
}

fn traffic(environment: &BenchEnvironment<'_>, way: &str) -> anyhow::Result<Measured> {
    let nginx = tools::install(environment.workspace)?;
    environment.measure(&["traffic", way, "--nginx", &nginx.to_string_lossy()])
}
