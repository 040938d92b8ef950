//! A live audit: records in, events out.

mod fallbacks;
mod heap;
mod losses;
mod pace;

use std::{fs, future::Future, os::unix::fs::MetadataExt, pin::pin, time::Duration};

use anyhow::Context;
use heap::Heap;
use losses::Told;
use pace::Pace;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    audit::{
        auditor::{Auditor, Clock},
        event::{Body, Event, LossEvent, StartEvent, StopEvent, StopReason},
        redact,
    },
    flow::{Limits, Timestamp},
    output::{
        sink::{Sink, output_loss},
        summary::Summary,
        writer::WriterError,
    },
    probe::{
        host::{Host, Rights},
        loader::{Options, Program},
        record::Record,
        source::Source,
    },
    process::{Processes, Record as ProcessRecord, Roots},
};

/// How many records are taken before time, losses and signals get their turn.
const BATCH: usize = 1024;

/// A live audit.
pub struct Session {
    source: Source,
    processes: Processes,
    auditor: Auditor,
    /// What is counted, and what is written where.
    desk: Desk,
    /// The losses that were told.
    told: Told,
    malformed: u64,
    heap: Heap,
    pace: Pace,
    started: Timestamp,
}

/// Where every event passes.
struct Desk {
    sink: Sink,
    summary: Summary,
    /// Whose requests are taken; `None` for everybody's.
    networks: Option<Vec<u32>>,
    closed: bool,
}

impl Desk {
    fn take(&mut self, event: &Event) {
        if self.networks.as_deref().is_some_and(|networks| !is_of(networks, event)) {
            return;
        }
        self.summary.add(event);
        self.sink.write(event);
    }

    fn flush(&mut self) {
        match self.sink.flush() {
            Ok(None) => {}
            Ok(Some(loss)) => self.summary.add_loss(&loss),
            Err(error) => self.note(&error),
        }
    }

    /// Waits until everything is written or lost, or waiting is given up.
    fn settle(&mut self) {
        self.sink.queue().settle();
        self.flush();
    }

    /// Counts events that could not be written.
    fn lose(&mut self, count: u64) {
        if count > 0 {
            self.summary.add_loss(&output_loss(count));
        }
    }

    /// A reader that went away is no error, and the audit's end.
    fn note(&mut self, error: &WriterError) {
        log::debug!("the output is closed error={error}");
        self.closed = true;
    }
}

/// How an audit ended.
pub struct Ended {
    /// Everything that was seen.
    pub summary: Summary,
    /// How long everything was attached.
    pub observed: Duration,
    /// Why it ended.
    pub reason: StopReason,
    /// Events that could not be written and are told nowhere else.
    pub unwritten: u64,
    /// What the system said when the output last failed.
    pub trouble: Option<String>,
}

impl Session {
    /// Attaches everything, and writes the `start` event: whatever happens after it is audited.
    ///
    /// # Errors
    /// Where the host does not allow the audit ([`crate::probe::loader::ProbeError`]), or procfs
    /// cannot be read.
    pub fn start(options: &Options, roots: &Roots, sink: Sink) -> anyhow::Result<Self> {
        Self::start_with(options, roots, Limits::default(), sink)
    }

