//! The ways to a service: straight, through a plain forwarder, and through a rehearsal's front.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use imds_audit::simulator::{Network, SERVICE_V4};
use rustix::time::{ClockId, clock_gettime};

use crate::line::RESPONSE;

/// How many connections a service, or the forwarder, serves at once: each on a thread.
pub const THREADS: usize = 16;
/// How long anything may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A request with a token.
const REQUEST: &[u8] = b"GET /latest/meta-data/instance-id HTTP/1.1\r\n\
    Host: 169.254.169.254\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
    X-aws-ec2-metadata-token: AQAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
/// One without, of the same length: the header is named otherwise.
const REQUEST_WITHOUT_TOKEN: &[u8] = b"GET /latest/meta-data/instance-id HTTP/1.1\r\n\
    Host: 169.254.169.254\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
    X-aws-ec2-metadata-nokey: AQAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
const _: () = assert!(REQUEST.len() == REQUEST_WITHOUT_TOKEN.len());

/// A way to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight.
    Direct,
    /// Through a program that passes bytes on and looks at none.
    Forwarder,
    /// Through the front.
    Front,
}

/// All of them.
pub const WAYS: [Way; 3] = [Way::Direct, Way::Forwarder, Way::Front];

impl Way {
    /// Returns the name of its column.
    pub const fn column(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Forwarder => "forwarder",
            Self::Front => "front",
        }
    }
}

/// Listens where the services are, one for each way.
///
/// # Errors
/// Returns an error if the network does not work.
pub fn listeners(network: &Network) -> Result<[TcpListener; WAYS.len()]> {
    // Nobody asks on these ports but this program.
    let first = 33_000 + u16::try_from(std::process::id() % 10_000)? * 3;
    let listen = |port| network.listen(SocketAddr::from((SERVICE_V4, port)));
    Ok([listen(first)?, listen(first + 1)?, listen(first + 2)?])
}

/// The services, and the forwarder before one of them. Their threads end with this program.
pub struct Ways {
    direct: SocketAddr,
    forwarder: SocketAddr,
    front: SocketAddr,
    /// The processor time of the forwarder, in nanoseconds.
    forwarding: Arc<AtomicU64>,
}

impl Ways {
    /// Starts the services, and the forwarder in this thread's network namespace.
    ///
    /// # Errors
    /// Returns an error if there can be no more threads, or no address.
    pub fn open(listeners: [TcpListener; WAYS.len()]) -> Result<Self> {
        let [direct, behind, front] = listeners;
        let forwarder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let forwarding = Arc::new(AtomicU64::new(0));
        let target = behind.local_addr()?;
        let ways = Self {
            direct: direct.local_addr()?,
            forwarder: forwarder.local_addr()?,
            front: front.local_addr()?,
            forwarding: Arc::clone(&forwarding),
        };
        for listener in [direct, behind, front] {
            serve(&listener, answer)?;
        }
        serve(&forwarder, move |client| forward(client, target, &forwarding))?;
        Ok(ways)
    }

    /// Returns the address that callers connect to.
    pub fn address(&self, way: Way) -> SocketAddr {
        match way {
            Way::Direct => self.direct,
            Way::Forwarder => self.forwarder,
            Way::Front => self.front,
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn connect(&self, way: Way) -> Result<Connection> {
        let stream = TcpStream::connect(self.address(way)).context("cannot connect")?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Connection(stream))
    }

    /// Returns whether a request without a token is refused: whether the front stands before the
    /// service.
    ///
    /// # Errors
    /// Returns an error if the network does not work, as where the front has just ended.
    pub fn is_rehearsed(&self) -> Result<bool> {
        let Connection(mut stream) = self.connect(Way::Front)?;
        stream.write_all(REQUEST_WITHOUT_TOKEN)?;
        let mut status = [0; b"HTTP/1.1 401".len()];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b"401"))
    }

    /// Returns how much processor time the forwarder has had for the connections that it served.
    pub fn forwarding_time(&self) -> Duration {
        Duration::from_nanos(self.forwarding.load(Ordering::Relaxed))
    }
}

/// A connection to a service.
pub struct Connection(TcpStream);

impl Connection {
    /// Sends a request with a token, and takes the answer.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn exchange(&mut self) -> Result<()> {
        self.0.write_all(REQUEST)?;
        let mut response = [0; RESPONSE.len()];
        self.0.read_exact(&mut response)?;
        anyhow::ensure!(response == *RESPONSE, "the response has changed on its way");
        Ok(())
    }
}

/// Serves connections on threads of their own, until this program ends.
fn serve(
    listener: &TcpListener,
    act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    for _ in 0..THREADS {
        let (listener, act) = (listener.try_clone()?, act.clone());
        thread::Builder::new().spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                client.set_nodelay(true).ok();
                // A caller that breaks off ends its connection alone.
                act(client).ok();
            }
        })?;
    }
    Ok(())
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    loop {
        client.read_exact(&mut request)?;
        client.write_all(RESPONSE)?;
    }
}

/// Passes requests and responses on, in turn, as bytes.
fn forward(mut client: TcpStream, target: SocketAddr, spent: &AtomicU64) -> io::Result<()> {
    let mut service = TcpStream::connect(target)?;
    service.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    let mut before = thread_time();
    loop {
        for is_request in [true, false] {
            let (from, to) =
                if is_request { (&mut client, &mut service) } else { (&mut service, &mut client) };
            let count = from.read(&mut buffer)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            to.write_all(bytes)?;
        }
        let now = thread_time();
        let time = u64::try_from(now.saturating_sub(before).as_nanos()).unwrap_or(0);
        spent.fetch_add(time, Ordering::Relaxed);
        before = now;
    }
}

fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
