//! Cost for callers of the metadata service, and the program's capacity, measured on the machine
//! itself.

use crate::instructions;

use super::environment::own_place;
use super::results::Row;
use super::section::{Bound, Comparison, Goal, Quantity, Section};

/// What a caller of the metadata service pays.
pub const LATENCY: Section = Section {
    name: "latency",
    title: "Cost for a caller of the metadata service",
    method: "\
One thread sends a request to an audited address, answers it and takes the answer, in a private
network of two hosts; so that nothing takes time but the system calls, the packets and what is
attached to them. Twelve rounds of ten thousand requests on one connection, and of 2 500 with a
connection each. The program runs on the other processor, or on the same one, where what it does
with each request comes out of the caller's time too.",
    columns: &["without", "empty", "with", "with, on the caller's processor"],
    comparisons: &[
        Comparison::Difference("with", "without"),
        Comparison::Difference("with", "empty"),
        Comparison::Difference("with, on the caller's processor", "without"),
    ],
    goals: &[],
    remarks: "",
    measure: |environment| environment.measure(&["latency"]),
};

/// How many requests are audited before one is lost.
pub const CAPACITY: Section = Section {
    name: "capacity",
    title: "Requests a second until the first loss, and beyond",
    method: "\
The program is bound to one processor; on the other one a thread sends requests on 64 connections
in turn and answers them itself, for three seconds at each rate. The program writes JSON lines into
a pipe that is read. Every run must add up: requests sent are requests reported and requests
counted as lost. The service itself allows 1024 packets a second and interface.

`ready and not run` is how long the program's threads could have run and had no processor
(`schedstat`), `stolen` what the host gave to others of the program's processor (`/proc/stat`), and
`longest stillness` the most by which a thread was late that sleeps for a millisecond at a time on
that processor and comes before every other one there (`SCHED_FIFO`). Where requests are lost and
the three are small, the program was not woken, or not fast enough.",
    columns: &[
        "sent a second",
        "lost, of a hundred",
        "processors in use",
        "ms ready and not run",
        "ms stolen",
        "longest stillness, ms",
    ],
    comparisons: &[],
    goals: &[
        Goal {
            what: "20 000 requests a second are sent",
            rows: "20000 requests",
            quantity: Quantity::Column("sent a second"),
            bound: Bound::AtLeast(19_900.0),
            miss: "",
        },
        Goal {
            what: "of 20 000 requests a second, lost of a hundred (the median of three runs; see there)",
            rows: "20000 requests",
            quantity: Quantity::Column("lost, of a hundred"),
            bound: Bound::AtMost(0.0),
            miss: "",
        },
    ],
    remarks: "\
The ring of 2 MiB holds about a tenth of a second of 20 000 requests a second: where the program
has no processor for longer, requests are lost, and counted. An earlier version lost some in one of
three rounds at rates that it could hold. That round did not come again; on a machine with other
work, where requests are lost at such rates, `processors in use` and `ready and not run` make up most
of the processor, nothing is stolen and it never stands still for long: the program waits for its
turn.",
    measure: |environment| environment.measure(&["capacity"]),
};

/// A million requests, ten thousand connections, a hundred thousand processes.
pub const VOLUME: Section = Section {
    name: "volume",
    title: "A million requests, ten thousand connections, a hundred thousand processes",
    method: "\
A million requests come at 20 000 a second on 64 connections; then, in a new run, ten thousand
connections are open at once and each asks three times, at 10 000 requests a second; then, in two
others, a hundred thousand processes are made that ask once each and end: 2000 a second, and as many
as can be made one after the other. The processes that the lines name are told apart by their number
and start time. Every run must add up.",
    columns: &["figure"],
    comparisons: &[],
    goals: &[
        at_most("resident memory after 1000000 requests", 24.0),
        at_most("lost: a million requests", 0.0),
        at_most("lost: three requests on each of ten thousand", 0.0),
        at_most("lost: a request of each of 100000 processes, a second 2000", 0.0),
        Goal {
            what: "processes told apart, of a hundred thousand",
            rows: "100000 processes, a second 2000: told apart",
            quantity: Quantity::Column("figure"),
            bound: Bound::AtLeast(100_000.0),
            miss: "",
        },
    ],
    remarks: "\
The ring, 4 MiB of it counted as resident by the kernel once it has been filled (it is mapped twice),
is in every figure. A process that is new is looked up in procfs, with its parents, before the next
record is taken: where more processes come a second than can be looked up, the ring fills, and what
is lost is counted.",
    measure: |environment| environment.measure(&["volume"]),
};

