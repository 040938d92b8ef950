//! The recorder: holds packets until they are clean and their processes known, then writes them.

mod responses;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use imds_audit_ebpf::{COMM_LENGTH, Task};
use lru::LruCache;

use super::files::CaptureFiles;
use super::held::{Held, NamedTask, Tasks, short_title};
use super::packet::{Headers, MAX_PAYLOAD};
use super::pending_losses::PendingLosses;
use super::requests::{Bytes, Cleaned, RequestStream};
use super::responses::{OpenResponse, ResponseStream};
use super::writer::{CaptureWriter, FilesProgress, QueuedPacket};
use crate::audit::auditor::Auditor;
use crate::audit::token::TokenHasher;
use crate::event::{Loss, Time};
use crate::pipeline::record_tap::RecordTap;
use crate::segment::{ConnectionId, Direction, EndpointPair, Segment, Timestamp};
use crate::source::pcapng::note::PacketNote;

/// The connections that are followed; of one that makes room nothing more is cleaned.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// The bytes of packets that are held; beyond them the oldest are written unfinished.
const MAX_HELD: usize = 8 << 20;
/// How long a packet is held for the rest of its header block, or for its process.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What a held packet takes beside its payload.
const OVERHEAD: usize = 512;

/// What a capture has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaptureTotals {
    /// Packets written.
    pub packets: u64,
    /// Packets that could not be written.
    pub lost: u64,
    /// Packets that were written before their header block or process was known.
    pub unfinished: u64,
    /// The last error of a file.
    pub last_error: Option<String>,
    /// The files that are there, the oldest first.
    pub files: Vec<std::path::PathBuf>,
}

/// Records the packets of a live audit.
pub(crate) struct CaptureRecorder {
    writer: CaptureWriter,
    losses: PendingLosses,
    host_netns: Option<u32>,
    hasher: TokenHasher,
    connections: LruCache<ConnectionId, Connection>,
    held: VecDeque<Held>,
    /// The number of the first held packet.
    first: u64,
    held_bytes: usize,
    unfinished: u64,
    totals: Rc<RefCell<CaptureTotals>>,
}

#[derive(Default)]
struct Connection {
    requests: RequestStream,
    responses: ResponseStream,
    connector: Option<NamedTask>,
    /// Who holds the socket, where that is looked for.
    owner: Option<NamedTask>,
    awaits_owner: bool,
    /// The process and the class of the last request, for people.
    title: String,
    ttl: u8,
    is_described: bool,
    /// The last response's packet, if it is held until its body has passed.
    response: Option<OpenResponse>,
}

impl CaptureRecorder {
    /// Records into these files. The totals are filled when it ends.
    ///
    /// # Errors
    /// Returns an error if the thread that writes cannot be started.
    pub(crate) fn start(
        files: CaptureFiles,
        host_netns: Option<u32>,
        totals: Rc<RefCell<CaptureTotals>>,
    ) -> io::Result<Self> {
        Ok(Self {
            writer: CaptureWriter::start(files)?,
            losses: PendingLosses::default(),
            host_netns,
            hasher: TokenHasher::new(),
            connections: LruCache::new(MAX_CONNECTIONS),
            held: VecDeque::new(),
            first: 0,
            held_bytes: 0,
            unfinished: 0,
            totals,
        })
    }

