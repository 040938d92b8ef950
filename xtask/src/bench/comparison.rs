//! Comparison with the tools that people would use instead.

use std::env;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::emulated::{ROWS, pack, place, program, redis};
use super::environment::{self, BenchEnvironment};
use super::results::{Measured, Row};
use super::section::{Bound, Comparison, Goal, Quantity, Section};
use super::tools;
use crate::command;
use crate::vm::instruction_clock::{Kernel, Packed};

/// In MiB: what is packed lies in memory.
const MEMORY: &str = "3072";

/// The variable that names the folder of the sources of aws/aws-imds-packet-analyzer; without it
/// that tool is not measured.
const ANALYZER_VARIABLE: &str = "IMDS_PACKET_ANALYZER";
const ANALYZER: &str = "imds-packet-analyzer";

/// What people would use instead, beside the program.
pub const RIVALS: Section = Section {
    name: "rivals",
    title: "Beside others",
    method: "\
Each tool watches the same callers in an emulated machine of its own, as that of the section above;
the truth is the log of the simulated service that they ask, at 169.254.169.254, port 80. The
callers are ten processes for each kind of request, one after the other, but for fifty requests on
one connection and for two hundred processes, eight at a time. What stands in the row's name is how
many requests there were.

- `tcpdump -i any -n -A -l 'host 169.254.169.254 and tcp dst port 80'`, in the callers' network
  namespace: it sees no other.
- `strace -f -s 4096 -e trace=network,write,writev,sendfile,splice -p PID`, on the process that
  starts all callers, and that makes both ends of the other traffic but redis-server.
- `bpftrace`, with a script of twenty lines on `kprobe:tcp_sendmsg` that prints the first 200 bytes
  of the first buffer, the most that it can.
- `tcpconnect-bpfcc -P 80`, of BCC's tools.
- [imds-packet-analyzer](https://github.com/aws/aws-imds-packet-analyzer) at 18f15c9, unmodified. It
  is in no package and not in this tree: `IMDS_PACKET_ANALYZER` names its folder, and without it its
  column is empty.

Counted is in the tools' favour. imds-audit and imds-packet-analyzer tell the version themselves. Of
tcpdump, strace and bpftrace each record (a packet, a system call, an event) is read by itself: a
request is a line that ends with `HTTP/1.1` behind a method and a target, and is IMDSv2 if it is a PUT
or if a later line of the record begins with the name of the token's header. A connection that
tcpconnect tells is a request found. A request reported twice counts once. A token request is IMDSv2. What
imds-audit reports and what it counts as lost must add up to what was sent, or there is no table.

Other traffic is as above, with three samples; `throughput left` is of that without any tool.",
    columns: &COLUMNS,
    comparisons: &[],
    goals: &[
        half_of_the_analyzer(
            "UDP round trips: instructions more, of imds-packet-analyzer's",
            "UDP round trips, instructions more",
        ),
        half_of_the_analyzer(
            "TCP round trips: instructions more, of imds-packet-analyzer's",
            "TCP round trips, instructions more",
        ),
        half_of_the_analyzer(
            "redis GET: instructions more, of imds-packet-analyzer's",
            "redis GET, instructions more",
        ),
    ],
    remarks: "\
A token's header in a second write is in a second record: whoever reads by record takes the request
for IMDSv1. What goes by sendfile is in no buffer that a probe of `tcp_sendmsg` sees; strace shows it
because the caller wrote its file in the same process. bpftrace shows one buffer, the first of a
writev. tcpdump keeps every byte and names no process, strace costs whoever is traced nine tenths of
its round trips, and tcpconnect sees no request at all.
imds-packet-analyzer gives one verdict a write: two for a request in two writes, and the right one
is counted, and one for two requests in one write; it calls IMDSv2 what only names the header, and
IMDSv1 what writev cuts.
TCP connects vary by a hundredth from machine to machine.",
    measure,
};

/// As [`RIVALS`], on the machine itself.
pub const RIVALS_HERE: Section = Section {
    name: "rivals-here",
    title: "Beside others, on the machine itself",
    method: "\
The same callers and the same counting, with those tools that need no kernel probes, on this
machine's own kernel and processors; the service has a port of its own. Five starts each.",
    columns: &["imds-audit", "tcpdump", "strace"],
    comparisons: &[],
    goals: &[],
    remarks: "",
    measure: |environment| {
        tools::install_rivals(environment.workspace)?;
        environment.measure(&[
            "rivals",
            "--client",
            &environment::client(environment)?.to_string_lossy(),
        ])
    },
};

const COLUMNS: [&str; 6] = ["imds-audit", "tcpdump", "strace", "bpftrace", "tcpconnect", ANALYZER];

/// Says that a row is at most half of what it is for the analyzer.
const fn half_of_the_analyzer(what: &'static str, rows: &'static str) -> Goal {
    Goal {
        what,
        rows,
        quantity: Quantity::Comparison(Comparison::Ratio("imds-audit", ANALYZER)),
        bound: Bound::AtMost(0.5),
        miss: "",
    }
}

/// Debian's Python: another one may be there too, and does not have Debian's modules.
const PYTHON: &str = "/usr/bin/python3";
/// Python's library, without what is for others, and without what was compiled: it is known by its
/// source's time, which the other machine does not keep.
const NOT_OF_PYTHON: &[&str] = &[
    "__pycache__",
    "config-3.11-x86_64-linux-gnu",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tkinter",
    "turtledemo",
];
const COMPILED: &[&str] = &["__pycache__"];
/// The libraries that Python's module for BCC opens by their names, and their places.
const OPENED: [(&str, &str); 2] = [
    ("libbcc.so.0", "lib/x86_64-linux-gnu/libbcc.so.0"),
    ("librt.so.1", "lib/x86_64-linux-gnu/librt.so.1"),
];
/// tcpdump asks who root is.
const USERS: &str = "root:x:0:0:root:/:/bin/sh\n";

fn measure(environment: &BenchEnvironment<'_>) -> Result<Measured> {
    tools::install_rivals(environment.workspace)?;
    let kernel = Kernel::find(environment.workspace)?;
    let mut packed = redis()?;
    packed.extend([
        Packed::Program(environment::client(environment)?, "client"),
        Packed::Text("etc/passwd", USERS),
        // bpftrace asks it to run something, and does not live without an answer.
        program("dash", "bin/sh")?,
        program("tcpdump", "usr/bin/tcpdump")?,
        program("strace", "usr/bin/strace")?,
        program("bpftrace", "usr/bin/bpftrace")?,
        Packed::Program(PYTHON.into(), "usr/bin/python3"),
        program("tcpconnect-bpfcc", "usr/sbin/tcpconnect-bpfcc")?,
    ]);
    packed.extend(bcc()?);
    packed.extend(headers(&kernel)?);
    let mut tools = COLUMNS.to_vec();
    if let Some(folder) = env::var_os(ANALYZER_VARIABLE) {
        let sources = Path::new(&folder).join("src");
        ensure!(sources.is_dir(), "{ANALYZER_VARIABLE}: there is no {}", sources.display());
        packed.push(Packed::Tree(sources, "analyzer".to_owned(), COMPILED));
    } else {
        tools.retain(|&tool| tool != ANALYZER);
    }
    let initramfs = pack(environment, &kernel, RIVALS.name, packed, &["veth"])?;
    // A machine for each tool: what one leaves behind is not there for the next.
    let boot = |tool: &str| kernel.boot(&initramfs, MEMORY, &[RIVALS.name, tool], ROWS);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut shown = Vec::new();
        while let Some(tool) = tools.get(next.fetch_add(1, Ordering::Relaxed)) {
            let rows = boot(tool).with_context(|| (*tool).to_owned());
            println!("{tool}: {}", if rows.is_ok() { "measured" } else { "failed" });
            shown.push(rows);
        }
        shown
    };
    let shown: Vec<_> = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    let mut rows = Vec::new();
    for shown in shown {
        merge(&mut rows, serde_json::from_str(&shown?)?);
    }
    Ok(environment.measured(place(&kernel, MEMORY), rows))
}

