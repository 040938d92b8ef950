//! Contents of the ring of records, as it lies in memory: all that leaves the kernel.

use imds_audit::event::{Outcome, RequestEvent};
use imds_audit::internal::{Direction, Record};
use imds_audit::simulator::Topology;
use imds_audit_tests::{Listener, Region, TestBed, assert_absent, regions, until};

use super::secrets::{self, wire};
use super::{CLIENT, GET_V1};

/// The map of the ring of records, as it shows among the regions.
const RING: &str = "anon_inode:bpf-map";

/// The bytes of a page, which stand before the records: how far the kernel has written.
const PAGE: usize = 4096;

/// What precedes a record: its length with two flags, and its page's number (`struct
/// bpf_ringbuf_hdr` in kernel/bpf/ringbuf.c).
const HEADER: usize = 8;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;

/// Gives the records that the kernel wrote, from the first on: none was written over.
fn records(ring: &Region) -> Vec<&[u8]> {
    let (written, data) = ring.bytes.split_at(PAGE);
    let written = usize::try_from(u64::from_ne_bytes(written[..8].try_into().unwrap())).unwrap();
    // The data is mapped twice, one behind the other, so that every record lies in one piece.
    assert!(written <= data.len() / 2, "{written} bytes: the first records were written over");
    let mut records = Vec::new();
    let mut position = 0;
    while position < written {
        let header = u32::from_ne_bytes(data[position..position + 4].try_into().unwrap());
        assert_eq!(header & BUSY, 0, "a record is being written");
        let length = usize::try_from(header & !DISCARDED).unwrap();
        if header & DISCARDED == 0 {
            records.push(&data[position + HEADER..position + HEADER + length]);
        }
        position += (HEADER + length).next_multiple_of(HEADER);
    }
    records
}

/// Finds the ring's memory among that of the program.
fn ring(scene: &TestBed) -> Region {
    let regions = regions(scene.audit.pid());
    let is_ring = |region: &Region| region.name.contains(RING) && region.bytes.len() > PAGE;
    regions.into_iter().find(is_ring).unwrap()
}

#[test]
fn no_body_of_a_response_enters_the_ring() {
    let Some((scene, address)) = TestBed::alone("json", &["--endpoint", &secrets::desk()]) else {
        return;
    };
    let desk = Listener::open(&scene.network, secrets::DESK);
    let heads: Vec<_> =
        wire::RESPONSES.iter().enumerate().map(|(n, case)| case.play(&desk, n)).collect();
    let bodies: Vec<_> =
        wire::BODIES.iter().enumerate().map(|(n, case)| case.play(&desk, 100 + n)).collect();
    let last = scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let is_last = |request: &RequestEvent| request.process.pid == Some(last.pid);
    assert!(until(|| scene.audit.requests().iter().any(is_last).then_some(())).is_some());

    let ring = ring(&scene);
    let mut answers = 0;
    let mut seen = Vec::new();
    for bytes in records(&ring) {
        let Record::Segment { segment, .. } = Record::parse(bytes).unwrap() else { continue };
        if segment.direction == Direction::Response && !segment.payload.is_empty() {
            assert!(segment.length as usize >= segment.payload.len());
            seen.extend_from_slice(segment.payload);
            answers += 1;
        }
    }
    // The search is one that finds: header bytes do leave the kernel, all of them here.
    assert!(answers >= wire::BODIES.len() + wire::RESPONSES.len() - 3, "{answers} answers");
    for needle in &heads {
        assert!(needle.found_in(&seen).is_some(), "{} is not in the ring", needle.place);
    }
    assert_absent(&bodies, "the records", &seen);
    // Nor in what lies between the records and behind their counted bytes.
    assert_absent(&bodies, "the ring's memory", &ring.bytes);
}

#[test]
fn the_answer_behind_one_that_has_a_length_and_no_body_is_seen() {
    let Some(scene) = TestBed::with(&["--endpoint", &secrets::desk()], Topology::Direct) else {
        return;
    };
    let desk = Listener::open(&scene.network, secrets::DESK);
    let (get, ok) = ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (request, response) in [
        ("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n"),
        (get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 28\r\n\r\n"),
        (get, "HTTP/1.1 204 No Content\r\nContent-Length: 28\r\n\r\n"),
        (
            "HEAD / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n",
        ),
    ] {
        let mut line = desk.call();
        for (request, response) in [(request, response), (get, ok), (get, ok)] {
            line.ask(request);
            line.answer(response);
        }
        // One answer in a segment with the one before.
        line.ask([request, get].concat());
        line.answer([response, ok].concat());
    }
    scene.wait_for_events(4 * 5);
    let heads = scene.requests().into_iter().map(|request| request.http.unwrap());
    let statuses: Vec<_> = heads.map(|http| http.status.unwrap()).collect();
    let expected = [200, 304, 204, 200].map(|first| [first, 200, 200, first, 200]);
    assert_eq!(statuses, expected.concat());
}

#[test]
fn a_header_of_several_kilobytes_is_seen_to_its_end() {
    let Some(scene) = TestBed::with(&["--endpoint", &secrets::desk()], Topology::Direct) else {
        return;
    };
    let desk = Listener::open(&scene.network, secrets::DESK);
    let mut line = desk.call();
    for headers in [25, 60, 200, 1] {
        let long = format!("X-Proxy: {}\r\n", "x".repeat(89)).repeat(headers);
        line.ask("GET / HTTP/1.1\r\n\r\n");
        line.answer(format!("HTTP/1.1 200 OK\r\n{long}Content-Length: 2\r\n\r\nok"));
    }
    scene.wait_for_events(4);
    let outcomes: Vec<_> = scene.requests().iter().map(|request| request.imds.outcome).collect();
    assert_eq!(outcomes, [Outcome::Served; 4]);
}

#[test]
fn a_process_that_connects_again_and_again_has_one_snapshot_a_second() {
    const INTERVAL: u64 = 1_000_000_000;
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let steps = ["times", "50", "connect", &address, "send", GET_V1, "receive", "close"];
    let caller = scene.run_well(CLIENT, &steps);
    scene.wait_for_events(50);
    for RequestEvent { process, .. } in scene.requests() {
        assert_eq!(process.pid, Some(caller.pid));
        assert_eq!(process.args.as_ref(), Some(&caller.arguments));
    }
    let ring = ring(&scene);
    let (mut snapshots, mut connects) = (Vec::new(), 0);
    for bytes in records(&ring) {
        match Record::parse(bytes).unwrap() {
            Record::Process { time, .. } => snapshots.push(time.0),
            Record::Connect { .. } => connects += 1,
            Record::Segment { .. } => {}
        }
    }
    assert_eq!(snapshots.len() + connects, 50);
    assert!(snapshots.windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL), "{snapshots:?}");
}
