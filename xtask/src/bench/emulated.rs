//! Cost for other traffic, in a machine whose clock counts instructions.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::environment::BenchEnvironment;
use super::results::{Measured, Place};
use super::section::{Bound, Comparison, Goal, Quantity, Section};
use super::tools;
use crate::command;
use crate::vm::instruction_clock::{Contents, Kernel, Packed};

/// What the line with the samples begins with on the console.
pub const ROWS: &str = "ROWS ";
/// In MiB.
const MEMORY: &str = "1024";

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
        WITHOUT_BY_WITH,
        Comparison::Ratio("without", "empty"),
        Comparison::Difference("with", "empty"),
    ],
    goals: &[
        kept("a large transfer, throughput left", "iperf3", WITHOUT_BY_WITH, 0.99),
        kept(TINY, "UDP", EMPTY_BY_WITH, 0.99),
        kept(TINY, "TCP, a round trip", EMPTY_BY_WITH, 0.99),
        kept(TINY, "TCP, a connect", EMPTY_BY_WITH, 0.99),
        kept(TINY, "redis", EMPTY_BY_WITH, 0.99),
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

const WITHOUT_BY_WITH: Comparison = Comparison::Ratio("without", "with");
const EMPTY_BY_WITH: Comparison = Comparison::Ratio("empty", "with");
const TINY: &str = "tiny messages, throughput left beside empty programs at the same hooks";

const fn kept(what: &'static str, rows: &'static str, comparison: Comparison, bound: f64) -> Goal {
    Goal {
        what,
        rows,
        quantity: Quantity::Comparison(comparison),
        bound: Bound::AtLeast(bound),
        miss: "",
    }
}

fn measure(environment: &BenchEnvironment<'_>) -> Result<Measured> {
    tools::install(environment.workspace)?;
    let kernel = Kernel::find(environment.workspace)?;
    let mut packed = redis()?;
    packed.push(program("iperf3", "usr/bin/iperf3")?);
    let name = INSTRUCTIONS.name;
    let initramfs = pack(environment, &kernel, name, packed, &[])?;
    let rows = kernel.boot(&initramfs, MEMORY, &[name], ROWS)?;
    Ok(environment.measured(place(&kernel, MEMORY), serde_json::from_str(&rows)?))
}

/// Packs Redis.
pub fn redis() -> Result<Vec<Packed>> {
    // In Debian the server is another name of this program.
    let server = program("redis-check-rdb", "usr/bin/redis-server")?;
    Ok(vec![server, program("redis-benchmark", "usr/bin/redis-benchmark")?])
}

/// Packs a program of this machine.
pub fn program(name: &str, place: &'static str) -> Result<Packed> {
    let program = command::find(name).with_context(|| format!("there is no {name}"))?;
    Ok(Packed::Program(program, place))
}

/// Packs the program, its instrument and more.
pub fn pack(
    environment: &BenchEnvironment<'_>,
    kernel: &Kernel,
    name: &str,
    mut packed: Vec<Packed>,
    modules: &[&str],
) -> Result<PathBuf> {
    packed.push(Packed::Program(environment.program.clone(), "imds-audit"));
    kernel.pack(&Contents { name, init: &environment.instrument, packed: &packed, modules })
}

/// Describes the machine.
pub fn place(kernel: &Kernel, memory: &str) -> Place {
    Place {
        machine: format!("1 emulated processor (QEMU, TCG), {memory} MiB"),
        kernel: kernel.release.clone(),
        is_emulated: true,
    }
}
