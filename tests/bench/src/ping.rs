//! Traffic of this program's own: round trips of one small message, and connects.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use imds_audit::simulator::Namespace;
use rustix::net::sockopt::{Timeout, set_socket_linger, set_socket_timeout};

use super::processor::{Processor, pin};

/// How long a datagram or a connection is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The message: small, as in the worst case.
const MESSAGE: [u8; 32] = [b'x'; 32];

/// Where two that talk to each other are.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// The client's namespace.
    pub client: &'a Namespace,
    /// The server's.
    pub server: &'a Namespace,
    /// The server's address.
    pub address: IpAddr,
}

impl Ends<'_> {
    /// Returns how many round trips a second a TCP connection does.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn tcp(self, trips: u32) -> Result<f64> {
        let listener = self.listen()?;
        let server = listener.local_addr()?;
        self.time(
            trips,
            move || {
                let (mut stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let mut message = MESSAGE;
                for _ in 0..trips {
                    stream.read_exact(&mut message)?;
                    stream.write_all(&message)?;
                }
                Ok(())
            },
            || {
                let mut stream = TcpStream::connect(server)?;
                stream.set_nodelay(true)?;
                let mut message = MESSAGE;
                let start = Instant::now();
                for _ in 0..trips {
                    stream.write_all(&message)?;
                    stream.read_exact(&mut message)?;
                }
                Ok(start.elapsed())
            },
        )
    }

    /// Returns how many round trips a second a pair of UDP sockets does.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn udp(self, trips: u32) -> Result<f64> {
        let socket = self.server.run(|| UdpSocket::bind((self.address, 0)))??;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let server = socket.local_addr()?;
        self.time(
            trips,
            move || {
                let mut message = MESSAGE;
                for _ in 0..trips {
                    let (_, from) = socket.recv_from(&mut message)?;
                    socket.send_to(&message, from)?;
                }
                Ok(())
            },
            || {
                let any = SocketAddr::from(([0, 0, 0, 0], 0));
                let socket = UdpSocket::bind(any)?;
                socket.set_read_timeout(Some(TIMEOUT))?;
                socket.connect(server)?;
                let mut message = MESSAGE;
                let start = Instant::now();
                for _ in 0..trips {
                    socket.send(&message)?;
                    socket.recv(&mut message)?;
                }
                Ok(start.elapsed())
            },
        )
    }

    /// Returns how many connections a second are made, accepted and broken off; an orderly end
    /// would leave each port in use for a minute. The server breaks off, and the client waits for
    /// that: one that went ahead would fill the queue of those that wait to be accepted, and its
    /// next connect be repeated after a second.
    ///
    /// # Errors
    /// Returns an error if the network does not work.
    pub fn connects(self, count: u32) -> Result<f64> {
        let listener = self.listen()?;
        let server = listener.local_addr()?;
        self.time(
            count,
            move || {
                for _ in 0..count {
                    let (stream, _) = listener.accept()?;
                    set_socket_linger(&stream, Some(Duration::ZERO))?;
                }
                Ok(())
            },
            || {
                let start = Instant::now();
                for _ in 0..count {
                    // It may be broken off before the client looks at it for the first time.
                    let end = TcpStream::connect(server).and_then(|mut made| made.read(&mut [0]));
                    if !end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
                    {
                        return Err(io::Error::other(format!("not broken off: {end:?}")));
                    }
                }
                Ok(start.elapsed())
            },
        )
    }

    /// Listens on a port of the server's, for no longer than whoever is to come may take.
    fn listen(self) -> Result<TcpListener> {
        let listener = self.server.run(|| TcpListener::bind((self.address, 0)))??;
        set_socket_timeout(&listener, Timeout::Recv, Some(TIMEOUT))?;
        Ok(listener)
    }

    /// Runs both sides, on the same processor, and returns how often a second.
    fn time(
        self,
        count: u32,
        serve: impl FnOnce() -> io::Result<()> + Send,
        ask: impl FnOnce() -> io::Result<Duration> + Send,
    ) -> Result<f64> {
        let taken = thread::scope(|scope| {
            let server = scope.spawn(|| {
                pin(Processor::Second)?;
                serve()
            });
            let taken = self.client.run(|| {
                pin(Processor::Second)?;
                ask()
            })?;
            let served = server.join().map_err(|_| anyhow!("the server's thread panicked"))?;
            let taken = taken?;
            served?;
            anyhow::Ok(taken)
        })?;
        Ok(f64::from(count) / taken.as_secs_f64())
    }
}
