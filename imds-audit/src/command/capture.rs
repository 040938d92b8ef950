//! `imds-audit capture`: a forensic record of packets, or a bundle of everything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::arguments::{SourceArgument, parse_duration, parse_endpoint, parse_label};
use super::check::Report;
use super::roots::RootArguments;
use super::{ExitStatus, print, run};
use crate::capture::{
    CaptureFiles, CaptureRecorder, CaptureTotals, FileLimits, SectionInfo, bundle,
};
use crate::event::{Body, Checkpoint, Event, HostIdentity, Origin, SourceKind, Time};
use crate::output::filter::EventFilter;
use crate::output::log_file::LogFile;
use crate::output::sink::{Format, Sink};
use crate::output::writer::Writer;
use crate::pipeline::endpoints::default_endpoints;
use crate::pipeline::host_network::host_netns;
use crate::pipeline::shutdown::Signals;
use crate::pipeline::{Session, hardening, origin};
use crate::process::Roots;
use crate::source::ebpf::loader::Options;
use crate::source::pcapng::note::SectionNote;
use crate::text::terminal;

/// What a section says of its packets, by their source.
const OF_EBPF: &str = "Packets rebuilt from what eBPF programs report of the requests to the EC2 \
     instance metadata service: numbers, flags, times and lengths are the originals'; TCP options, \
     windows and IP identifications are not.";
const OF_PACKETS: &str = "Packets that a packet socket saw of the requests to the EC2 instance \
     metadata service, without their link's header: IP and TCP headers are the originals', but for \
     checksums.";
/// What it says of all.
const OF_ALL: &str = "Secrets are overwritten in place, tokens by a keyed hash. Bytes of responses \
     behind their headers were never read: a packet's original length has them. The second line of \
     a comment is for `imds-audit replay`.";

/// The files of a bundle.
const EVENTS: &str = "events.jsonl";
const PACKETS: &str = "capture.pcapng";
const CHECK: &str = "check.json";
const HOST: &str = "host.json";

/// The options of `imds-audit capture`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 4 the host does not allow the audit.

Wireshark and tshark open the files; `imds-audit replay` makes events of them. Secrets and the bodies
of responses are in none of them.")]
pub(crate) struct CaptureArguments {
    /// Write the packets to FILE, which must not exist; with a limit below, to files with a time and
    /// a number in their names
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "bundle",
        conflicts_with = "bundle"
    )]
    pub output: Option<PathBuf>,

    /// Write packets, sealed events, what `check` says, versions and facts of the host into DIR, with
    /// a manifest of hashes
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,

    /// Begin a new file at this size, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_size: Option<u64>,

    /// Begin a new file at this age, such as 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_age: Option<Duration>,

    /// Keep this many files, and remove the oldest
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub files: Option<usize>,

    /// End after this time, such as 10m; without it at SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Put this label into every event of a bundle, such as case=4711; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,

    /// Capture this address and port instead of 169.254.169.254:80 and [fd00:ec2::254]:80; up to
    /// eight times
    #[arg(long = "endpoint", value_name = "ADDR:PORT", value_parser = parse_endpoint)]
    pub endpoints: Vec<SocketAddr>,

    /// Where the packets are seen
    #[arg(long, value_enum, default_value_t = SourceArgument::Auto)]
    pub source: SourceArgument,

    /// Where the host's file systems are
    #[command(flatten)]
    pub roots: RootArguments,
}

/// Captures until a signal comes or the time is over, and prints the summary.
///
/// # Errors
/// Returns an error if a file cannot be made, or the host does not allow the audit.
pub(super) async fn capture(arguments: &CaptureArguments) -> anyhow::Result<ExitStatus> {
    hardening::disable_core_dumps();
    hardening::limit_arenas();
    let signals = Signals::listen().context("cannot wait for signals")?;
    let roots = arguments.roots.roots();
    let labels: BTreeMap<_, _> = arguments.labels.iter().cloned().collect();
    let origin = origin::of_run(&roots, labels, SourceKind::Ebpf);
    let mut outputs = Vec::new();
    let path = match (&arguments.bundle, &arguments.output) {
        (Some(folder), _) => {
            prepare_bundle(folder, &roots, &origin)?;
            outputs.push(events(&folder.join(EVENTS))?);
            folder.join(PACKETS)
        }
        (None, Some(path)) => path.clone(),
        (None, None) => bail!("--output or --bundle is missing"),
    };
    let limits = FileLimits {
        max_size: arguments.max_size,
        max_age: arguments.max_age,
        files: arguments.files,
    };
    let failed = || format!("cannot make the capture {}", terminal::word(&path.to_string_lossy()));
    // Before anything is attached.
    CaptureFiles::check(&path, limits).with_context(failed)?;
    let options = Options { endpoints: endpoints(arguments), ..Options::default() };
    let stop = signals.until_end(arguments.duration, &[]);
    let choice = arguments.source.choice();
    let mut session = Session::start_from(choice, &options, &roots, origin.clone(), outputs)?;
    let info = section_info(session.source_kind(), &origin);
    let files = CaptureFiles::create(&path, limits, info).with_context(failed)?;
    let totals = Rc::new(RefCell::new(CaptureTotals::default()));
    let tap = CaptureRecorder::start(files, host_netns(&roots), Rc::clone(&totals));
    session.set_tap(Box::new(tap.context("cannot start the thread that writes")?));
    print(format_args!("imds-audit: capturing\n"));
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    let ended = session
        .run(stop, |event: &Event| {
            if let Body::Stop(stop) = &event.body {
                checkpoints.clone_from(&stop.checkpoints);
            }
        })
        .await?;
    run::print_result(&ended);
    let totals = totals.borrow().clone();
    tell_totals(&totals);
    if let Some(folder) = &arguments.bundle {
        bundle::write_manifest(folder, origin.run.clone(), checkpoints)
            .with_context(|| format!("cannot write the manifest of {}", folder.display()))?;
        let folder = terminal::word(&folder.to_string_lossy());
        print(format_args!("imds-audit: the bundle is complete: imds-audit verify {folder}\n"));
    }
    let is_whole = totals.lost == 0 && ended.unwritten == 0;
    Ok(if is_whole { ExitStatus::Done } else { ExitStatus::Failed })
}