    /// Returns the number of the packet that is held next.
    fn next_number(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    fn connection(&mut self, id: ConnectionId) -> &mut Connection {
        // What makes room may have held packets: they are written as they are.
        if !self.connections.contains(&id)
            && self.connections.len() == MAX_CONNECTIONS.get()
            && let Some((_, mut evicted)) = self.connections.pop_lru()
        {
            let cut = evicted.requests.cut();
            self.patch(cut);
        }
        self.connections.get_or_insert_mut(id, Connection::default)
    }

    fn request(&mut self, segment: &Segment<'_>, comm: [u8; COMM_LENGTH], original: &[u8]) {
        let id = segment.connection;
        let writer = segment.writer.map(|task| (task, comm));
        let data = segment.sequence.wrapping_add(u32::from(segment.syn));
        self.show_missing(segment);
        // Behind the packets that stand for a body.
        let number = self.next_number();

        let length = usize::try_from(segment.length).unwrap_or(MAX_PAYLOAD);
        let connection = self.connection(id);
        let is_end = (segment.fin || segment.rst) && !connection.is_described;
        let has_data = !segment.payload.is_empty();
        let tasks =
            (has_data || is_end).then_some(Tasks { writer, connector: connection.connector });
        connection.is_described |= tasks.is_some();
        let held = Held {
            payload: vec![0; segment.payload.len()],
            length,
            tasks,
            ..self.held_of(segment, segment.sequence, original)
        };
        self.hold(held);

        let hasher = std::mem::take(&mut self.hasher);
        let connection = self.connection(id);
        if segment.syn {
            connection.requests.open(data);
        }
        let bytes = Bytes {
            packet: number,
            sequence: data,
            payload: segment.payload,
            length: segment.length,
            has_start: segment.begins.is_first(),
        };
        let mut cleaned = connection.requests.push(bytes, &hasher);
        if segment.fin || segment.rst {
            cleaned.extend(connection.requests.cut());
        }
        let waits = connection.requests.waits_for(number);
        self.hasher = hasher;
        if let Some(held) = self.held.back_mut() {
            held.waits = waits;
        }
        self.patch(cleaned);
        if segment.rst || segment.fin {
            self.close_response(id);
        }
        if segment.rst && !self.connection(id).awaits_owner {
            self.connections.pop(&id);
        }
    }

    /// Makes a held packet without payload. `original` are the packet's own headers, if they are
    /// known.
    fn held_of(&self, segment: &Segment<'_>, sequence: u32, original: &[u8]) -> Held {
        let EndpointPair { source, endpoint, mapped, netns } = segment.ends;
        let caller = source.unwrap_or_else(|| {
            let unspecified: std::net::IpAddr = if endpoint.is_ipv4() {
                std::net::Ipv4Addr::UNSPECIFIED.into()
            } else {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            };
            (unspecified, 0).into()
        });
        let (source, destination) = match segment.direction {
            Direction::Request => (caller, endpoint),
            Direction::Response => (endpoint, caller),
        };
        Held {
            connection: segment.connection,
            headers: Headers {
                source,
                destination,
                ttl: segment.ttl.unwrap_or(64),
                sequence,
                acknowledgment: segment.acknowledgment,
                syn: segment.syn,
                fin: segment.fin,
                rst: segment.rst,
                urgent: segment.urgent,
                original: original.to_vec(),
            },
            netns,
            time: segment.time,
            payload: Vec::new(),
            length: 0,
            note: PacketNote {
                socket: segment.connection.0,
                netns,
                host_netns: self.host_netns,
                mapped,
                begins: segment.begins.into(),
                lost_requests: segment.lost_requests,
                lost_records: segment.lost_records,
                shared: segment.shared,
                translated: segment.translated,
                ..PacketNote::default()
            },
            waits: false,
            waits_for_body: false,
            tasks: None,
            heads: Vec::new(),
        }
    }

    fn hold(&mut self, held: Held) {
        self.held_bytes += held.payload.len() + OVERHEAD;
        self.held.push_back(held);
    }

    /// Writes cleaned bytes into the packets that wait for them.
    fn patch(&mut self, cleaned: impl IntoIterator<Item = Cleaned>) {
        for Cleaned { parts, bytes, head, was_awaited } in cleaned {
            let mut rest = bytes.as_slice();
            for part in parts {
                let (now, later) = rest.split_at(part.length.min(rest.len()));
                rest = later;
                let place = part.packet.checked_sub(self.first);
                let place = place.and_then(|place| usize::try_from(place).ok());
                let Some(held) = place.and_then(|place| self.held.get_mut(place)) else { continue };
                if let Some(room) = held.payload.get_mut(part.start..part.start + now.len()) {
                    room.copy_from_slice(now);
                }
                if was_awaited {
                    held.waits = false;
                    held.heads.extend(head.clone());
                }
            }
        }
    }

    /// Writes the packets that are ready, and those that have waited too long.
    fn write_ready(&mut self, auditor: &mut Auditor, now: Timestamp, is_last: bool) {
        while let Some(held) = self.held.front() {
            let is_late = is_last || self.held_bytes > MAX_HELD || now >= later(held.time, TIMEOUT);
            if held.waits_for_body && !is_late {
                break;
            }
            if held.waits {
                if !is_late {
                    break;
                }
                let id = held.connection;
                let cut = self.connections.get_mut(&id).and_then(|c| c.requests.cut());
                self.patch(cut);
                self.unfinished += 1;
            }
            let Some(held) = self.held.front_mut() else { break };
            held.waits = false;
            let owner = match self.connections.peek(&held.connection) {
                Some(connection) if connection.awaits_owner && !is_late => break,
                Some(connection) => connection.owner,
                None => None,
            };
            if !held.describe(owner, auditor, is_late) {
                break;
            }
            self.write_front(auditor);
        }
        self.writer.flush();
    }

    fn write_front(&mut self, auditor: &Auditor) {
        let Some(held) = self.held.pop_front() else { return };
        self.first += 1;
        self.held_bytes = self.held_bytes.saturating_sub(held.payload.len() + OVERHEAD);
        let title = match self.connections.peek_mut(&held.connection) {
            Some(connection) => {
                if let Some(title) = held.title() {
                    connection.title = title;
                }
                connection.title.clone()
            }
            None => held.title().unwrap_or_default(),
        };
        let people = if held.note.body {
            format!("bytes of a response's body, which are not captured; {title}")
        } else {
            title
        };
        let comment = held.note.comment(&people);
        let (bytes, wire_length) = held.headers.packet(&held.payload, held.length);
        let time = nanoseconds(auditor.clock().time(held.time));
        let (netns, losses) = (held.netns, self.losses.take());
        self.writer.push(QueuedPacket { netns, time, bytes, wire_length, comment, losses });
    }
}

impl RecordTap for CaptureRecorder {
    fn connect(&mut self, connection: ConnectionId, task: Task, comm: [u8; COMM_LENGTH]) {
        let connection = self.connection(connection);
        let task = (task, comm);
        connection.connector = Some(task);
        connection.is_described = false;
        connection.title = short_title(&task);
    }

