//! `imds-audit run`: a live audit.

use std::{io, path::Path};

use anyhow::Context;

use super::{
    ExitStatus,
    arguments::{FormatArgument, RunArguments},
};
use crate::{
    event::{Event, SourceKind},
    output::{
        destination::Destination,
        filter::{ClassFilter, EventFilter},
        log_file::LogFile,
        sink::{Format, Sink},
        text::TextStyle,
        writer::Writer,
    },
    pipeline::{AuditResult, Session, hardening, origin, shutdown::Signals},
    source::ebpf::loader::Options,
};

/// Audits until a signal comes or the time is over, and tells the summary.
///
/// # Errors
/// Returns an error if the output cannot be opened, or the host does not allow the audit.
pub(super) async fn run(arguments: &RunArguments) -> anyhow::Result<ExitStatus> {
    hardening::disable_core_dumps();
    hardening::limit_arenas();
    // Before anything is attached, so that no signal ends the program without its summary.
    let signals = Signals::listen().context("cannot wait for signals")?;
    let form = LineForm {
        format: arguments.format,
        output: arguments.output.as_deref(),
        only: arguments.only.as_ref(),
        seal: arguments.seal,
    };
    let Some(sink) = open_sink(form)? else { return Ok(ExitStatus::Usage) };
    let files: Vec<_> = arguments.output.iter().map(|_| sink.queue().handle()).collect();
    let stop = signals.until_end(arguments.duration, &files);
    let options = Options {
        endpoints: arguments.endpoints(),
        ring_bytes: arguments.ring_size,
        log_level: if arguments.verbose >= 2 { KERNEL_LOG_LEVEL } else { 0 },
        ..Options::default()
    };
    let roots = arguments.roots.roots();
    let labels = arguments.labels.iter().cloned().collect();
    let origin = origin::of_run(&roots, labels, SourceKind::Ebpf);
    let mut session =
        Session::start_from(arguments.source.choice(), &options, &roots, origin, vec![sink])?;
    if let Some(interval) = arguments.tally {
        session.set_tally_interval(interval);
    }
    let mut is_met = false;
    let watch = |event: &Event| {
        is_met |= arguments.fail_on.as_ref().is_some_and(|condition| condition.is_met_by(event));
    };
    let ended = session.run(stop, watch).await?;
    print_result(&ended);
    Ok(match (ended.unwritten, is_met) {
        (1.., _) => ExitStatus::Failed,
        (0, true) => ExitStatus::Condition,
        (0, false) => ExitStatus::Done,
    })
}

/// Prints the summary on standard error.
pub(super) fn print_result(ended: &AuditResult) {
    crate::command::print(format_args!("{}", ended.summary.render(ended.observed)));
    if ended.unwritten > 0 {
        crate::command::print(format_args!(
            "{} events could not be written to the output: {}\n",
            ended.unwritten,
            ended.trouble.as_deref().unwrap_or("no reason is known")
        ));
    }
}

/// How much the eBPF programs log where it is asked to: `aya_log_common::Level::Debug`.
const KERNEL_LOG_LEVEL: u8 = 4;

/// Where the lines go, and in which form.
pub(super) struct LineForm<'a> {
    /// The form.
    pub(super) format: FormatArgument,
    /// The file; `None` for standard output.
    pub(super) output: Option<&'a Path>,
    /// The classes of requests.
    pub(super) only: Option<&'a ClassFilter>,
    /// Whether lines are sealed.
    pub(super) seal: bool,
}

/// Opens the output; `None` if the options contradict each other, which has been said.
///
/// # Errors
/// Returns an error if the output cannot be opened.
pub(super) fn open_sink(form: LineForm<'_>) -> anyhow::Result<Option<Sink>> {
    let LineForm { format, output, only, seal } = form;
    if seal && format != FormatArgument::Json {
        crate::command::print(format_args!("imds-audit: --seal needs --format json\n"));
        return Ok(None);
    }
    let format = match format {
        FormatArgument::Json => Format::Json,
        FormatArgument::Text if output.is_some() => Format::Text(TextStyle::default()),
        FormatArgument::Text => Format::Text(TextStyle::of(&io::stdout())),
    };
    let filter = EventFilter::from(only.cloned().unwrap_or_default());
    let sink = match output {
        Some(path) => Sink::start(format, filter, sealed(seal, Writer::new(LogFile::open(path)?))),
        None => Sink::start(format, filter, sealed(seal, Writer::stdout())),
    };
    sink.map(Some).context("cannot start the thread that writes")
}

fn sealed<D: Destination>(seal: bool, writer: Writer<D>) -> Writer<D> {
    if seal { writer.sealed() } else { writer }
}
