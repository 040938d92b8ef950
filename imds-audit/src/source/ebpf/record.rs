//! Reads the eBPF programs' records.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use imds_audit_ebpf::{COMM_LENGTH, Task, kind, request_start, segment_flags, tcp_flags};
use zerocopy::FromBytes;

use crate::segment::{ConnectionId, Direction, EndpointPair, RequestStart, Segment, Timestamp};
use crate::snapshot::{self, SnapshotRecord};

/// A record of the eBPF programs.
#[derive(Debug)]
pub enum Record<'a> {
    /// A process acted.
    Process {
        /// The connection that it acted on.
        connection: ConnectionId,
        /// The connection's ends.
        ends: EndpointPair,
        /// When it acted.
        time: Timestamp,
        /// Whether it opened the connection; else it wrote to it.
        is_connect: bool,
        /// Its record.
        record: SnapshotRecord<'a>,
    },
    /// A process opened a connection, and its snapshot was written before.
    Connect {
        /// The connection.
        connection: ConnectionId,
        /// The connection's endpoints.
        ends: EndpointPair,
        /// When it was opened.
        time: Timestamp,
        /// The task that opened it.
        task: Task,
        /// That thread's name, ended by a NUL.
        comm: [u8; COMM_LENGTH],
    },
    /// A packet passed.
    Segment {
        /// The packet.
        segment: Segment<'a>,
        /// The sending thread's name, ended by a NUL, where the segment names its writer.
        comm: [u8; COMM_LENGTH],
    },
}

/// A malformed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are fewer bytes than the fixed part has, or than it counts.
    #[error("a record of {0} bytes is cut")]
    Short(usize),
    /// It is of no known kind.
    #[error("a record is of the unknown kind {0}")]
    Kind(u32),
    /// Its connection is neither IPv4 nor IPv6.
    #[error("a record is of the unknown IP version {0}")]
    IpVersion(u8),
    /// It is one of a process, and malformed.
    #[error(transparent)]
    Process(#[from] snapshot::RecordError),
}

impl<'a> Record<'a> {
    /// Reads a record; what follows its counted bytes is not looked at.
    ///
    /// # Errors
    /// Returns an error if a length does not fit, or the kind is unknown.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let short = RecordError::Short(bytes.len());
        let (kind, _) = u32::read_from_prefix(bytes).map_err(|_| short)?;
        match kind {
            kind::CONNECT | kind::WRITER => {
                let record = SnapshotRecord::parse(bytes)?;
                let snapshot = record.snapshot();
                Ok(Self::Process {
                    connection: ConnectionId(snapshot.socket),
                    ends: read_ends(&snapshot.ends)?,
                    time: Timestamp(snapshot.time),
                    is_connect: kind == kind::CONNECT,
                    record,
                })
            }
            kind::CONNECT_ONLY => {
                let (connect, _) =
                    imds_audit_ebpf::Connect::ref_from_prefix(bytes).map_err(|_| short)?;
                Ok(Self::Connect {
                    connection: ConnectionId(connect.socket),
                    ends: read_ends(&connect.ends)?,
                    time: Timestamp(connect.time),
                    task: connect.task,
                    comm: connect.comm,
                })
            }
            kind::REQUEST | kind::RESPONSE => {
                let (record, rest) =
                    imds_audit_ebpf::Segment::ref_from_prefix(bytes).map_err(|_| short)?;
                let payload = rest.get(..record.captured as usize).ok_or(short)?;
                Ok(Self::Segment { segment: read_segment(record, payload)?, comm: record.comm })
            }
            other => Err(RecordError::Kind(other)),
        }
    }
}

