//! Cost of a rehearsal for its callers, and how fast it begins and ends.

use super::section::{Bound, Comparison, Goal, Quantity, Section};

/// What goes through the front, beside a plain forwarder and beside nothing.
pub const REHEARSAL: Section = Section {
    name: "rehearsal",
    title: "A rehearsal: through the front, and its beginning and end",
    method: "\
In a private network of two hosts a thread asks three services on one address in turn, request by
request, with a pause of 0.3 ms before each: straight; through a forwarder on loopback that reads and
writes with a thread for each connection and looks at nothing; and through the front of a rehearsal,
whose audit watches. So whatever else the machine does is in all three. Eight rounds of 1000
connections with a request each, and of 2000 requests on connections that stay open. Processor time is
that of the forwarder's threads and of the front's, not the audit's. A start is the time from the
program's start until a command that it starts reads the clock, beside the same command alone; an end
the time from the signal until a connect leads to the service. Other cgroups run no instruction of a
rehearsal: `processes_of_other_cgroups_run_no_program_of_the_rehearsal` counts the runs of its programs
in the kernel.",
    columns: &["direct", "forwarder", "front"],
    comparisons: &[
        Comparison::Difference("front", "direct"),
        Comparison::Difference("front", "forwarder"),
    ],
    goals: &[
        Goal {
            what: "added by the front, 99th of 100",
            rows: "99th of 100",
            quantity: Quantity::Comparison(Comparison::Difference("front", "direct")),
            bound: Bound::AtMost(1.0),
            miss: "",
        },
        Goal {
            what: "requests a second through the front",
            rows: "requests a second",
            quantity: Quantity::Column("front"),
            bound: Bound::AtLeast(5_000.0),
            miss: "",
        },
        Goal {
            what: "start of a rehearsal",
            rows: "start until",
            quantity: Quantity::Comparison(Comparison::Difference("front", "direct")),
            bound: Bound::AtMost(100.0),
            miss: "",
        },
        Goal {
            what: "end of a rehearsal",
            rows: "SIG",
            quantity: Quantity::Column("front"),
            bound: Bound::AtMost(100.0),
            miss: "",
        },
    ],
    remarks: "",
    measure: |environment| environment.measure(&["rehearsal"]),
};
