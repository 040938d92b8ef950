//! The engine alone, from the eBPF programs' records to lines: no kernel, no procfs, no output. Its
//! instructions are counted: `cargo xtask test` bounds them.
//!
//! `imds-audit-engine CASE EXCHANGES` prints how many bytes of lines it made.

mod records;

use std::alloc::System;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use imds_audit::internal::{Auditor, Clock, Limits, Record, Timestamp, json};
use records::Connection;
use zeroizing_alloc::ZeroAlloc;

/// As in the program: clearing what is freed is a part of what the engine costs.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// How many connections are open at once where they are kept.
const KEPT: u64 = 16;

fn main() -> ExitCode {
    match run() {
        Ok(bytes) => {
            println!("{bytes}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [case, exchanges] = words.as_slice() else { bail!("wanted: CASE EXCHANGES") };
    let exchanges: u64 = exchanges.parse().context("a number of exchanges")?;
    let mut engine = Engine::new();
    match case.as_str() {
        "kept" => kept(&mut engine, exchanges)?,
        "fresh" => fresh(&mut engine, exchanges)?,
        other => bail!("no case {other}; there are kept and fresh"),
    }
    ensure!(engine.lines == exchanges, "{} lines of {exchanges} exchanges", engine.lines);
    Ok(engine.bytes)
}

/// Exchanges on connections that stay open, with and without a token in turn.
fn kept(engine: &mut Engine, exchanges: u64) -> Result<()> {
    let mut connections: Vec<_> = (1..=KEPT).map(Connection::new).collect();
    for connection in &connections {
        engine.take(|time, record| connection.connect(time, record))?;
    }
    let mut turn = 0;
    while turn < exchanges {
        for connection in connections.iter_mut().take((exchanges - turn) as usize) {
            let request = if turn % 2 == 0 { records::V1 } else { records::V2 };
            engine.take(|time, record| connection.request(request, time, record))?;
            engine.take(|time, record| connection.response(time, record))?;
            engine.take(|time, record| connection.acknowledgment(time, record))?;
            turn += 1;
        }
    }
    Ok(())
}

/// Exchanges of a process and on a connection each.
fn fresh(engine: &mut Engine, exchanges: u64) -> Result<()> {
    for number in 1..=exchanges {
        let mut connection = Connection::new(number);
        engine.take(|time, record| connection.connect(time, record))?;
        engine.take(|time, record| connection.request(records::V1, time, record))?;
        engine.take(|time, record| connection.response(time, record))?;
        engine.take(|time, record| connection.acknowledgment(time, record))?;
        engine.take(|time, record| connection.end(time, record))?;
    }
    Ok(())
}

/// The stations behind the eBPF programs, as the live audit wires them.
struct Engine {
    auditor: Auditor,
    time: u64,
    record: Vec<u8>,
    line: Vec<u8>,
    lines: u64,
    bytes: usize,
}

impl Engine {
    fn new() -> Self {
        // 2026-01-01, so that times have their usual length.
        let clock = Clock { offset: 1_767_225_600_000_000_000 };
        Self {
            auditor: Auditor::new(Limits::default(), clock),
            time: 1_000_000_000,
            record: Vec::new(),
            line: Vec::new(),
            lines: 0,
            bytes: 0,
        }
    }

    /// Has a record made, a little later than the one before, and takes it.
    fn take(&mut self, make: impl FnOnce(u64, &mut Vec<u8>)) -> Result<()> {
        self.time += 10_000;
        make(self.time, &mut self.record);
        let Self { auditor, line, lines, bytes: written, .. } = self;
        match Record::parse(&self.record)? {
            Record::Process { connection, ends, time, record, .. } => {
                let comm = record.snapshot().thread_comm;
                auditor.handle_snapshot(time, Arc::new(record.process()));
                auditor.handle_connect(connection, ends, time, record.task(), comm);
            }
            Record::Connect { .. } => anyhow::bail!("a record of a kind that was not made"),
            Record::Segment { segment, comm } => auditor.handle_segment(&segment, comm),
        }
        auditor.handle_timeout(Timestamp(self.time));
        while let Some(event) = auditor.poll_event() {
            line.clear();
            json::render(&event, line)?;
            *lines += 1;
            *written += line.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exchange_becomes_one_line() {
        for case in [kept, fresh] {
            let mut engine = Engine::new();
            case(&mut engine, 40).unwrap();
            assert_eq!(engine.lines, 40);
            let line = String::from_utf8(engine.line).unwrap();
            assert!(line.contains("\"outcome\":\"served\"") && line.contains("curl"), "{line}");
            assert!(!line.contains("AQAEAHQx0"), "{line}");
        }
    }
}
