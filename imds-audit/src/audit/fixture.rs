//! Request events for tests, built as the audit builds them.

use std::sync::Arc;

use super::attribution::Actor;
use super::clock::Clock;
use super::describe::{self, Describer, ProcessPart};
use crate::event::{Attribution, RequestEvent};
use crate::flow::{Request, RequestHead, Response, ResponseHead};
use crate::process::{self, fixture};
use crate::segment::{EndpointPair, Timestamp};

/// 2026-11-22, 01:02:03, at zero since boot.
pub(crate) const CLOCK: Clock = Clock { offset: 1_795_309_323_000_000_000 };

/// Returns the ends of the example's connection.
pub(crate) fn ends() -> EndpointPair {
    EndpointPair {
        source: Some("10.0.0.5:43210".parse().unwrap()),
        endpoint: "169.254.169.254:80".parse().unwrap(),
        mapped: false,
        netns: Some(4_026_531_840),
    }
}

/// Returns curl, the process 4242, with these arguments.
pub(crate) fn actor(args: &[&[u8]]) -> Actor {
    let mut snapshot = fixture::empty();
    (snapshot.task.pid, snapshot.task.tid) = (4242, 4242);
    snapshot.task.start_time = 100_000_000;
    snapshot.comm[..4].copy_from_slice(b"curl");
    snapshot.thread_comm = snapshot.comm;
    snapshot.ancestor_count = 1;
    snapshot.ancestors[0].pid = 4200;
    snapshot.ancestors[0].comm[..4].copy_from_slice(b"bash");
    let bytes = fixture::bytes(snapshot, &[]);
    let mut process = crate::snapshot::SnapshotRecord::parse(&bytes).unwrap().process();
    let exe = (*b"/usr/bin/curl").into();
    process.exe = Some(process::Executable::Path { path: exe, deleted: false });
    // Longer command lines than a snapshot holds.
    let memory: Vec<u8> = args.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect();
    process.arguments = Some(process::Arguments::new(&memory, false));
    Arc::make_mut(&mut process.ancestors[0]).arguments =
        Some(process::Arguments::new(b"bash\0/opt/refresh.sh\0", false));
    process.cgroup = Some((*b"/system.slice/refresh.service").into());
    process.location.unit = Some((*b"refresh.service").into());
    Actor { task: process.task, comm: snapshot.comm, process: Some(Arc::new(process)) }
}

/// Describes a request with these headers, from a process with these arguments.
pub(crate) fn request(headers: &[(&[u8], &[u8])], args: &[&[u8]]) -> RequestEvent {
    let mut head = b"GET /latest/meta-data/iam/security-credentials/app HTTP/1.1\r\n".to_vec();
    for (name, value) in headers {
        head.extend([name, &b": "[..], value, b"\r\n"].concat());
    }
    let request = Request {
        started: Timestamp(123_456_000),
        head: Ok(RequestHead::parse(&head).unwrap()),
        writer: None,
        last_writer: None,
        shared: false,
    };
    let response = Response::Answered {
        time: Timestamp(124_268_000),
        head: ResponseHead::parse(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
        ttl: Some(1),
    };
    let secrets = describe::secrets(&request);
    let actor = actor(args);
    let part = ProcessPart::describe(Some(&actor), Attribution::Writer, CLOCK, &secrets);
    Describer::new(CLOCK).request(&ends(), &request, &response, part, &secrets)
}