    fn segment(&mut self, segment: &Segment<'_>, comm: [u8; COMM_LENGTH], headers: &[u8]) {
        match segment.direction {
            Direction::Request => self.request(segment, comm, headers),
            Direction::Response => self.response(segment, headers),
        }
    }

    fn await_owner(&mut self, connection: ConnectionId) {
        self.connection(connection).awaits_owner = true;
    }

    fn owner(&mut self, connection: ConnectionId, owner: Option<(Task, [u8; COMM_LENGTH])>) {
        // A connection that made room is written without.
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.awaits_owner = false;
            connection.owner = owner;
            connection.title = owner.as_ref().map(short_title).unwrap_or_default();
        }
    }

    fn losses(&mut self, losses: &[Loss]) {
        self.losses.add(losses.iter().cloned());
    }

    fn turn(&mut self, auditor: &mut Auditor, now: Timestamp) {
        self.write_ready(auditor, now, false);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.held.front().map(|held| later(held.time, TIMEOUT))
    }

    fn finish(&mut self, auditor: &mut Auditor, now: Timestamp) {
        self.write_ready(auditor, now, true);
        let losses = self.losses.take();
        let FilesProgress { packets, lost, last_error, files } = self.writer.finish(losses);
        let unfinished = self.unfinished;
        *self.totals.borrow_mut() = CaptureTotals { packets, lost, unfinished, last_error, files };
    }
}

fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.0.as_nanosecond()).unwrap_or(0)
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(time.0.saturating_add(nanoseconds))
}
