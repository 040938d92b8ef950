//! Costs of captures: for a caller who is captured, and for whoever replays them.

use anyhow::Result;

use crate::apt;
use crate::command;

use super::environment::BenchEnvironment;
use super::results::Measured;
use super::section::{Bound, Comparison, Goal, Quantity, Section};

/// What a replay takes, beside reading the file and tshark on the same question.
pub const REPLAY: Section = Section {
    name: "replay",
    title: "A replay of a capture of other traffic",
    method: "\
Captures of Ethernet with segments of 1448 and 600 bytes, acknowledgements and datagrams, 870 bytes a
packet on average, and ten requests to the metadata service in between. `cat` reads the file, which is
in the page cache, to `/dev/null`; `imds-audit replay` writes the requests as JSON lines; tshark is
asked for the HTTP requests to the service's address. All in the same run, reading and replay in turn; a
replay reads in a thread of its own, so that it takes two processors where there are two.
Memory is the most that was resident (`ru_maxrss`).",
    columns: &["reading", "imds-audit", "tshark"],
    comparisons: &[
        Comparison::Ratio("imds-audit", "reading"),
        Comparison::Ratio("tshark", "imds-audit"),
    ],
    goals: &[
        Goal {
            what: "replay of 1 GiB, beside reading it",
            rows: "1024 MiB of pcap: time",
            quantity: Quantity::Comparison(Comparison::Ratio("imds-audit", "reading")),
            bound: Bound::AtMost(1.5),
            miss: "",
        },
        Goal {
            what: "replay of 1 GiB of pcapng, beside reading it",
            rows: "1024 MiB of pcapng: time",
            quantity: Quantity::Comparison(Comparison::Ratio("imds-audit", "reading")),
            bound: Bound::AtMost(1.5),
            miss: "",
        },
        Goal {
            what: "tshark on the same question, beside the replay of 1 GiB",
            rows: "1024 MiB of pcap: time",
            quantity: Quantity::Comparison(Comparison::Ratio("tshark", "imds-audit")),
            bound: Bound::AtLeast(20.0),
            miss: "",
        },
        Goal {
            what: "memory of a replay of 1 GiB",
            rows: "1024 MiB of pcap: memory",
            quantity: Quantity::Column("imds-audit"),
            bound: Bound::AtMost(16.0),
            miss: "",
        },
    ],
    remarks: "",
    measure: measure_replay,
};

/// What a caller of the metadata service pays for a capture.
pub const CAPTURE: Section = Section {
    name: "capture",
    title: "Cost of a capture for a caller of the metadata service",
    method: "\
As in the section on the cost for a caller, with `imds-audit capture` in the place of `imds-audit run`
in every third round. It writes into a file in the folder for temporary files, and must have written
every packet.",
    columns: &["without", "run", "capture"],
    comparisons: &[Comparison::Ratio("capture", "run")],
    goals: &[Goal {
        what: "what a caller pays for a capture, beside a run",
        rows: "",
        quantity: Quantity::Comparison(Comparison::Ratio("capture", "run")),
        bound: Bound::AtMost(1.05),
        miss: "",
    }],
    remarks: "\
What a caller waits for are the eBPF programs, which are the same; what the two do with a record is on
another processor.",
    measure: |environment| environment.measure(&["capture"]),
};

fn measure_replay(bench: &BenchEnvironment<'_>) -> Result<Measured> {
    if command::find("tshark").is_none() {
        apt::install(&["tshark".to_owned()])?;
    }
    bench.measure(&["replay"])
}