fn endpoints(arguments: &CaptureArguments) -> Vec<SocketAddr> {
    if arguments.endpoints.is_empty() { default_endpoints() } else { arguments.endpoints.clone() }
}

fn section_info(source: SourceKind, origin: &Origin) -> SectionInfo {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let of_source = match source {
        SourceKind::Packet => OF_PACKETS,
        SourceKind::Ebpf | SourceKind::Capture => OF_EBPF,
    };
    let note = SectionNote {
        host: origin.host.clone(),
        run: origin.run.clone(),
        labels: origin.labels.clone(),
    };
    SectionInfo {
        system: format!("{} {}", text(uname.sysname()), text(uname.release())),
        application: format!("imds-audit {}", env!("CARGO_PKG_VERSION")),
        comment: note.comment(&format!("{of_source} {OF_ALL}")),
    }
}

/// Opens the sealed events of a bundle.
fn events(path: &Path) -> anyhow::Result<Sink> {
    let writer = Writer::new(LogFile::open(path)?).sealed();
    let sink = Sink::start(Format::Json, EventFilter::default(), writer);
    sink.context("cannot start the thread that writes")
}

/// Makes the folder, and writes what is known before the capture begins.
fn prepare_bundle(folder: &Path, roots: &Roots, origin: &Origin) -> anyhow::Result<()> {
    let failed = || format!("cannot make the bundle {}", terminal::word(&folder.to_string_lossy()));
    bundle::create_folder(folder).with_context(failed)?;
    let check =
        serde_json::to_vec_pretty(&Report::make(roots)).context("cannot render the check")?;
    bundle::write_file(folder, CHECK, &check).with_context(failed)?;
    let host = serde_json::to_vec_pretty(&HostFacts::read(roots, origin)).context("host facts")?;
    bundle::write_file(folder, HOST, &host).with_context(failed)
}

/// Facts of the host that a reader of a bundle needs.
#[derive(Debug, Serialize)]
struct HostFacts {
    host: Option<HostIdentity>,
    run: Option<String>,
    labels: BTreeMap<String, String>,
    version: &'static str,
    kernel: String,
    kernel_build: String,
    architecture: String,
    operating_system: Option<String>,
    time: Time,
    uptime_seconds: u64,
    host_netns: Option<u32>,
}

impl HostFacts {
    fn read(roots: &Roots, origin: &Origin) -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
        Self {
            host: origin.host.clone(),
            run: origin.run.clone(),
            labels: origin.labels.clone(),
            version: env!("CARGO_PKG_VERSION"),
            kernel: text(uname.release()),
            kernel_build: text(uname.version()),
            architecture: text(uname.machine()),
            operating_system: operating_system(roots),
            time: Time(jiff::Timestamp::now()),
            uptime_seconds: u64::try_from(uptime).unwrap_or(0),
            host_netns: host_netns(roots),
        }
    }
}

/// Returns the system's name (`PRETTY_NAME` in os-release(5)).
fn operating_system(roots: &Roots) -> Option<String> {
    use std::io::Read;
    const MOST: u64 = 16 << 10;
    let path = roots.procfs.join("1/root/etc/os-release");
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

fn tell_totals(totals: &CaptureTotals) {
    let CaptureTotals { packets, lost, unfinished, last_error, files } = totals;
    print(format_args!("imds-audit: {packets} packets in {} files:\n", files.len()));
    for path in files {
        print(format_args!("  {}\n", terminal::word(&path.to_string_lossy())));
    }
    if *unfinished > 0 {
        print(format_args!(
            "imds-audit: {unfinished} packets were written without bytes of header blocks whose end \
             did not come in time\n"
        ));
    }
    if *lost > 0 {
        let why = last_error.as_deref().unwrap_or("no reason is known");
        print(format_args!("imds-audit: {lost} packets could not be written: {why}\n"));
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "must be a number above 0".to_owned())
}

/// Reads a size such as `64MiB`.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "must be a size such as 64MiB".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("must be a size in B, KiB, MiB or GiB".to_owned()),
    };
    let size: u64 = number.parse().map_err(|_| wrong())?;
    size.checked_mul(1 << shift).filter(|size| *size > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_none() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "MiB", "0", "5MB", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
