//! `imds-audit replay`: anyone's capture through the same engine.

use std::io::{self, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use flate2::read::MultiGzDecoder;

use super::arguments::{FormatArgument, parse_endpoint, parse_label};
use super::condition::Condition;
use super::{ExitStatus, run};
use crate::event::{Event, HostIdentity, SourceKind, StopReason};
use crate::output::filter::ClassFilter;
use crate::pipeline::endpoints::default_endpoints;
use crate::pipeline::interrupt::{Interrupt, InterruptibleFile};
use crate::pipeline::replay::{FileEnd, PacketCounts, Replay};
use crate::pipeline::shutdown::Signals;
use crate::pipeline::{hardening, origin};
use crate::source::pcapng::{CaptureError, CaptureReader, ReadAhead};
use crate::text::terminal;

/// The file that stands for standard input.
const STDIN: &str = "-";
/// The first bytes of gzip (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The options of `imds-audit replay`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 done, 1 a file cannot be read to its end, 2 wrong usage, 3 a --fail-on condition was met.

The files are one run, host by host and in the order of their first packets. Processes and hosts are
named where a capture of `imds-audit capture` is replayed: no other capture has them. SIGINT and
SIGTERM end it with a complete record of what was read.")]
pub(crate) struct ReplayArguments {
    /// pcap or pcapng, also compressed with gzip; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The form of the lines
    #[arg(long, value_enum, default_value_t = FormatArgument::Text)]
    pub format: FormatArgument,

    /// Append the events to FILE and keep standard output empty
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Seal every line for `imds-audit verify`; needs --format json
    #[arg(long)]
    pub seal: bool,

    /// Put this label into every event, such as cluster=etl; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,

    /// Write only requests of these classes, with commas; the summary counts all
    #[arg(long, value_name = "CLASSES")]
    pub only: Option<ClassFilter>,

    /// End with exit code 3 if a request of one of these classes was seen or, with `loss`, if
    /// anything was not seen
    #[arg(long, value_name = "CONDITIONS")]
    pub fail_on: Option<Condition>,

    /// Look for this address and port instead of 169.254.169.254:80 and [fd00:ec2::254]:80; up to
    /// eight times
    #[arg(long = "endpoint", value_name = "ADDR:PORT", value_parser = parse_endpoint)]
    pub endpoints: Vec<SocketAddr>,
}

/// Replays the files until their end or a signal, and prints the summary.
///
/// # Errors
/// Returns an error if a file cannot be opened or the output cannot be written to.
pub(super) async fn run(arguments: &ReplayArguments) -> anyhow::Result<ExitStatus> {
    hardening::disable_core_dumps();
    let signals = Signals::listen().context("cannot wait for signals")?;
    let interrupt = Interrupt::new().context("cannot wait for signals")?;
    // Files are read without a look at anything else.
    let mut replaying = tokio::task::spawn_blocking({
        let (arguments, interrupt) = (arguments.clone(), interrupt.clone());
        move || replay(&arguments, &interrupt)
    });
    tokio::select! {
        ended = &mut replaying => return ended.context("the replay failed")?,
        _ = signals.until_end(None, &[]) => interrupt.set(),
    }
    replaying.await.context("the replay failed")?
}

fn replay(arguments: &ReplayArguments, interrupt: &Interrupt) -> anyhow::Result<ExitStatus> {
    let form = run::LineForm {
        format: arguments.format,
        output: arguments.output.as_deref(),
        only: arguments.only.as_ref(),
        seal: arguments.seal,
    };
    let Some(sink) = run::open_sink(form)? else { return Ok(ExitStatus::Usage) };
    let endpoints = if arguments.endpoints.is_empty() {
        default_endpoints()
    } else {
        arguments.endpoints.clone()
    };
    let files = in_order(&arguments.files, interrupt)?;
    let origin =
        origin::of_capture(arguments.labels.iter().cloned().collect(), SourceKind::Capture);
    let mut replay = Replay::new(endpoints, origin, vec![sink], interrupt.clone());
    let mut is_met = false;
    let mut observer = |event: &Event| {
        is_met |= arguments.fail_on.as_ref().is_some_and(|condition| condition.is_met_by(event));
    };
    let mut failed = false;
    let mut reason = StopReason::EndOfInput;
    for path in files {
        match replay.file(open(&path, interrupt)?, &mut observer) {
            Ok(FileEnd::Whole) => continue,
            Ok(FileEnd::OutputClosed) => reason = StopReason::OutputClosed,
            Ok(FileEnd::Interrupted) => reason = StopReason::Signal,
            // Nothing of it was read.
            Err(_) if interrupt.is_set() => reason = StopReason::Signal,
            Err(error) => {
                failed = true;
                print_error(&path, &error);
                continue;
            }
        }
        break;
    }
    tell_counts(replay.counts());
    let ended = replay.finish(reason, &mut observer);
    run::print_result(&ended);
    Ok(match (failed || ended.unwritten > 0, is_met) {
        (true, _) => ExitStatus::Failed,
        (false, true) => ExitStatus::Condition,
        (false, false) => ExitStatus::Done,
    })
}

fn print_error(path: &Path, error: &CaptureError) {
    let path = terminal::word(&path.to_string_lossy());
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    super::print(format_args!("imds-audit: {path}: {error}{}\n", cause.unwrap_or_default()));
}

fn tell_counts(counts: PacketCounts) {
    let PacketCounts { packets, segments, unknown_links, last_link, .. } = counts;
    super::print(format_args!(
        "imds-audit: {packets} packets read, {segments} of them to or from the metadata service\n"
    ));
    if unknown_links > 0 {
        super::print(format_args!(
            "imds-audit: {unknown_links} packets are of a kind of link that is not known (number \
             {last_link}), and were not looked at\n"
        ));
    }
}

/// Returns the files host by host, each host's in the order of their first packets: `capture9` comes
/// before `capture10`, whatever the shell made of it. A file without a packet keeps its place.
fn in_order(files: &[PathBuf], interrupt: &Interrupt) -> anyhow::Result<Vec<PathBuf>> {
    // What a pipe has can be read only once.
    if files.len() < 2 || files.iter().any(|path| !path.is_file()) {
        return Ok(files.to_vec());
    }
    let mut last = 0;
    let mut hosts: Vec<Option<HostIdentity>> = Vec::new();
    let mut dated = Vec::new();
    for path in files {
        let (mut time, mut host) = (last, None);
        if let Ok(mut reader) = CaptureReader::open(open(path, interrupt)?)
            && let Ok(Some((packet, section))) = reader.next_packet()
        {
            time = packet.time;
            host = section.and_then(|section| section.host.clone());
        }
        last = time;
        let place = hosts.iter().position(|known| *known == host).unwrap_or_else(|| {
            hosts.push(host);
            hosts.len() - 1
        });
        dated.push((place, time, path.clone()));
    }
    dated.sort_by_key(|(host, time, _)| (*host, *time));
    Ok(dated.into_iter().map(|(.., path)| path).collect())
}

/// Opens a file, and unpacks it if it is compressed.
fn open(path: &Path, interrupt: &Interrupt) -> anyhow::Result<ReadAhead> {
    let name = || format!("cannot open {}", terminal::word(&path.to_string_lossy()));
    let file = if path.as_os_str() == STDIN {
        InterruptibleFile::stdin(interrupt)
    } else {
        InterruptibleFile::open(path, interrupt)
    };
    let mut file = file.with_context(name)?;
    let mut start = [0; GZIP.len()];
    let mut length = 0;
    while let Some(room) = start.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => length += read,
            // The reader meets it again.
            Err(_) if interrupt.is_set() => break,
            Err(error) => return Err(error).with_context(name),
        }
    }
    let whole = io::Cursor::new(start.get(..length).unwrap_or_default().to_vec()).chain(file);
    if start == GZIP {
        ReadAhead::start(MultiGzDecoder::new(BufReader::with_capacity(256 << 10, whole)))
    } else {
        ReadAhead::start(whole)
    }
    .with_context(name)
}
