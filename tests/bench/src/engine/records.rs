//! Records as the eBPF programs write them, of exchanges as curl has them with the service.

use imds_audit_ebpf::{
    Ancestor, COMM_LENGTH, EXE_LENGTH, EndpointPair, MAX_ANCESTORS, Segment, Snapshot, Task, kind,
    request_start, segment_flags, snapshot_flags, tcp_flags,
};
use zerocopy::IntoBytes;

/// A request without a token.
pub const V1: &[u8] = b"GET /latest/meta-data/iam/security-credentials/app HTTP/1.1\r\n\
    Host: 169.254.169.254\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

/// The same with one.
pub const V2: &[u8] = b"GET /latest/meta-data/iam/security-credentials/app HTTP/1.1\r\n\
    Host: 169.254.169.254\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
    X-aws-ec2-metadata-token: AQAEAHQx0bm90LWEtcmVhbC10b2tlbi1vbmx5LWFzLWxvbmctYXMtb25lAA==\r\n\r\n";

/// The header of an answer; its body stays in the kernel.
pub const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
    Accept-Ranges: none\r\nLast-Modified: Thu, 26 Nov 2026 10:00:00 GMT\r\n\
    Content-Length: 1350\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nServer: EC2ws\r\n\
    Connection: keep-alive\r\n\r\n";

/// The length of that body.
pub const BODY: u32 = 1_350;

/// A command line with something to remove.
const ARGUMENTS: &[u8] = b"curl\0-s\0-H\0X-aws-ec2-metadata-token: AQAEAHQx0bm90LWEtcmVhbA==\0\
    http://169.254.169.254/latest/meta-data/iam/security-credentials/app\0";

/// A connection whose records are made one after the other.
pub struct Connection {
    number: u64,
    sent: u32,
    received: u32,
}

impl Connection {
    /// Makes one that no other has the number of.
    pub fn new(number: u64) -> Self {
        Self { number, sent: 1_000, received: 2_000 }
    }

    /// Writes the record of the process that connects: a new one for each connection.
    pub fn connect(&self, time: u64, into: &mut Vec<u8>) {
        let mut ancestors = [Ancestor::default(); MAX_ANCESTORS];
        for (ancestor, pid) in ancestors.iter_mut().zip([900, 800, 1]) {
            *ancestor = Ancestor { pid, start_time: 5, comm: text(b"bash"), ..*ancestor };
        }
        let snapshot = Snapshot {
            kind: kind::CONNECT,
            flags: snapshot_flags::KERNEL | snapshot_flags::ARGUMENTS,
            time,
            socket: self.number,
            task: self.task(),
            ends: self.ends(),
            cgroup: 77,
            arguments_start: 4_096,
            arguments_end: 4_096 + ARGUMENTS.len() as u64,
            uid: 0,
            gid: 0,
            namespace_pid: 0,
            arguments_captured: ARGUMENTS.len() as u32,
            ancestor_count: 3,
            reserved: 0,
            thread_comm: text(b"curl"),
            comm: text(b"curl"),
            exe: text::<EXE_LENGTH>(b"curl"),
            ancestors,
        };
        into.clear();
        into.extend_from_slice(snapshot.as_bytes());
        into.extend_from_slice(ARGUMENTS);
    }

    /// Writes the record of a request.
    pub fn request(&mut self, bytes: &[u8], time: u64, into: &mut Vec<u8>) {
        let length = bytes.len() as u32;
        self.write(kind::REQUEST, tcp_flags::ACK, time, bytes, length, into);
        self.sent = self.sent.wrapping_add(length);
    }

    /// Writes the record of an answer's header.
    pub fn response(&mut self, time: u64, into: &mut Vec<u8>) {
        self.write(kind::RESPONSE, tcp_flags::ACK, time, HEAD, HEAD.len() as u32, into);
        self.received = self.received.wrapping_add(HEAD.len() as u32 + BODY);
    }

    /// Writes the record of a packet that acknowledges an answer.
    pub fn acknowledgment(&self, time: u64, into: &mut Vec<u8>) {
        self.write(kind::REQUEST, tcp_flags::ACK, time, b"", 0, into);
    }

    /// Writes the record of the caller's end.
    pub fn end(&mut self, time: u64, into: &mut Vec<u8>) {
        self.write(kind::REQUEST, tcp_flags::ACK | tcp_flags::RST, time, b"", 0, into);
    }

    fn write(
        &self,
        kind: u32,
        flags: u8,
        time: u64,
        bytes: &[u8],
        length: u32,
        into: &mut Vec<u8>,
    ) {
        let is_request = kind == kind::REQUEST;
        let (sequence, acknowledgment) =
            if is_request { (self.sent, self.received) } else { (self.received, self.sent) };
        let names_writer = is_request && length > 0;
        let segment = Segment {
            kind,
            tcp_flags: flags,
            ttl: 64,
            flags: if names_writer { segment_flags::SENDER } else { 0 },
            begins: if names_writer { request_start::IN_TURN } else { request_start::NO },
            time,
            socket: self.number,
            sequence,
            acknowledgment,
            length,
            captured: bytes.len() as u32,
            task: if names_writer { self.task() } else { Task::default() },
            comm: if names_writer { text(b"curl") } else { [0; COMM_LENGTH] },
            ends: self.ends(),
            lost_requests: 0,
            lost_records: 0,
        };
        into.clear();
        into.extend_from_slice(segment.as_bytes());
        into.extend_from_slice(bytes);
    }

    fn task(&self) -> Task {
        let pid = 1_000 + (self.number % 30_000) as u32;
        Task { pid, tid: pid, start_time: 1_000 + self.number, exec_id: 1 }
    }

    fn ends(&self) -> EndpointPair {
        let mut ends = EndpointPair {
            local_port: 30_000 + (self.number % 30_000) as u16,
            peer_port: 80,
            ip_version: 4,
            socket_version: 4,
            netns: 4_026_531_840,
            ..EndpointPair::default()
        };
        ends.local[..4].copy_from_slice(&[10, 0, 0, 5]);
        ends.peer[..4].copy_from_slice(&[169, 254, 169, 254]);
        ends
    }
}

/// Fills a field that a NUL ends.
fn text<const N: usize>(name: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    for (place, byte) in field.iter_mut().zip(name) {
        *place = *byte;
    }
    field
}
