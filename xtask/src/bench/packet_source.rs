//! The packet source, which takes the place of the eBPF programs where a host does not allow them.

use super::section::{Bound, Goal, Quantity, Section};

/// Its capacity, and the share of short-lived callers that it names.
pub const PACKET_SOURCE: Section = Section {
    name: "packet-source",
    title: "The packet source: requests a second, and short-lived callers that are named",
    method: "\
With `--source packet`, in the callers' network namespace. First so many processes a second make one
request each, on a connection of its own, and end once they have the response: a fork without an
`exec`, which lives for some tenths of a millisecond. Named are those whose line has the process; of
others the line may have the cgroup that the socket was made in. Then the program is bound to one
processor, and on the other one a thread sends requests on 64 connections in turn and answers them
itself, for three seconds at each rate. What is lost here are packets, and a request that is not
reported lost one at least: every run must add up to that.",
    columns: &[
        "sent a second",
        "named, of a hundred",
        "their cgroup alone",
        "not reported, of a hundred",
        "packets lost",
        "processors in use",
    ],
    comparisons: &[],
    goals: &[
        Goal {
            what: "20 000 requests a second are sent to the packet source",
            rows: "20000 requests",
            quantity: Quantity::Column("sent a second"),
            bound: Bound::AtLeast(19_900.0),
            miss: "",
        },
        Goal {
            what: "of 20 000 requests a second, packets that the packet source lost",
            rows: "20000 requests",
            quantity: Quantity::Column("packets lost"),
            bound: Bound::AtMost(0.0),
            miss: "",
        },
    ],
    remarks: "",
    measure: |environment| environment.measure(&["packet-source"]),
};
