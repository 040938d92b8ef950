//! `imds-audit run`: a live audit.

use std::{io, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Exit,
    cli::{FormatArgument, RunArguments},
    memory,
    session::{Ended, Session},
};
use crate::{
    audit::event::{Body, Event, StopReason},
    output::{
        filter::Only,
        sink::{Format, Sink},
        text::Look,
        writer::Writer,
    },
    probe::loader::Options,
};

/// Audits until a signal comes or the time is over, and tells the summary.
///
/// # Errors
/// Where the output cannot be opened, or the host does not allow the audit.
pub async fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    memory::keep_to_itself();
    memory::stay_small();
    // Before anything is attached, so that no signal ends the program without its summary.
    let stop = stop(arguments.duration)?;
    let sink = open_sink(arguments)?;
    let options = Options {
        endpoints: arguments.endpoints(),
        ring_bytes: arguments.ring_size,
        log_level: if arguments.verbose >= 2 { KERNEL_LOG_LEVEL } else { 0 },
        ..Options::default()
    };
    let session = Session::start(&options, &arguments.roots(), sink)?;
    let mut is_met = false;
    let watch = |event: &Event| {
        is_met |= arguments.fail_on.as_ref().is_some_and(|classes| is_request_of(classes, event));
    };
    let ended = session.run(stop, watch).await?;
    tell(&ended);
    Ok(match (ended.unwritten, is_met) {
        (1.., _) => Exit::Failed,
        (0, true) => Exit::Condition,
        (0, false) => Exit::Done,
    })
}

/// Tells the summary on standard error.
pub fn tell(ended: &Ended) {
    crate::command::tell(format_args!("{}", ended.summary.render(ended.observed)));
    if ended.unwritten > 0 {
        crate::command::tell(format_args!(
            "{} events could not be written to the output: {}\n",
            ended.unwritten,
            ended.trouble.as_deref().unwrap_or("no reason is known")
        ));
    }
}

/// How much the kernel half logs where it is asked to: `aya_log_common::Level::Debug`.
const KERNEL_LOG_LEVEL: u8 = 4;

fn is_request_of(classes: &Only, event: &Event) -> bool {
    matches!(event.body, Body::Request(_)) && classes.admits(&event.body)
}

fn open_sink(arguments: &RunArguments) -> anyhow::Result<Sink> {
    let writer = match &arguments.output {
        Some(path) => Writer::open(path)?,
        None => Writer::stdout()?,
    };
    let format = match arguments.format {
        FormatArgument::Json => Format::Json,
        FormatArgument::Text if arguments.output.is_some() => Format::Text(Look::default()),
        FormatArgument::Text => Format::Text(Look::of(&io::stdout())),
    };
    let only = arguments.only.clone().unwrap_or_default();
    Sink::start(format, only, writer).context("cannot start the thread that writes")
}

/// Waits for SIGINT, SIGTERM or the end of the time.
pub(super) fn stop(duration: Option<Duration>) -> anyhow::Result<impl Future<Output = StopReason>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    Ok(async move {
        let over = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => StopReason::Signal,
            _ = terminate.recv() => StopReason::Signal,
            () = over => StopReason::Duration,
        }
    })
}
