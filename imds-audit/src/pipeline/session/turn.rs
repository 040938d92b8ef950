//! A turn of a live audit: a batch of records, then what is due.

use std::net::SocketAddr;

use super::Session;
use crate::{
    audit::auditor::Auditor,
    event::{Body, Event, LossEvent, LossUnit},
    pipeline::{
        clock::{adjusted, now},
        input::Input,
        losses,
        record_tap::RecordTap,
    },
    process::Processes,
    segment::Timestamp,
    source::ebpf::record::Record,
};

/// The number of records taken before time, losses and signals get their turn.
const BATCH: usize = 1024;

impl Session {
    /// Takes a batch of records and does what is due. Returns the time of the last one if there
    /// are more.
    pub(super) fn turn(&mut self, observer: &mut impl FnMut(&Event)) -> Option<Timestamp> {
        self.auditor.set_clock(adjusted(self.auditor.clock()));
        let Self { source, processes, auditor, events, without_ttl, malformed, tap, .. } = self;
        // While records are waiting, the audit's time is that of the last one taken: the response
        // to a request that is long due may be among them.
        let mut reached = None;
        let is_empty = match source {
            Input::Ebpf(source) => source.drain(BATCH, |bytes| {
                match take_record(bytes, processes, auditor, without_ttl, tap) {
                    Ok(time) => {
                        reached = Some(time);
                        while let Some(event) = auditor.poll_event() {
                            events.emit(event, observer);
                        }
                    }
                    Err(error) => {
                        log::warn!("malformed record error={error}");
                        *malformed += 1;
                    }
                }
            }),
            Input::Packet(input) => {
                let offset = auditor.clock().offset;
                input.drain(BATCH, offset, without_ttl, auditor, tap, |auditor, time| {
                    reached = Some(time);
                    while let Some(event) = auditor.poll_event() {
                        events.emit(event, observer);
                    }
                })
            }
        };
        let reached = reached.filter(|_| !is_empty);
        self.pass_owners(observer);
        self.complete_processes(observer);
        self.report_losses(false, observer);
        let Self { auditor, events, .. } = self;
        auditor.handle_timeout(reached.unwrap_or_else(now));
        while let Some(event) = auditor.poll_event() {
            events.emit(event, observer);
        }
        if let Some(tap) = &mut self.tap {
            tap.turn(&mut self.auditor, now());
        }
        // In a flood the ring is never empty, and the output may be closed all the same.
        if is_empty || self.events.has_closed_output() {
            self.events.flush(observer);
        }
        self.heap.trim_if_shrunk(self.auditor.held() + self.events.held());
        reached
    }

    /// Passes on the owners of sockets that were found, with the events that waited for them.
    pub(super) fn pass_owners(&mut self, observer: &mut impl FnMut(&Event)) {
        let Self { source, processes, auditor, events, tap, .. } = self;
        if let Input::Packet(input) = source {
            input.pass_owners(processes, auditor, tap);
            while let Some(event) = auditor.poll_event() {
                events.emit(event, observer);
            }
        }
    }

    /// Passes on the processes that procfs has described, with the events that waited for them.
    pub(super) fn complete_processes(&mut self, observer: &mut impl FnMut(&Event)) {
        let Self { processes, auditor, events, .. } = self;
        while let Some(process) = processes.poll() {
            auditor.handle_process(&process);
            while let Some(event) = auditor.poll_event() {
                events.emit(event, observer);
            }
        }
    }

    /// Writes a `loss` event for each reason and process whose count has grown.
    pub(super) fn report_losses(&mut self, is_last: bool, observer: &mut impl FnMut(&Event)) {
        let time = self.auditor.clock().time(now());
        let mut losses = match &mut self.source {
            Input::Ebpf(source) => {
                losses::of_kernel(&source.take_losses().unwrap_or_else(|error| {
                    log::warn!("the loss counters cannot be read error={error}");
                    Vec::new()
                }))
            }
            Input::Packet(input) => input.take_losses(),
        };
        if let Some(tap) = self.tap.as_mut().filter(|_| !losses.is_empty()) {
            tap.losses(&losses);
        }
        if losses.iter().any(|loss| loss.what != LossUnit::Processes) {
            // Before anything expires: what is open now may have been answered unseen.
            self.auditor.handle_loss();
        }
        let counters = self.auditor.counters();
        losses.extend(self.losses.delta(counters, self.malformed, self.processes.late()));
        losses.extend(self.auditor.take_losses());
        for process in self.auditor.take_forgotten() {
            if let Input::Ebpf(source) = &mut self.source {
                source.request_snapshot(&process);
            }
        }
        losses.extend(self.events.take_withheld(time, is_last));
        for loss in losses {
            self.events
                .emit(Event::from(Body::Loss(LossEvent { time, loss, window: None })), observer);
        }
    }
}

/// Passes a record to the auditor. Returns the record's time.
fn take_record(
    bytes: &[u8],
    processes: &mut Processes,
    auditor: &mut Auditor,
    without_ttl: &[SocketAddr],
    tap: &mut Option<Box<dyn RecordTap>>,
) -> anyhow::Result<Timestamp> {
    match Record::parse(bytes)? {
        Record::Process { connection, ends, time, is_connect, record } => {
            auditor.handle_snapshot(time, processes.observe(&record));
            if is_connect {
                let comm = record.snapshot().thread_comm;
                auditor.handle_connect(connection, ends, time, record.task(), comm);
                if let Some(tap) = tap {
                    tap.connect(connection, record.task(), comm);
                }
            }
            Ok(time)
        }
        Record::Connect { connection, ends, time, task, comm } => {
            auditor.handle_connect(connection, ends, time, task, comm);
            if let Some(tap) = tap {
                tap.connect(connection, task, comm);
            }
            Ok(time)
        }
        Record::Segment { mut segment, comm } => {
            if without_ttl.contains(&segment.ends.endpoint) {
                segment.ttl = None;
            }
            if let Some(tap) = tap {
                tap.segment(&segment, comm, &[]);
            }
            auditor.handle_segment(&segment, comm);
            Ok(segment.time)
        }
    }
}
