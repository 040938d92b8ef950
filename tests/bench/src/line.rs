//! Connections to an audited address whose both ends this program holds, so that one thread can
//! send a request, answer it and take the answer, and nothing but that takes time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use imds_audit::simulator::{Network, SERVICE_V4, Topology};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::audit::Audit;
use super::capture::Capture;
use super::processor::Processor;

/// How long a caller may take to come.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections are opened at once. Each takes a kilobyte of the program's ring, and
/// thousands without a pause would be more than it has room for.
const AT_ONCE: usize = 16;

/// A request without a token, as curl sends it.
pub const REQUEST: &[u8] = b"GET /latest/meta-data/instance-id HTTP/1.1\r\n\
    Host: 169.254.169.254\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

/// The same with a token.
pub const REQUEST_WITH_TOKEN: &[u8] = b"GET /latest/meta-data/instance-id HTTP/1.1\r\n\
    Host: 169.254.169.254\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
    X-aws-ec2-metadata-token: AQAEAFstandsForATokenOfTheBenchmarks0123456789==\r\n\r\n";

/// The answer, as the service gives it.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
    Accept-Ranges: none\r\nLast-Modified: Thu, 26 Nov 2026 10:00:00 GMT\r\nContent-Length: 19\r\n\
    Date: Thu, 26 Nov 2026 10:00:00 GMT\r\nServer: EC2ws\r\nConnection: keep-alive\r\n\r\n\
    i-0123456789abcdef0";

/// A private network with a listener on an address that only this program asks.
pub struct Listener {
    /// The network.
    pub network: Network,
    listener: TcpListener,
    /// The audited address.
    pub address: SocketAddr,
    _reservation: Option<UnixDatagram>,
}

impl Listener {
    /// Makes one.
    ///
    /// # Errors
    /// Returns an error if the network cannot be made.
    pub fn new() -> Result<Self> {
        let (port, reservation) = reserve_port()?;
        Ok(Self { _reservation: Some(reservation), ..Self::at(port)? })
    }

    /// Makes one whose address has this port.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn at(port: u16) -> Result<Self> {
        let network = Network::new(Topology::Direct)?;
        let address = SocketAddr::from((SERVICE_V4, port));
        let listener = network.listen(address)?;
        // A caller that does not come shall not be waited for.
        set_socket_timeout(&listener, Timeout::Recv, Some(TIMEOUT))?;
        allow_descriptors()?;
        Ok(Self { network, listener, address, _reservation: None })
    }

    /// Starts the program on the address.
    ///
    /// # Errors
    /// Returns the errors of [`Audit::start`].
    pub fn audit(&self, program: &Path, processor: Processor) -> Result<Audit> {
        self.audit_with(program, processor, |_| {})
    }

    /// As [`Listener::audit`], and shows each piece of the output to `look` as soon as it is read.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn audit_with(
        &self,
        program: &Path,
        processor: Processor,
        look: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Audit> {
        let address = self.address.to_string();
        Audit::start_with(program, &["--endpoint", &address], processor, look)
    }

    /// Starts the program, capturing what the desk's callers ask.
    ///
    /// # Errors
    /// Returns an error as [`Capture::start`] does.
    pub fn capture(&self, program: &Path, processor: Processor) -> Result<Capture> {
        Capture::start(program, &["--endpoint", &self.address.to_string()], processor)
    }

    /// As [`Listener::audit_with`], with a packet socket in the callers' network namespace.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn audit_packets(
        &self,
        program: &Path,
        processor: Processor,
        look: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Audit> {
        let address = self.address.to_string();
        let arguments = ["--source", "packet", "--endpoint", &address];
        Audit::start_command(self.network.command(program)?, &arguments, processor, look)
    }

    /// Opens so many connections, not more than [`AT_ONCE`] in a millisecond.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn open(&self, count: usize) -> Result<Vec<Pair>> {
        let open = |number: usize| {
            if number % AT_ONCE == AT_ONCE - 1 {
                sleep(Duration::from_millis(1));
            }
            self.open_here()
        };
        self.network
            .in_client(|| (0..count).map(open).collect::<io::Result<Vec<_>>>())?
            .context("cannot connect")
    }

    /// Opens a connection, on a thread that is in the client's namespace.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn open_here(&self) -> io::Result<Pair> {
        let client = TcpStream::connect(self.address)?;
        let (server, _) = self.listener.accept()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Pair { client, server, buffer: [0; 1024] })
    }

    /// Returns the listener, for a service that is not this thread.
    pub fn listener(&self) -> &TcpListener {
        &self.listener
    }
}

/// A connection, with both ends.
pub struct Pair {
    /// The caller's end.
    pub client: TcpStream,
    server: TcpStream,
    buffer: [u8; 1024],
}

impl Pair {
    /// Sends a request, answers it and takes the answer.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn exchange(&mut self) -> io::Result<()> {
        self.exchange_of(REQUEST)
    }

    /// As [`Pair::exchange`], of this request.
    ///
    /// # Errors
    /// Returns an error as there.
    pub fn exchange_of(&mut self, request: &[u8]) -> io::Result<()> {
        self.client.write_all(request)?;
        take(&mut self.server, &mut self.buffer, request.len())?;
        self.server.write_all(RESPONSE)?;
        take(&mut self.client, &mut self.buffer, RESPONSE.len())
    }
}

/// Takes so many bytes.
fn take(stream: &mut TcpStream, buffer: &mut [u8; 1024], length: usize) -> io::Result<()> {
    let room = buffer.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
    stream.read_exact(room)
}

/// Reserves a port that nobody else on this host asks on, neither another instrument nor the end-to-end
/// tests (`own_port` there): the audit would count their requests too. Only one process can have a
/// socket of a name.
fn reserve_port() -> Result<(u16, UnixDatagram)> {
    let first = std::process::id();
    let mut ports = (0..30_000).map(|number| 20_000 + first.wrapping_add(number) % 30_000);
    let reserve = |port: u32| {
        let name = UnixAddr::from_abstract_name(format!("imds-audit-test-port-{port}")).ok()?;
        Some((u16::try_from(port).ok()?, UnixDatagram::bind_addr(&name).ok()?))
    };
    ports.find_map(reserve).context("no port is free")
}

/// Lets this process have as many descriptors as it may.
fn allow_descriptors() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, limit).context("cannot have many descriptors")
}
