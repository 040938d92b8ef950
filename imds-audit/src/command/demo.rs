//! `demo`: a simulated service in a private network, with IMDSv1 and IMDSv2 callers, audited
//! live.

mod caller;
mod callers;
mod networks;
mod run_callers;
mod scripts;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::oneshot;

pub(super) use caller::{CallerArguments, call};

use super::arguments::FormatArgument;
use super::{ExitStatus, program_name, run};
use crate::event::{Body, Event, SourceKind, StopReason};
use crate::flow::Limits;
use crate::output::filter::EventFilter;
use crate::output::sink::{Format, Sink};
use crate::output::text::TextStyle;
use crate::output::writer::Writer;
use crate::pipeline::endpoints::default_endpoints;
use crate::pipeline::{Session, is_of, origin, shutdown::Signals};
use crate::process::Roots;
use crate::source::ebpf::host::{Rights, SYS_ADMIN};
use crate::source::ebpf::is_built;
use crate::source::ebpf::loader::{EbpfError, Options};
use networks::DemoNetworks;

/// How long a request waits for a response, in place of half a minute: nobody waits that long to
/// be shown that none comes. A little less than the last caller's patience.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(900);

/// The options of `demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Nothing on the host is changed or contacted: the service and its callers live in network
namespaces of their own, which are gone with the program. Ends with 1 if the audit reported
another number of requests than the service saw. Needs root.")]
pub(crate) struct DemoArguments {
    /// The form of the lines
    #[arg(long, value_enum, default_value_t = FormatArgument::Text)]
    pub format: FormatArgument,
}

/// Plays the demonstration: events on standard output; what is played, the summary and the
/// comparison with what the service saw on standard error.
///
/// # Errors
/// Returns an error if the host does not allow the audit or private networks.
pub(super) async fn run(arguments: &DemoArguments) -> Result<ExitStatus> {
    if !is_built() {
        return Err(EbpfError::NotBuilt.into());
    }
    if let Some(why) = missing_rights(Rights::read()) {
        crate::command::print(format_args!("imds-audit: {why}\n"));
        return Ok(ExitStatus::NotAllowed);
    }
    let signals = Signals::listen().context("cannot wait for signals")?;
    let interrupted = signals.until_end(None, &[]);
    let stage = DemoNetworks::build()?;
    let networks = stage.namespaces();
    let instance = stage.instance();
    let options = Options { endpoints: default_endpoints(), ..Options::default() };
    let limits = Limits { response_timeout: RESPONSE_TIMEOUT, ..Limits::default() };
    let sink = sink(arguments.format)?;
    let roots = Roots::default();
    let origin = origin::of_run(&roots, BTreeMap::new(), SourceKind::Ebpf);
    let mut session = Session::start_with(&options, &roots, limits, origin, vec![sink])?;
    session.restrict(networks.clone());
    if let Some(instance) = instance {
        session.set_host_netns(instance);
    }

    let cancelled = Arc::new(AtomicBool::new(false));
    let (done, finished) = oneshot::channel();
    let players = thread::Builder::new().name("players".to_owned()).spawn({
        let cancelled = Arc::clone(&cancelled);
        move || {
            let played = run_callers::all(&stage, &cancelled);
            // Nobody listens any more where the audit has ended before.
            done.send(()).ok();
            played.map(|()| stage.requests())
        }
    });
    let players = players.context("cannot start the callers")?;
    let stop = async {
        tokio::select! {
            reason = interrupted => reason,
            _ = finished => StopReason::EndOfInput,
        }
    };
    let mut reported = 0u64;
    let watch = |event: &Event| {
        let is_ours = matches!(event.body, Body::Request(_)) && is_of(&networks, event);
        reported += u64::from(is_ours);
    };
    let ended = session.run(stop, watch).await;
    cancelled.store(true, Ordering::Relaxed);
    let seen = players.join().map_err(|_| anyhow!("the callers' thread panicked"))?;
    let (ended, seen) = (ended?, seen?);
    run::print_result(&ended);
    Ok(match ended.reason {
        StopReason::EndOfInput => compare(seen, reported),
        _ => ExitStatus::Done,
    })
}

/// Says whether the audit reported what the service saw.
fn compare(seen: u64, reported: u64) -> ExitStatus {
    crate::command::print(format_args!(
        "\nservice saw {seen} requests, audit reported {reported}\n"
    ));
    if seen == reported { ExitStatus::Done } else { ExitStatus::Failed }
}

/// Says which rights are missing, and the command that has them.
fn missing_rights(rights: Rights) -> Option<String> {
    let mut missing = rights.missing();
    if !rights.has(SYS_ADMIN) {
        missing.push(SYS_ADMIN.name);
    }
    if missing.is_empty() {
        return None;
    }
    let command = if rustix::process::geteuid().is_root() {
        format!("`{} check` says what to do", program_name())
    } else {
        format!("run: sudo {} demo", program_name())
    };
    Some(format!(
        "the demonstration makes private networks and loads BPF programs, which needs root \
         ({} missing); {command}",
        missing.join(", ")
    ))
}

fn sink(format: FormatArgument) -> Result<Sink> {
    let format = match format {
        FormatArgument::Json => Format::Json,
        FormatArgument::Text => Format::Text(TextStyle::of(&io::stdout())),
    };
    Sink::start(format, EventFilter::default(), Writer::stdout())
        .context("cannot start the thread that writes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_too_few_or_too_many_fails() {
        assert_eq!(compare(3, 3), ExitStatus::Done);
        assert_eq!(compare(3, 2), ExitStatus::Failed);
        assert_eq!(compare(3, 4), ExitStatus::Failed);
    }

    #[test]
    fn missing_rights_are_named() {
        let why = missing_rights(Rights::NONE).unwrap();
        for name in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "root"] {
            assert!(why.contains(name), "{why}");
        }
        assert_eq!(why.lines().count(), 1);
    }
}