    /// As [`Session::start`], with limits of the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(
        options: &Options,
        roots: &Roots,
        limits: Limits,
        sink: Sink,
    ) -> anyhow::Result<Self> {
        let processes = Processes::open(roots).context("cannot read the host's processes")?;
        // Events are cleaned once more: there a request's own token is known too.
        let processes = processes
            .rewording(|arguments| arguments.reworded(&redact::arguments(arguments.iter())));
        let mut auditor = Auditor::new(limits, read_clock());
        auditor.set_host_netns(host_netns(roots));
        let source = Source::start(options)?;
        // What loading took: the kernel's BTF, where it is read and not mapped, and the object.
        heap::release();
        let mut session = Self {
            source,
            processes,
            auditor,
            desk: Desk { sink, summary: Summary::default(), networks: None, closed: false },
            told: Told::default(),
            malformed: 0,
            heap: Heap::default(),
            pace: Pace::new(options.ring_bytes),
            started: now(),
        };
        let event = session.start_event(options, roots);
        session.desk.take(&event);
        session.desk.flush();
        Ok(session)
    }

    /// Takes only requests and connections of these network namespaces from now on, and those
    /// whose namespace is not known.
    pub fn restrict(&mut self, networks: Vec<u32>) {
        self.desk.networks = Some(networks);
    }

    /// Takes this network namespace for the host's from now on, in place of the machine's own.
    pub fn set_host_netns(&mut self, netns: u32) {
        self.auditor.set_host_netns(Some(netns));
    }

    /// Audits until `stop` is ready or nobody reads the output any more.
    ///
    /// # Errors
    /// Where the ring cannot be read.
    pub async fn run(
        mut self,
        stop: impl Future<Output = StopReason>,
        mut observer: impl FnMut(&Event),
    ) -> anyhow::Result<Ended> {
        let mut stop = pin!(stop);
        let reason = loop {
            let deadline = self.auditor.next_deadline().map(until);
            let wait = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reason = &mut stop => break reason,
                ready = self.source.wait() => ready.context("cannot wait for records")?,
                () = self.desk.sink.queue().changed() => {}
                () = wait => {}
            }
            let more = self.turn(&mut observer);
            if self.desk.closed {
                break StopReason::OutputClosed;
            }
            if more.is_none() {
                self.pace.keep();
            }
        };
        // What the kernel half has written until now still counts, what comes later does not: a
        // flood would keep the program from ending.
        let end = now();
        while self.turn(&mut observer).is_some_and(|reached| reached < end) {}
        Ok(self.finish(reason, &mut observer))
    }

    /// Takes a batch of records and does what is due. Returns the time of the last one if there
    /// are more.
    fn turn(&mut self, observer: &mut impl FnMut(&Event)) -> Option<Timestamp> {
        self.auditor.set_clock(read_clock());
        let Self { source, processes, auditor, desk, malformed, .. } = self;
        let mut sink = |event: Event| {
            observer(&event);
            desk.take(&event);
        };
        // Where records are still waiting, the audit's time is that of the last one taken: the
        // response to a request that is long due may be among them.
        let mut reached = None;
        let is_empty =
            source.drain(BATCH, |bytes| match take_record(bytes, processes, auditor, &mut sink) {
                Ok(time) => reached = Some(time),
                Err(error) => {
                    log::warn!("a record of the kernel half is damaged error={error}");
                    *malformed += 1;
                }
            });
        let reached = reached.filter(|_| !is_empty);
        self.tell_losses();
        let Self { auditor, desk, .. } = self;
        auditor.expire(reached.unwrap_or_else(now), &mut |event| {
            observer(&event);
            desk.take(&event);
        });
        // In a flood the ring is never empty, and the output may be closed all the same.
        if is_empty || self.desk.sink.queue().is_closed() {
            self.desk.flush();
        }
        self.heap.settle(self.auditor.held() + self.desk.sink.queue().held());
        reached
    }

    /// Writes a `loss` event for each reason and process whose count has grown.
    fn tell_losses(&mut self) {
        let time = self.auditor.clock().time(now());
        let lost = self.source.take_losses().unwrap_or_else(|error| {
            log::warn!("the loss counters cannot be read error={error}");
            Vec::new()
        });
        if !lost.is_empty() {
            // Before anything expires: what is open now may have been answered unseen.
            self.auditor.lost();
        }
        let told = self.told.grown(self.auditor.counters(), self.malformed, self.processes.late());
        for loss in losses::of_kernel(&lost).into_iter().chain(told) {
            self.desk.take(&Event::from(Body::Loss(LossEvent { time, loss })));
        }
    }

    fn finish(mut self, reason: StopReason, observer: &mut impl FnMut(&Event)) -> Ended {
        let end = now();
        let Self { auditor, desk, .. } = &mut self;
        auditor.finish(end, &mut |event| {
            observer(&event);
            desk.take(&event);
        });
        // What was given up just now among it.
        self.tell_losses();
        self.desk.summary.set_forgotten(self.auditor.forgotten());
        let observed = Duration::from_nanos(end.0.saturating_sub(self.started.0));
        // Before the totals are written, so that they hold what could not be written.
        self.desk.settle();
        let untold = self.desk.sink.queue().hush();
        self.desk.lose(untold);
        let stop = Event::from(Body::from(StopEvent {
            time: self.auditor.clock().time(end),
            reason,
            duration_us: u64::try_from(observed.as_micros()).unwrap_or(u64::MAX),
            totals: self.desk.summary.totals().clone(),
            losses: self.desk.summary.losses(),
        }));
        self.desk.take(&stop);
        self.desk.settle();
        let unwritten = self.desk.sink.queue().unwritten();
        self.desk.lose(unwritten.saturating_sub(untold));
        Ended {
            observed,
            reason,
            unwritten,
            trouble: self.desk.sink.queue().trouble(),
            summary: self.desk.summary,
        }
    }

    fn start_event(&self, options: &Options, roots: &Roots) -> Event {
        let host = Host::read();
        let fallbacks = fallbacks::all(self.source.fallbacks(), &host, Rights::read(), roots);
        Event::from(Body::from(StartEvent {
            time: self.auditor.clock().time(self.started),
            host: Some(host.name),
            kernel: Some(host.kernel),
            architecture: Some(host.architecture),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            programs: Program::ALL.iter().map(|program| program.name().to_owned()).collect(),
            endpoints: options.endpoints.iter().map(ToString::to_string).collect(),
            fallbacks,
            netns: host_netns(roots),
        }))
    }
}

