//! A replayed capture: packets in, events out.

mod packet_counts;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use imds_audit_ebpf::{COMM_LENGTH, Task};
pub(crate) use packet_counts::PacketCounts;

use super::audit_result::AuditResult;
use super::event_sink::EventSink;
use super::interrupt::Interrupt;
use super::losses::LossDeltas;
use crate::audit::auditor::Auditor;
use crate::audit::clock::Clock;
use crate::event::{
    Body, Event, Fallback, Loss, LossEvent, LossUnit, Origin, StartEvent, StopReason,
};
use crate::flow::Limits;
use crate::frame::{Defragmenter, Frame, LinkType, Prefilter, Refusal, Tunnel};
use crate::output::sink::Sink;
use crate::segment::{ConnectionId, Timestamp};
use crate::source::pcapng::note::{LossNote, NotedTask, PacketNote, SectionNote};
use crate::source::pcapng::{CaptureError, CaptureReader, Chunks, Packet};

/// The bytes of lines that may wait before the replay waits for their writers.
const MAX_WAITING: usize = 1 << 20;
/// How often a packet that was put together may be a fragment of another one, within a tunnel.
const MAX_REASSEMBLIES: usize = 3;

/// A replay of captures, as one run.
pub(crate) struct Replay {
    auditor: Auditor,
    events: EventSink,
    losses: LossDeltas,
    endpoints: Vec<SocketAddr>,
    prefilter: Prefilter,
    fragments: Defragmenter,
    connections: RandomState,
    /// The host and the labels of the current file, as it says.
    captured: SectionNote,
    /// The labels of this replay.
    labels: BTreeMap<String, String>,
    /// Processes and programs that the diagnosis of earlier hosts has forgotten.
    forgotten: u64,
    interrupt: Interrupt,
    counts: PacketCounts,
    /// The times of the first and the last packet.
    span: Option<(Timestamp, Timestamp)>,
    /// When the auditor has something to do.
    deadline: Timestamp,
}

/// How the replay of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileEnd {
    /// At the file's end.
    Whole,
    /// Nobody reads the output any more.
    OutputClosed,
    /// A signal asked for the end.
    Interrupted,
}

impl Replay {
    /// Prepares a replay, which ends early when it is interrupted.
    pub(crate) fn new(
        endpoints: Vec<SocketAddr>,
        origin: Origin,
        outputs: Vec<Sink>,
        interrupt: Interrupt,
    ) -> Self {
        Self {
            auditor: new_auditor(),
            labels: origin.labels.clone(),
            events: EventSink::new(origin, outputs),
            losses: LossDeltas::default(),
            prefilter: Prefilter::new(&endpoints),
            fragments: Defragmenter::default(),
            endpoints,
            connections: RandomState::new(),
            captured: SectionNote::default(),
            forgotten: 0,
            interrupt,
            counts: PacketCounts::default(),
            span: None,
            deadline: Timestamp(u64::MAX),
        }
    }

    /// Returns what became of the packets so far.
    pub(crate) fn counts(&self) -> PacketCounts {
        PacketCounts { fragments: self.fragments.lost(), ..self.counts }
    }