/// Puts the columns of rows of the same name together.
fn merge(rows: &mut Vec<Row>, more: Vec<Row>) {
    for row in more {
        match rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => known.columns.extend(row.columns),
            None => rows.push(row),
        }
    }
}

/// Packs Python and its module for BCC.
fn bcc() -> Result<Vec<Packed>> {
    let ask = |what: &str| {
        let mut python = std::process::Command::new(PYTHON);
        command::output(python.args(["-c", what])).map(|path| path.trim().to_owned())
    };
    let library = ask("import os; print(os.path.dirname(os.__file__))")?;
    let module = ask("import bcc, os; print(os.path.dirname(bcc.__file__))")?;
    let mut packed = vec![
        Packed::Tree(library.clone().into(), library, NOT_OF_PYTHON),
        Packed::Tree(module.clone().into(), module, COMPILED),
    ];
    let cache = command::output(std::process::Command::new("/sbin/ldconfig").arg("-p"))?;
    for (name, place) in OPENED {
        // \tlibbcc.so.0 (libc6,x86-64) => /lib/x86_64-linux-gnu/libbcc.so.0
        let line = cache
            .lines()
            .find(|line| line.trim_start().starts_with(name) && line.contains("x86-64"));
        let path = line.and_then(|line| line.split_once("=> ")).context(name)?.1;
        packed.push(Packed::Program(path.into(), place));
    }
    Ok(packed)
}

/// Packs the kernel's headers, which BCC compiles against.
fn headers(kernel: &Kernel) -> Result<Vec<Packed>> {
    let unpacked = kernel.headers()?;
    let (release, common) = (&kernel.release, kernel.common());
    let mut packed = Vec::new();
    for name in [release, &common] {
        for part in ["include", "arch/x86/include"] {
            let place = format!("usr/src/linux-headers-{name}/{part}");
            let folder: PathBuf = unpacked.join(&place);
            if folder.is_dir() {
                packed.push(Packed::Tree(folder, place, &[]));
            }
        }
    }
    for (name, package) in [("build", release), ("source", &common)] {
        let target = format!("/usr/src/linux-headers-{package}");
        packed.push(Packed::Link(format!("lib/modules/{release}/{name}"), target));
    }
    Ok(packed)
}
