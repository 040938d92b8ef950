//! What other traffic pays, in a machine whose clock counts instructions.

use anyhow::{Context, Result};

use super::bed::Bed;
use super::results::{Measured, Place};
use super::section::{Bound, Comparison, Goal, Quantity, Section};
use super::tools;
use crate::command;
use crate::vm::clock::{self, Packed};

/// What a unit of other traffic takes, in instructions.
pub const INSTRUCTIONS: Section = Section {
    name: "instructions",
    title: "Other traffic, in instructions",
    method: "\
An emulated machine with one processor, whose clock is the number of its instructions
(`qemu-system-x86_64 -accel tcg,thread=single -icount shift=0,sleep=off -smp 1`): what is measured
does not depend on what else the host does, and counts no caches and no waiting. Everything is in
it, both ends of the connection and the kernel between them, so `without ÷ with` is the throughput
that is left. The hooks cost what `empty` costs; `with − empty` is this program's own.
redis-benchmark tells its rate in steps of a hundredth.",
    columns: &["without", "empty", "with"],
    comparisons: &[
        Comparison::Ratio("without", "with"),
        Comparison::Ratio("without", "empty"),
        Comparison::Difference("with", "empty"),
    ],
    goals: &[
        kept("iperf3", Comparison::Ratio("without", "with"), 0.99),
        kept("UDP", Comparison::Ratio("empty", "with"), 0.99),
        kept("TCP, a round trip", Comparison::Ratio("empty", "with"), 0.99),
        kept("redis", Comparison::Ratio("empty", "with"), 0.98),
    ],
    remarks: "\
The hook is the cost. Looked into, and not done, because each would miss something: hooks on packets
only once a caller has connected (its first request would have left by then, and connections that
were open before would never be seen); a socket map at connect (it takes the place of the socket's
own way to send, so this program would no longer only look); `sock_ops` (it shows no payload);
packets of one direction only (without responses there is no outcome). Trampolines on `tcp_sendmsg`
leave UDP alone, but not every supported kernel has them, and their arguments are no stable
interface. Done: the comparison itself, from 28 instructions of the hook's program for an IPv4
packet to 16.",
    measure,
};

const fn kept(rows: &'static str, comparison: Comparison, bound: f64) -> Goal {
    Goal {
        what: "throughput that is left",
        rows,
        quantity: Quantity::Comparison(comparison),
        bound: Bound::AtLeast(bound),
        miss: "",
    }
}

fn measure(bed: &Bed<'_>) -> Result<Measured> {
    tools::install(bed.workspace)?;
    let packed = [
        pack("iperf3", "usr/bin/iperf3")?,
        pack("redis-benchmark", "usr/bin/redis-benchmark")?,
        // In Debian the server is another name of this program.
        pack("redis-check-rdb", "usr/bin/redis-server")?,
    ];
    boot(bed, packed.into())
}

fn pack(name: &str, place: &'static str) -> Result<Packed> {
    let program = command::find(name).with_context(|| format!("there is no {name}"))?;
    Ok(Packed { program, place })
}

/// Boots the machine with the program and more, and has it measure.
fn boot(bed: &Bed<'_>, mut packed: Vec<Packed>) -> Result<Measured> {
    packed.push(Packed { program: bed.program.clone(), place: "imds-audit" });
    let (rows, kernel) = clock::run(bed.workspace, &bed.instrument, &packed, "ROWS ")?;
    let machine = format!("1 emulated processor (QEMU, TCG), {} MiB", clock::MEMORY);
    let place = Place { machine, kernel, is_emulated: true };
    Ok(bed.measured(place, serde_json::from_str(&rows)?))
}
