//! A connection whose both ends the test holds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use imds_audit::simulator::{Network, SERVICE_V4};
use rustix::net::{SendFlags, send};

/// How long a part may take from one end to the other.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A service whose answers the test writes, byte by byte.
#[derive(Debug)]
pub struct Listener<'a> {
    network: &'a Network,
    listener: TcpListener,
}

impl<'a> Listener<'a> {
    /// Listens on a port of the service's address.
    pub fn open(network: &'a Network, port: u16) -> Self {
        Self::open_at(network, SocketAddr::from((SERVICE_V4, port)))
    }

    /// Listens on an address of the service's namespace.
    pub fn open_at(network: &'a Network, address: SocketAddr) -> Self {
        let listener = network.listen(address).unwrap();
        Self { network, listener }
    }

    /// Opens a connection, from the client's side.
    pub fn call(&self) -> ConnectionPair {
        let address = self.listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&address, TIMEOUT);
        let client = self.network.in_client(connect).unwrap().unwrap();
        let (service, _) = self.listener.accept().unwrap();
        for end in [&client, &service] {
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(TIMEOUT)).unwrap();
        }
        ConnectionPair { client, service }
    }

    /// Sends a request and answers it, each in one piece, on a connection of their own.
    pub fn exchange(&self, request: impl AsRef<[u8]>, response: impl AsRef<[u8]>) {
        let mut line = self.call();
        line.ask(request);
        line.answer(response);
    }
}

/// A connection whose both ends the test holds. What one end writes has come to the other when
/// the call returns.
#[derive(Debug)]
pub struct ConnectionPair {
    client: TcpStream,
    service: TcpStream,
}

impl ConnectionPair {
    /// Sends bytes as the client, in a segment of their own.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) {
        pass(&mut self.client, &mut self.service, bytes.as_ref());
    }

    /// Sends bytes as the client with an urgent one among them, which the service reads past.
    pub fn ask_with_urgent(&mut self, before: &[u8], urgent: u8, after: &[u8]) {
        self.client.write_all(before).unwrap();
        assert_eq!(send(&self.client, &[urgent], SendFlags::OOB), Ok(1));
        self.client.write_all(after).unwrap();
        let mut came = vec![0; before.len() + after.len()];
        self.service.read_exact(&mut came).unwrap();
        assert_eq!(came, [before, after].concat());
    }

    /// Sends bytes as the service, in a segment of their own.
    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) {
        pass(&mut self.service, &mut self.client, bytes.as_ref());
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    thread::scope(|scope| {
        // More than the kernel keeps is written while the other end reads.
        scope.spawn(|| from.write_all(bytes).unwrap());
        to.read_exact(&mut came).unwrap();
    });
    assert!(came == bytes, "{} bytes came otherwise", bytes.len());
}