/// What a request costs the program, by how many come.
pub const GROWTH: Section = Section {
    name: "growth",
    title: "What a request costs the program, by how many come",
    method: "\
Processor time of all of the program's threads (`schedstat`) and their context switches, divided by
the requests; each one was reported. The program has a processor to itself.",
    columns: &["processor time a request", "wake-ups a request"],
    comparisons: &[],
    goals: &[],
    remarks: "\
Where records come within a millisecond of each other, the program naps for half a one before it
looks at the ring again: it is woken at most 2 000 times a second, and so is its thread that
writes.",
    measure: |environment| environment.measure(&["growth"]),
};

/// How long it takes until a request's line can be read.
pub const DELAY: Section = Section {
    name: "delay",
    title: "From a response's arrival to the written line",
    method: "\
From the time at which the eBPF programs saw the response, which the line itself states, to the time at
which a reader of the pipe had the line; so waking the program, its work, waking its thread that
writes, and waking the reader are in it. A sample is a run's median, or the line slower than 99 of
100 or 999 of 1000.",
    columns: &["median", "99th of 100", "999th of 1000"],
    comparisons: &[],
    goals: &[Goal {
        what: "response seen to line written, 99th of 100",
        rows: "",
        quantity: Quantity::Column("99th of 100"),
        bound: Bound::AtMost(5.0),
        miss: "",
    }],
    remarks: "",
    measure: |environment| environment.measure(&["delay"]),
};

/// How many instructions the engine takes for an exchange.
pub const ENGINE: Section = Section {
    name: "engine",
    title: "Instructions of the engine for an exchange",
    method: "\
From the eBPF programs' records to the JSON line, without kernel, procfs and output, under
`valgrind --tool=callgrind`: the difference of two runs, by exchange. `fresh` is an exchange of a
process and on a connection each, `kept` one on a connection that stays open. `cargo xtask lint`
holds both below the ceilings in `xtask/baselines/instructions.toml`.",
    columns: &["figure"],
    comparisons: &[],
    goals: &[],
    remarks: "\
What was changed, and what callgrind counted then, `fresh` and `kept`:

| | fresh | kept |
|---|--:|--:|
| d544af9, with redaction of every token header of a request | 172 717 | 187 859 |
| JSON's characters are judged many at a time, a name is compared only with names that can end so, times and addresses are written without the formatter, heads are cut by `memchr` | 96 414 | 117 480 |
| who it was is made once for a thread; what looks for a known secret once for a request, and not for texts shorter than it; a line is looked through once | 87 442 | 56 604 |
| secrets' names are grouped by their last letter, records' texts are cut by `memchr` | 84 703 | 55 440 |
| a silent connection keeps no empty node of a map (for memory) | 84 882 | 56 175 |
| an event says more (its caller, its host, the run, advice), arguments are read by their tools' own options, and known secrets are found in their encoded forms too | 191 917 | 149 975 |
| encoded forms are found without a buffer for each byte, and what needs no quotes by a table | 183 538 | 105 067 |

Before the last row, of `fresh` some 12 of a hundred were serde_json writing the line, 33 making the
part that says who it was (a half of that redaction), 15 the caller's name and number, 10 rebuilding
the connection; of `kept` 21, 11, none and 16. The rest is advice, diagnosis and the allocator, which
clears what it frees.",
    measure: |environment| {
        let counts = instructions::counts(environment.workspace, &environment.object)?;
        let row = |(case, count): (&str, u64)| Row {
            name: case.to_owned(),
            unit: "instructions".to_owned(),
            columns: [("figure".to_owned(), vec![count as f64])].into(),
        };
        Ok(environment.measured(own_place()?, counts.into_iter().map(row).collect()))
    },
};

/// What the program takes by being there.
pub const FOOTPRINT: Section = Section {
    name: "footprint",
    title: "Start, size, and what it takes when nothing happens",
    method: "\
Start to attached is the time from the program's start until its `start` event is read: from then
on everything is audited. Then, with nobody asking, ten seconds are looked at through procfs:
`schedstat` and the context switches of all threads.",
    columns: &["figure"],
    comparisons: &[],
    goals: &[
        at_most("start to attached", 100.0),
        at_most("processor time in ten idle seconds", 0.0),
        at_most("wake-ups in ten idle seconds", 0.0),
        at_most("resident memory when idle", 12.0),
        at_most("size of the program", 8.0),
    ],
    remarks: "",
    measure: |environment| environment.measure(&["footprint"]),
};

/// Bounds a row of a single column.
const fn at_most(what: &'static str, bound: f64) -> Goal {
    let quantity = Quantity::Column("figure");
    Goal { what, rows: what, quantity, bound: Bound::AtMost(bound), miss: "" }
}
