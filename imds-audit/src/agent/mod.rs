//! The engine as a service: configuration, outputs, metrics, readiness, privileges.

pub(crate) mod config;
mod family;
mod http;
mod metrics;
mod outputs;
mod privileges;
mod process_metrics;
mod reload;
mod seccomp;
mod service;
mod textfile;

use std::sync::Arc;

use anyhow::Context;
use tokio::{net::TcpListener, sync::mpsc};

use self::{
    config::{Config, Loaded},
    metrics::{Exposition, Metrics},
    reload::{ConfigSource, Reloader},
};
pub(crate) use self::{privileges::kept, reload::ConfigSource as Source};
use crate::{
    event::{Origin, SourceKind, StopReason},
    output::{self, sink::Sink, syslog::SyslogAddress},
    pipeline::{
        AuditResult, Session, hardening, origin,
        shutdown::{SignalRequest, Signals},
    },
    source::ebpf::loader::Options,
};

/// The number of changes that wait for the audit.
const CHANGES: usize = 4;

/// Audits as a service, until a signal ends it.
///
/// # Errors
/// Returns an error if the metrics' address is taken, or the host does not allow the audit.
pub(crate) async fn run(source: ConfigSource, loaded: Loaded) -> anyhow::Result<AuditResult> {
    hardening::disable_core_dumps();
    hardening::limit_arenas();
    let signals = Signals::listen().context("cannot wait for signals")?;
    let config = loaded.config;
    if config.privileges.drop_capabilities {
        output::on_thread_start(privileges::drop_all_of_thread);
    }
    let metrics =
        Arc::new(Metrics::new(config.metrics.callers.then_some(config.metrics.max_callers)));
    let listener = listen(&config).await?;
    let origin = origin_of(&config);
    let host = host_name(&origin);
    let sinks = open_outputs(&config, &host);
    metrics.set_outputs(reload::handles(&sinks, &config.outputs));
    let mut session = start(&config, origin, sinks)?;
    session.set_tally_interval(config.tally_interval);
    let (changes, control) = mpsc::channel(CHANGES);
    session.set_control(control);
    let uses_udp = config
        .outputs
        .iter()
        .any(|output| matches!(&output.address, SyslogAddress::Udp(_)) && output.is_syslog());
    let remaining = privileges::reduce(config.privileges, uses_udp, || session.can_read_losses())?;
    log::info!("attached {remaining}");
    serve(&config, listener, &metrics);
    service::ready(&status(&config));
    let reloader = Reloader::new(source, config, host, changes, Arc::clone(&metrics));
    let stop = until_end(signals, reloader);
    session.run(stop, |event| metrics.observe(event)).await
}

async fn listen(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.metrics.listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).with_context(|| format!("cannot serve metrics at {address}"))
}

/// Opens the outputs. One that cannot be had does not keep the agent from its work: tallies and
/// metrics say what was seen.
fn open_outputs(config: &Config, host: &str) -> Vec<Sink> {
    let open = |output: &config::OutputConfig| {
        let sink = outputs::open(output, host);
        sink.inspect_err(|error| {
            log::error!("an output is left out output={} error={error}", output.label())
        })
        .ok()
    };
    config.outputs.iter().filter_map(open).collect()
}

/// Returns what every event of this run carries. The configuration's host name wins over the one that
/// was found.
fn origin_of(config: &Config) -> Origin {
    let mut origin = origin::of_run(&config.roots(), config.labels.clone(), SourceKind::Ebpf);
    if let (Some(host), Some(name)) = (&mut origin.host, &config.host_name) {
        host.name = Some(name.clone());
    }
    origin
}

/// Returns the audited host's name, empty if it has none.
fn host_name(origin: &Origin) -> Arc<str> {
    origin.host.as_ref().and_then(|host| host.name.as_deref()).unwrap_or_default().into()
}

fn start(config: &Config, origin: Origin, sinks: Vec<Sink>) -> anyhow::Result<Session> {
    let options = Options {
        endpoints: config.endpoints.clone(),
        ring_bytes: config.ring_size,
        ..Options::default()
    };
    Session::start_from(config.source, &options, &config.roots(), origin, sinks)
}

/// Starts what runs beside the audit, on its thread.
fn serve(config: &Config, listener: Option<TcpListener>, metrics: &Arc<Metrics>) {
    if let Some(listener) = listener {
        let exposition = Arc::new(Exposition::new(Arc::clone(metrics)));
        tokio::spawn(http::serve(listener, exposition));
    }
    if let Some(path) = config.metrics.textfile.clone() {
        let interval = config.metrics.textfile_interval;
        let exposition = Exposition::without_process(Arc::clone(metrics));
        tokio::spawn(textfile::write_at_intervals(path, interval, exposition));
    }
    tokio::spawn(service::feed_watchdog());
}

async fn until_end(mut signals: Signals, mut reloader: Reloader) -> StopReason {
    loop {
        match signals.next().await {
            SignalRequest::Reload => {
                service::reloading();
                let config = reloader.reload().await;
                service::ready(&status(config));
            }
            SignalRequest::End => {
                service::stopping();
                return StopReason::Signal;
            }
        }
    }
}

/// Returns the line that the service manager shows.
fn status(config: &Config) -> String {
    let endpoints: Vec<_> = config.endpoints.iter().map(ToString::to_string).collect();
    format!("auditing {}, {} outputs", endpoints.join(", "), config.outputs.len())
}
