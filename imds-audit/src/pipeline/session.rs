//! A live audit: records in, events out.

mod start;
mod turn;

use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};

use anyhow::Context;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    audit_result::AuditResult,
    clock::{now, read_clock, until},
    control::{Control, next_control},
    event_sink::{EventSink, View},
    heap_trim::{self, HeapTrim},
    host_network::host_netns,
    input::{Input, SourceChoice},
    losses::LossDeltas,
    record_tap::RecordTap,
    startup_code,
    wakeup_throttle::WakeupThrottle,
};
use crate::{
    audit::auditor::Auditor,
    event::{Event, Origin, SourceKind, StopReason},
    flow::Limits,
    output::sink::Sink,
    process::{Processes, RecordPids, Roots},
    redact,
    segment::Timestamp,
    source::ebpf::loader::Options,
};

/// A live audit.
pub struct Session {
    source: Input,
    processes: Processes,
    auditor: Auditor,
    events: EventSink,
    /// Endpoints whose time to live says nothing.
    without_ttl: Vec<SocketAddr>,
    /// The `start` event, which the observer has not seen.
    start: Option<Event>,
    /// The length of a `tally` event's window.
    tally_interval: Option<Duration>,
    control: Option<mpsc::Receiver<Control>>,
    /// What sees every record too.
    tap: Option<Box<dyn RecordTap>>,
    /// The losses that were reported.
    losses: LossDeltas,
    malformed: u64,
    heap: HeapTrim,
    throttle: WakeupThrottle,
    started: Timestamp,
}

impl Session {
    /// Attaches everything, and writes the `start` event: whatever happens after it is audited.
    ///
    /// # Errors
    /// Returns an error if the host does not allow the audit
    /// ([`crate::source::ebpf::loader::EbpfError`]) or procfs cannot be read.
    pub fn start(
        options: &Options,
        roots: &Roots,
        origin: Origin,
        outputs: Vec<Sink>,
    ) -> anyhow::Result<Self> {
        Self::start_with(options, roots, Limits::default(), origin, outputs)
    }

    /// As [`Session::start`], from the source that is wanted.
    ///
    /// # Errors
    /// Returns an error as [`Session::start`] does.
    pub(crate) fn start_from(
        choice: SourceChoice,
        options: &Options,
        roots: &Roots,
        origin: Origin,
        outputs: Vec<Sink>,
    ) -> anyhow::Result<Self> {
        Self::open(choice, options, roots, Limits::default(), origin, outputs)
    }

    /// As [`Session::start`], with limits of the caller's.
    ///
    /// # Errors
    /// Returns an error as [`Session::start`] does.
    pub fn start_with(
        options: &Options,
        roots: &Roots,
        limits: Limits,
        origin: Origin,
        outputs: Vec<Sink>,
    ) -> anyhow::Result<Self> {
        Self::open(SourceChoice::Ebpf, options, roots, limits, origin, outputs)
    }

    fn open(
        choice: SourceChoice,
        options: &Options,
        roots: &Roots,
        limits: Limits,
        origin: Origin,
        outputs: Vec<Sink>,
    ) -> anyhow::Result<Self> {
        let (source, fallbacks) = Input::open(choice, options, roots)?;
        let pids = match source {
            Input::Ebpf(_) => RecordPids::Kernel,
            Input::Packet(_) => RecordPids::Procfs,
        };
        let processes = Processes::open(roots, pids, source.begun_programs())
            .context("cannot read the host's processes")?;
        // Events are cleaned once more: there a request's own token is known too.
        let processes = processes.with_argument_filter(|arguments| {
            arguments.with_words(&redact::arguments(arguments.iter()))
        });
        let mut auditor = Auditor::new(limits, read_clock().clock());
        auditor.set_host_netns(host_netns(roots));
        let origin = Origin { source: Some(source.kind()), ..origin };
        // A packet socket has little room beyond its bytes, and owners are looked for at once.
        let delayed = matches!(source, Input::Ebpf(_));
        // Loading took memory: the kernel's BTF, if it is read and not mapped, and the object.
        heap_trim::trim();
        let mut session = Self {
            source,
            processes,
            auditor,
            events: EventSink::new(origin, outputs),
            without_ttl: Vec::new(),
            start: None,
            tally_interval: None,
            control: None,
            tap: None,
            losses: LossDeltas::default(),
            malformed: 0,
            heap: HeapTrim::default(),
            throttle: WakeupThrottle::new(if delayed { options.ring_bytes } else { 0 }),
            started: now(),
        };
        let event = session.start_event(options, roots, fallbacks);
        session.events.emit(event, &mut |event| session.start = Some(event.clone()));
        session.events.flush(&mut |_| {});
        Ok(session)
    }

    /// Returns what it observes by.
    pub(crate) fn source_kind(&self) -> SourceKind {
        self.source.kind()
    }

