//! Segments for tests and fuzz targets.

use std::net::SocketAddr;

use crate::segment::{ConnectionId, Direction, EndpointPair, RequestStart, Segment, Timestamp};

/// Returns the ends of a connection to the service whose caller's end is not known.
pub(crate) fn ends() -> EndpointPair {
    let endpoint = SocketAddr::from(([169, 254, 169, 254], 80));
    EndpointPair { source: None, endpoint, mapped: false, netns: None }
}

/// Returns a segment of the connection 1 with these bytes and nothing else.
pub(crate) fn segment(direction: Direction, sequence: u32, payload: &[u8]) -> Segment<'_> {
    Segment {
        connection: ConnectionId(1),
        ends: ends(),
        direction,
        time: Timestamp(1),
        sequence,
        acknowledgment: None,
        syn: false,
        fin: false,
        rst: false,
        urgent: false,
        length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload,
        has_bodies: true,
        ttl: None,
        writer: None,
        begins: RequestStart::No,
        lost_requests: 0,
        lost_records: 0,
        shared: false,
        translated: false,
    }
}