    /// Replays a file. Returns how it ended.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read to its end. What comes before is replayed.
    pub(crate) fn file(
        &mut self,
        file: impl Chunks,
        observer: &mut impl FnMut(&Event),
    ) -> Result<FileEnd, CaptureError> {
        let mut reader = CaptureReader::open(file)?;
        let mut section = None;
        loop {
            let (packet, note) = match reader.next_packet() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                // The reader was woken up by it.
                Err(_) if self.interrupt.is_set() => return Ok(FileEnd::Interrupted),
                Err(error) => {
                    self.report(reader.take_losses(), observer);
                    return Err(error);
                }
            };
            if section != Some(packet.section) {
                section = Some(packet.section);
                self.enter_section(note.cloned().unwrap_or_default(), observer);
            }
            self.packet(&packet, observer);
            if self.events.is_closed() {
                return Ok(FileEnd::OutputClosed);
            }
            if self.interrupt.is_set() {
                return Ok(FileEnd::Interrupted);
            }
        }
        self.report(reader.take_losses(), observer);
        Ok(FileEnd::Whole)
    }

    /// Ends the replay: emits what is open, and the `stop` event.
    pub(crate) fn finish(
        mut self,
        reason: StopReason,
        observer: &mut impl FnMut(&Event),
    ) -> AuditResult {
        let (first, last) = self.span.unwrap_or_default();
        if self.span.is_none() {
            self.start(first, observer);
        }
        self.finish_host(observer);
        let time = self.auditor.clock().time(last);
        let mut losses: Vec<_> = self.counts().losses().collect();
        losses.extend(self.events.take_withheld(time, true));
        self.report(losses, observer);
        self.events.summary().set_forgotten(self.forgotten + self.auditor.forgotten());
        let observed = Duration::from_nanos(last.0.saturating_sub(first.0));
        self.events.finish(time, reason, observed, observer)
    }

    /// Takes note of whose packets follow. Packets of another host are no part of connections that
    /// are open.
    fn enter_section(&mut self, captured: SectionNote, observer: &mut impl FnMut(&Event)) {
        if captured.host != self.captured.host && self.span.is_some() {
            self.finish_host(observer);
            self.forgotten += self.auditor.forgotten();
            self.auditor = new_auditor();
            self.losses = LossDeltas::default();
        }
        if captured != self.captured {
            let mut labels = captured.labels.clone();
            labels.extend(self.labels.clone());
            self.events.set_host(captured.host.clone(), labels);
            self.captured = captured;
        }
    }

    /// Emits what is open, and what could not be observed.
    fn finish_host(&mut self, observer: &mut impl FnMut(&Event)) {
        let (_, last) = self.span.unwrap_or_default();
        self.auditor.finish(last);
        self.drain(observer);
        let losses = self.losses.delta(self.auditor.counters(), 0, 0);
        self.report(losses, observer);
    }

    /// Emits losses.
    fn report(
        &mut self,
        losses: impl IntoIterator<Item = Loss>,
        observer: &mut impl FnMut(&Event),
    ) {
        let (_, last) = self.span.unwrap_or_default();
        let time = self.auditor.clock().time(last);
        for loss in losses {
            self.events
                .emit(Event::from(Body::Loss(LossEvent { time, loss, window: None })), observer);
        }
    }

    fn start(&mut self, time: Timestamp, observer: &mut impl FnMut(&Event)) {
        let start = StartEvent {
            time: self.auditor.clock().time(time),
            boot: None,
            container_start: None,
            kernel: None,
            architecture: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            programs: Vec::new(),
            endpoints: self.endpoints.iter().map(ToString::to_string).collect(),
            fallbacks: vec![Fallback {
                name: "capture".to_owned(),
                reason: "the requests were read from a capture".to_owned(),
                consequence: "what the capture lacks was not seen, and processes are known only \
                              where its comments name them"
                    .to_owned(),
            }],
            netns: None,
        };
        self.events.emit(Event::from(Body::from(start)), observer);
    }

    fn packet(&mut self, packet: &Packet<'_>, observer: &mut impl FnMut(&Event)) {
        self.counts.packets += 1;
        // A packet without a time passed with the one before it.
        let before = self.span.map_or(Timestamp(0), |(_, last)| last);
        let time = if packet.time == 0 { before } else { Timestamp(packet.time) };
        match &mut self.span {
            Some((_, last)) => *last = time.max(*last),
            None => {
                self.span = Some((time, time));
                self.start(time, observer);
            }
        }
        if self.deadline <= time {
            self.auditor.handle_timeout(time);
            self.drain(observer);
        }
        let Some(link) = LinkType::from_number(packet.link) else {
            self.counts.unknown_links += 1;
            self.counts.last_link = packet.link;
            return;
        };
        // Nearly all of other traffic ends here.
        if !self.prefilter.admits(link, packet.bytes) {
            return;
        }
        let wire_length = usize::try_from(packet.wire_length).unwrap_or(usize::MAX);
        let seen = Seen { link, bytes: packet.bytes, wire_length, tunnel: 0, reassemblies: 0 };
        if self.segment(packet, seen, time, observer) {
            self.counts.segments += 1;
            self.drain(observer);
        }
    }

    /// Passes on the segment of a frame. Returns whether it has one of an endpoint.
    fn segment(
        &mut self,
        packet: &Packet<'_>,
        seen: Seen<'_>,
        time: Timestamp,
        observer: &mut impl FnMut(&Event),
    ) -> bool {
        let Tunnel { link, offset, number } = Tunnel::innermost(seen.link, seen.bytes);
        let tunnel = if number == 0 { seen.tunnel } else { number };
        let Some(bytes) = seen.bytes.get(offset..) else { return false };
        let frame = match Frame::parse(link, bytes, seen.wire_length.saturating_sub(offset)) {
            Ok(frame) => frame,
            Err(Refusal::Fragment) if seen.reassemblies < MAX_REASSEMBLIES => {
                let fragment = link.ip_start(bytes).ok().and_then(|start| bytes.get(start..));
                let whole = fragment.and_then(|fragment| self.fragments.push(fragment, time));
                let Some(whole) = whole else { return false };
                let seen = Seen {
                    link: LinkType::RawIp,
                    bytes: &whole,
                    wire_length: whole.len(),
                    tunnel,
                    reassemblies: seen.reassemblies + 1,
                };
                return self.segment(packet, seen, time, observer);
            }
            Err(refusal) => {
                self.counts.refuse(refusal);
                return false;
            }
        };
        let endpoints = &self.endpoints;
        let Some((direction, mut ends)) = frame.direction(|at| endpoints.contains(&at)) else {
            return false;
        };
        let note = packet.comments().find_map(PacketNote::parse);
        let lost = packet.comments().skip(1).find_map(LossNote::parse).unwrap_or_default();
        let id = match &note {
            // Numbers of sockets are those of a run.
            Some(note) => self.connections.hash_one((&self.captured.run, note.socket)),
            None => self.connections.hash_one((ends.source, ends.endpoint, tunnel)),
        };
        let connection = ConnectionId(id);
        let Some(note) = note else {
            let segment = frame.segment(connection, ends, direction, time, true);
            self.auditor.handle_segment(&segment, [0; COMM_LENGTH]);
            return true;
        };
        if !lost.losses.is_empty() {
            if lost.losses.iter().any(|loss| loss.what != LossUnit::Processes) {
                self.auditor.handle_loss();
            }
            self.report(lost.losses, observer);
        }
        if note.body {
            return true;
        }
        (ends.netns, ends.mapped) = (note.netns, note.mapped);
        let mut segment = frame.segment(connection, ends, direction, time, false);
        segment.begins = note.begins.into();
        (segment.lost_requests, segment.lost_records) = (note.lost_requests, note.lost_records);
        (segment.shared, segment.translated) = (note.shared, note.translated);
        if let Some(netns) = note.host_netns {
            self.auditor.set_host_netns(Some(netns));
        }
        if let Some(connector) = note.connector {
            let (task, comm) = self.describe(connector);
            self.auditor.handle_connector(connection, task, comm);
        }
        if let Some(owner) = note.owner {
            let (task, comm) = self.describe(owner);
            self.auditor.handle_captured_owner(connection, task, comm);
        }
        let mut comm = [0; COMM_LENGTH];
        if let Some(writer) = note.writer {
            let (task, name) = self.describe(writer);
            (segment.writer, comm) = (Some(task), name);
        }
        self.auditor.handle_segment(&segment, comm);
        true
    }

    /// Takes what a note says of a task.
    fn describe(&mut self, noted: NotedTask) -> (Task, [u8; COMM_LENGTH]) {
        let NotedTask { pid, tid, start, exec, comm, process } = noted;
        let task = Task { pid, tid, start_time: start, exec_id: exec };
        if let Some(process) = process {
            self.auditor.handle_description(task, Arc::new(*process));
        }
        let mut name = [0; COMM_LENGTH];
        // The last byte stays a NUL.
        name.iter_mut().zip(comm.bytes().take(COMM_LENGTH - 1)).for_each(|(to, from)| *to = from);
        (task, name)
    }

    fn drain(&mut self, observer: &mut impl FnMut(&Event)) {
        while let Some(event) = self.auditor.poll_event() {
            self.events.emit(event, observer);
            // A live audit must not wait, and drops; a file can wait.
            if self.events.held() > MAX_WAITING {
                self.events.drain(observer);
            }
        }
        self.deadline = self.auditor.next_deadline().unwrap_or(Timestamp(u64::MAX));
    }
}

/// A frame, of a file or put together of fragments.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    link: LinkType,
    bytes: &'a [u8],
    wire_length: usize,
    /// The number of the tunnel that it came through.
    tunnel: u32,
    /// How many times it was put together.
    reassemblies: usize,
}

/// Makes an auditor of packets, which carry the time of day.
fn new_auditor() -> Auditor {
    Auditor::new(Limits::default(), Clock { offset: 0 })
}

#[cfg(test)]
mod tests;
