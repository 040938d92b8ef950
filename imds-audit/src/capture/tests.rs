use std::fs;
use std::net::SocketAddr;

use super::blocks::WrittenPacket;
use super::packet::Headers;
use super::writer::PacketFiles;
use super::*;
use crate::event::{Body, Event, HostIdentity, Loss, LossUnit, Origin, StopReason};
use crate::pipeline::interrupt::Interrupt;
use crate::pipeline::replay::Replay;
use crate::source::pcapng::note::{PacketNote, SectionNote};

fn loss(reason: &'static str, count: u64) -> Loss {
    Loss { reason: reason.into(), what: LossUnit::Records, count, process: None }
}

#[test]
fn a_replay_tells_of_whose_packets_they_are_and_of_what_the_capture_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcapng");
    let host = HostIdentity { name: Some("host-a".to_owned()), id: None };
    let section = SectionNote {
        host: Some(host.clone()),
        run: Some("a run".to_owned()),
        labels: [("case", "4711"), ("role", "old")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };
    let info = SectionInfo {
        system: "Linux".to_owned(),
        application: "imds-audit".to_owned(),
        comment: section.comment("for people"),
    };
    let mut files = CaptureFiles::create(&path, FileLimits::default(), info).unwrap();
    let headers = Headers {
        source: "10.0.0.5:4000".parse().unwrap(),
        destination: "169.254.169.254:80".parse().unwrap(),
        ttl: 64,
        sequence: 7,
        acknowledgment: Some(9),
        syn: false,
        fin: false,
        rst: false,
        urgent: false,
        original: Vec::new(),
    };
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let (bytes, wire_length) = headers.packet(request, request.len());
    let comment = PacketNote::default().comment("a packet");
    let packet = WrittenPacket {
        interface: 0,
        time: 1_000,
        bytes: &bytes,
        wire_length,
        comment: &comment,
        lost: None,
    };
    files.add(Some(7), packet, vec![loss("request", 3)]);
    files.flush();
    files.close(vec![loss("capture", 2)], 2);

    let origin =
        Origin { labels: [("role".to_owned(), "new".to_owned())].into(), ..Origin::default() };
    let endpoints: Vec<SocketAddr> = vec![headers.destination];
    let mut replay = Replay::new(endpoints, origin, Vec::new(), Interrupt::new().unwrap());
    let mut events = Vec::new();
    let mut observer = |event: &Event| events.push(event.clone());
    replay.file(fs::read(&path).unwrap().as_slice(), &mut observer).unwrap();
    replay.finish(StopReason::EndOfInput, &mut observer);
    let losses: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Loss(event) => Some((event.loss.reason.to_string(), event.loss.count)),
            _ => None,
        })
        .collect();
    assert_eq!(losses, [("request".to_owned(), 3), ("capture".to_owned(), 2)]);
    let requests = events.iter().filter(|event| matches!(event.body, Body::Request(_))).count();
    assert_eq!(requests, 1);
    for event in &events {
        assert_eq!(event.origin.host.as_ref(), Some(&host));
        // What is said now counts more than what was said then.
        assert_eq!(event.origin.labels["role"], "new");
        assert_eq!(event.origin.labels["case"], "4711");
    }
}
