//! A ring of io_uring that the kernel polls: who sends then is a thread of the kernel before Linux
//! 5.12 (5.10.162 of the 5.10 series), and one of the process's own since.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use imds_audit::event::{Attribution, Body, Event, Origin, StopReason};
use imds_audit::internal::{EventFilter, Format, Options, Roots, Session, Sink, Writer};
use imds_audit::simulator::{BackgroundService, Network, SERVICE_V4, Service, Topology};
use io_uring::{IoUring, cqueue, opcode, types};
use tokio::sync::oneshot;

/// How long the polling thread looks before it sleeps, in milliseconds.
const POLLER_IDLE: u32 = 1_000;
const REQUEST: &[u8] = b"GET /latest/meta-data/ HTTP/1.1\r\nHost: imds\r\n\r\n";
/// How many requests are sent.
const REQUESTS: usize = 2;

/// Asks over such a ring, and expects this process to be named and no thread of the kernel.
pub fn a_polled_ring_is_its_owner_s() -> Result<()> {
    let network = Network::new(Topology::Loopback)?;
    let _service = BackgroundService::start(Service::builder(), network.listeners()?)?;
    let named = audit(move || network.in_client(ask)?.context("cannot ask"))?;
    ensure!(named.len() == REQUESTS, "{} requests are reported", named.len());
    for (pid, attribution) in named {
        // Where it is a thread of the kernel's, nobody was ever seen to send.
        let is_known = matches!(attribution, Attribution::Writer | Attribution::Connector);
        if pid != Some(process::id()) || !is_known {
            bail!("{pid:?} is named as {attribution:?}, and not {}", process::id());
        }
    }
    Ok(())
}

/// Who was named for each request that was made, and how that is known.
type Named = Vec<(Option<u32>, Attribution)>;

/// Audits while something is done on another thread.
fn audit(act: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Named> {
    let endpoints = vec![SocketAddr::from((SERVICE_V4, 80))];
    let options = Options { endpoints, ..Options::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sink =
            Sink::start(Format::Json, EventFilter::default(), Writer::new(io::sink())).unwrap();
        let session = Session::start(&options, &Roots::default(), Origin::default(), vec![sink])?;
        let (done, finished) = oneshot::channel();
        let actor = thread::spawn(move || {
            let result = act();
            // Nobody listens any more only where the audit has failed.
            done.send(()).ok();
            result
        });
        let stop = async {
            finished.await.ok();
            StopReason::EndOfInput
        };
        let mut named = Named::new();
        let watch = |event: &Event| {
            if let Body::Request(request) = &event.body {
                named.push((request.process.pid, request.process.attribution));
            }
        };
        session.run(stop, watch).await?;
        actor.join().map_err(|_| anyhow!("the caller panicked"))??;
        Ok(named)
    })
}

/// Sends requests over a ring, and waits for the response to each.
fn ask() -> io::Result<()> {
    let stream = TcpStream::connect((SERVICE_V4, 80))?;
    let mut ring: IoUring = IoUring::builder().setup_sqpoll(POLLER_IDLE).build(4)?;
    // Before Linux 5.11 such a ring takes registered files only.
    ring.submitter().register_files(&[stream.as_raw_fd()])?;
    let length = u32::try_from(REQUEST.len()).map_err(io::Error::other)?;
    for _ in 0..REQUESTS {
        let entry = opcode::Send::new(types::Fixed(0), REQUEST.as_ptr(), length).build();
        // SAFETY: the bytes are static, and the socket outlives the completion.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let completion: Option<cqueue::Entry> = ring.completion().next();
        let sent = completion.map_or(-1, |completion| completion.result());
        if sent < 0 || sent.cast_unsigned() != length {
            return Err(io::Error::other(format!("the ring sent {sent} bytes")));
        }
        // The response's beginning: the next request then acknowledges more.
        let mut response = [0; 4096];
        io::Read::read(&mut (&stream), &mut response)?;
    }
    Ok(())
}