fn read_segment<'a>(
    record: &imds_audit_ebpf::Segment,
    payload: &'a [u8],
) -> Result<Segment<'a>, RecordError> {
    let has = |flag: u8| record.tcp_flags & flag != 0;
    let is = |flag: u8| record.flags & flag != 0;
    Ok(Segment {
        connection: ConnectionId(record.socket),
        ends: read_ends(&record.ends)?,
        direction: if record.kind == kind::REQUEST {
            Direction::Request
        } else {
            Direction::Response
        },
        time: Timestamp(record.time),
        sequence: record.sequence,
        acknowledgment: has(tcp_flags::ACK).then_some(record.acknowledgment),
        syn: has(tcp_flags::SYN),
        fin: has(tcp_flags::FIN),
        rst: has(tcp_flags::RST),
        urgent: has(tcp_flags::URG),
        length: record.length.max(record.captured),
        payload,
        has_bodies: false,
        ttl: Some(record.ttl),
        writer: is(segment_flags::SENDER).then_some(record.task),
        begins: match record.begins {
            request_start::IN_TURN => RequestStart::InTurn,
            request_start::PIPELINED => RequestStart::Pipelined,
            request_start::RETRANSMITTED => RequestStart::Retransmitted,
            _ => RequestStart::No,
        },
        lost_requests: record.lost_requests,
        lost_records: record.lost_records,
        shared: is(segment_flags::SHARED_PAGES),
        translated: is(segment_flags::TRANSLATED),
    })
}

fn read_ends(ends: &imds_audit_ebpf::EndpointPair) -> Result<EndpointPair, RecordError> {
    let address = |bytes: [u8; 16]| match ends.ip_version {
        4 => {
            let [a, b, c, d, ..] = bytes;
            Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        6 => Ok(IpAddr::V6(Ipv6Addr::from(bytes))),
        other => Err(RecordError::IpVersion(other)),
    };
    let source = address(ends.local)?;
    Ok(EndpointPair {
        source: (ends.local_port != 0).then(|| SocketAddr::new(source, ends.local_port)),
        endpoint: SocketAddr::new(address(ends.peer)?, ends.peer_port),
        mapped: ends.ip_version == 4 && ends.socket_version == 6,
        netns: (ends.netns != 0).then_some(ends.netns),
    })
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    fn request() -> imds_audit_ebpf::Segment {
        let mut record = imds_audit_ebpf::Segment::new_zeroed();
        record.kind = kind::REQUEST;
        record.tcp_flags = tcp_flags::ACK;
        record.length = 3;
        record.captured = 3;
        record.flags = segment_flags::SENDER;
        record.task = Task { pid: 7, tid: 8, start_time: 9, exec_id: 1 };
        record.ends.ip_version = 4;
        record.ends.socket_version = 6;
        record.ends.peer[..4].copy_from_slice(&[169, 254, 169, 254]);
        record.ends.peer_port = 80;
        record
    }

    #[test]
    fn bytes_behind_the_counted_ones_are_not_read() {
        let mut bytes = request().as_bytes().to_vec();
        bytes.extend_from_slice(b"GETgarbage of an earlier record");
        let Record::Segment { segment, .. } = Record::parse(&bytes).unwrap() else {
            panic!("not a segment");
        };
        assert_eq!(segment.payload, b"GET");
        assert_eq!(segment.writer.unwrap().tid, 8);
        assert_eq!(segment.ends.endpoint, "169.254.169.254:80".parse().unwrap());
        assert!(segment.ends.mapped);
        assert_eq!(segment.ends.source, None);
    }

    #[test]
    fn a_record_that_counts_more_than_it_has_is_refused() {
        let mut record = request();
        record.captured = 4;
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend_from_slice(b"GET");
        assert_eq!(Record::parse(&bytes).unwrap_err(), RecordError::Short(139));
        assert_eq!(Record::parse(b"\x01").unwrap_err(), RecordError::Short(1));
        assert_eq!(Record::parse(&99u32.to_ne_bytes()).unwrap_err(), RecordError::Kind(99));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, kind in 0u32..7) {
            let mut bytes = bytes;
            bytes.resize(bytes.len().max(4), 0);
            bytes[..4].copy_from_slice(&kind.to_ne_bytes());
            let _ = Record::parse(&bytes);
            bytes.resize(1000, 0xff);
            let _ = Record::parse(&bytes);
        }
    }
}