/// Returns whether an event is of one of the network namespaces, of an unknown one or of none.
pub fn is_of(networks: &[u32], event: &Event) -> bool {
    let network = match &event.body {
        Body::Request(event) => event.network.netns,
        Body::Connection(event) => event.network.netns,
        Body::Loss(_) | Body::Start(_) | Body::Stop(_) => None,
    };
    network.is_none_or(|network| networks.contains(&network))
}

/// Hands a record to who it is for. Returns the record's time.
fn take_record(
    bytes: &[u8],
    processes: &mut Processes,
    auditor: &mut Auditor,
    sink: &mut impl FnMut(Event),
) -> anyhow::Result<Timestamp> {
    match Record::parse(bytes)? {
        Record::Process { connection, ends, time, is_connect, bytes } => {
            let process = processes.observe(&ProcessRecord::parse(bytes)?);
            if is_connect {
                auditor.connected(connection, ends, time, process, sink);
            } else {
                auditor.wrote(connection, process);
            }
            Ok(time)
        }
        Record::Segment { segment, comm } => {
            auditor.segment(&segment, comm, sink);
            Ok(segment.time)
        }
    }
}

/// Returns the inode number of the host's network namespace: that of its first process where
/// procfs shows it, else this process's own.
fn host_netns(roots: &Roots) -> Option<u32> {
    ["1/ns/net", "self/ns/net"]
        .iter()
        .find_map(|path| fs::metadata(roots.procfs.join(path)).ok())
        .and_then(|namespace| u32::try_from(namespace.ino()).ok())
}

/// Returns the time since boot, as records carry it.
fn now() -> Timestamp {
    Timestamp(u64::try_from(nanoseconds(ClockId::Boottime)).unwrap_or(0))
}

fn read_clock() -> Clock {
    Clock { offset: nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Boottime) }
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn until(deadline: Timestamp) -> Duration {
    Duration::from_nanos(deadline.0.saturating_sub(now().0))
}