    /// Writes a `tally` event after each such interval, and at the end.
    pub fn set_tally_interval(&mut self, interval: Duration) {
        if let Some(start) = &self.start {
            self.events.sum_windows(start);
        }
        self.tally_interval = Some(interval);
    }

    /// Returns whether the kernel lets the loss counters be read with the rights held now.
    pub fn can_read_losses(&self) -> bool {
        self.source.can_read_losses()
    }

    /// Takes changes from this channel while it runs.
    pub fn set_control(&mut self, control: mpsc::Receiver<Control>) {
        self.control = Some(control);
    }

    /// Shows every record to a tap from now on.
    pub fn set_tap(&mut self, tap: Box<dyn RecordTap>) {
        self.tap = Some(tap);
    }

    /// Takes only requests and connections of these network namespaces from now on, and those
    /// whose namespace is not known.
    pub fn restrict(&mut self, networks: Vec<u32>) {
        self.events.restrict(networks);
    }

    /// Shows every event to a view from now on.
    pub fn set_view(&mut self, view: Box<dyn View>) {
        self.events.set_view(view);
    }

    /// Takes no note of the time to live of what comes from these addresses: they stand in for the
    /// service, at another distance.
    pub fn ignore_ttl_of(&mut self, addresses: Vec<SocketAddr>) {
        self.without_ttl = addresses;
    }

    /// Takes this network namespace for the host's from now on, in place of the machine's own.
    pub fn set_host_netns(&mut self, netns: u32) {
        self.auditor.set_host_netns(Some(netns));
    }

    /// Audits until `stop` is ready or nobody reads the output any more.
    ///
    /// # Errors
    /// Returns an error if the ring cannot be read.
    pub async fn run(
        mut self,
        stop: impl Future<Output = StopReason>,
        mut observer: impl FnMut(&Event),
    ) -> anyhow::Result<AuditResult> {
        let mut stop = pin!(stop);
        if let Some(start) = self.start.take() {
            observer(&start);
        }
        startup_code::release();
        let mut tally = self.tally_interval.map(|interval| {
            let mut ticks = interval_at(Instant::now() + interval, interval);
            // A machine that was suspended gets one window for all of it.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        let reason = loop {
            let deadline = self.auditor.next_deadline().map(until);
            let due = self.processes.next_timeout();
            let tapped = self.tap.as_ref().and_then(|tap| tap.next_deadline()).map(until);
            let deadline = [deadline, due, tapped].into_iter().flatten().min();
            let wait = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reason = &mut stop => break reason,
                // Before the ring, which is never empty in a flood.
                () = next_tick(&mut tally) => {
                    let to = self.auditor.clock().time(now());
                    self.events.close_window(to, false, &mut observer);
                }
                control = next_control(&mut self.control) => self.apply(control, &mut observer),
                ready = self.source.wait() => ready.context("cannot wait for records")?,
                () = self.events.changed() => {}
                () = self.processes.changed() => {}
                () = wait => {}
            }
            let more = self.turn(&mut observer);
            if self.events.is_closed() {
                break StopReason::OutputClosed;
            }
            if more.is_none() {
                self.throttle.maybe_sleep();
            }
        };
        // Records written until now still count. Later ones do not: a flood would keep the program
        // from ending.
        let end = now();
        while self.turn(&mut observer).is_some_and(|reached| reached < end) {}
        // Each owner is found, and each process completed, or given up, within a bounded time.
        while let Input::Packet(input) = &self.source {
            if !input.wait_for_owner().await {
                break;
            }
            self.pass_owners(&mut observer);
        }
        while let Some(due) = self.processes.next_timeout() {
            tokio::select! {
                () = self.processes.changed() => {}
                () = tokio::time::sleep(due) => {}
            }
            self.complete_processes(&mut observer);
        }
        Ok(self.finish(reason, &mut observer))
    }

    fn finish(mut self, reason: StopReason, observer: &mut impl FnMut(&Event)) -> AuditResult {
        let end = now();
        let Self { auditor, events, .. } = &mut self;
        auditor.finish(end);
        while let Some(event) = auditor.poll_event() {
            events.emit(event, observer);
        }
        // Those of what was given up just now included.
        self.report_losses(true, observer);
        if let Some(tap) = &mut self.tap {
            tap.finish(&mut self.auditor, end);
        }
        self.events.summary().set_forgotten(self.auditor.forgotten());
        let observed = Duration::from_nanos(end.0.saturating_sub(self.started.0));
        let time = self.auditor.clock().time(end);
        self.events.finish(time, reason, observed, observer)
    }

    fn apply(&mut self, control: Control, observer: &mut impl FnMut(&Event)) {
        match control {
            Control::Labels(labels) => self.events.set_labels(labels),
            Control::Outputs(change) => {
                self.events.drain(observer);
                self.events.change_outputs(change);
            }
        }
    }
}

/// Waits for the end of a tally's window; without end if there are none.
async fn next_tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
