//! Syslog messages (RFC 5424), to a local socket or by UDP (RFC 5426).

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
};

use super::destination::Destination;

/// The longest message by UDP: what an IPv4 datagram holds.
const MAX_UDP: usize = 65_507;
/// The program's name in a message.
const APP_NAME: &str = "imds-audit";
/// Severity "informational" (RFC 5424, table 2).
const SEVERITY: u8 = 6;

/// Where syslog is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyslogAddress {
    /// A local datagram socket, such as `/dev/log`.
    Unix(PathBuf),
    /// A server, by UDP.
    Udp(SocketAddr),
}

/// Sends each line as one syslog message. The message text is the event's JSON, without the byte
/// order mark that RFC 5424 would have UTF-8 begin with, because few receivers take it off.
#[derive(Debug)]
pub(crate) struct Syslog {
    address: SyslogAddress,
    socket: Option<Socket>,
    priority: u8,
    host: String,
    message: Vec<u8>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Syslog {
    /// Makes a destination that connects at the first line.
    ///
    /// `facility` is a number from 0 to 23 (RFC 5424, table 1), `host` the name of the audited host.
    pub(crate) fn new(address: SyslogAddress, facility: u8, host: &str) -> Self {
        let host = field(host, 255);
        Self { address, socket: None, priority: facility * 8 + SEVERITY, host, message: Vec::new() }
    }

    fn connect(&self) -> io::Result<Socket> {
        Ok(match &self.address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Socket::Unix(socket)
            }
            SyslogAddress::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Socket::Udp(socket)
            }
        })
    }

    fn send(&mut self) -> io::Result<usize> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect()?,
        };
        let sent = match &socket {
            Socket::Unix(socket) => socket.send(&self.message),
            Socket::Udp(_) if self.message.len() > MAX_UDP => {
                Err(rustix::io::Errno::MSGSIZE.into())
            }
            Socket::Udp(socket) => socket.send(&self.message),
        };
        match sent {
            // The daemon was restarted, its socket is another: the next line connects anew.
            Err(error) if !is_too_long(&error) => Err(error),
            sent => {
                self.socket = Some(socket);
                sent
            }
        }
    }
}

impl Destination for Syslog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
        let line = bytes.get(..end).unwrap_or_default();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        self.message.clear();
        let head = format!(
            "<{}>1 {:.6} {} {APP_NAME} {} - - ",
            self.priority,
            jiff::Timestamp::now(),
            self.host,
            std::process::id(),
        );
        self.message.extend_from_slice(head.as_bytes());
        self.message.extend_from_slice(text);
        let result = match self.send() {
            Err(error) if is_restarted(&error) => self.send(),
            result => result,
        };
        match result {
            Ok(_) => Ok(end),
            // To a writer that would mean that the reader is gone for good.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                Err(ErrorKind::ConnectionReset.into())
            }
            Err(error) => Err(error),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.socket = None;
        Ok(())
    }
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

/// Returns whether another connection may help. A UDP server that is not there is noticed with the
/// next message only, by its host's ICMP message.
fn is_restarted(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
    )
}

/// Returns a header field: printable ASCII without spaces, `-` if there is none.
fn field(text: &str, longest: usize) -> String {
    let field: String =
        text.chars().filter(|letter| letter.is_ascii_graphic()).take(longest).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::writer::Writer;

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = vec![0; 1 << 20];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_line_is_a_message_of_rfc_5424() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::new(SyslogAddress::Unix(path), 16, "node 1\n");
        let mut writer = Writer::new(syslog);
        writer.write(b"{\"a\":1}\n{\"b\":2}\n").unwrap();
        for text in ["{\"a\":1}", "{\"b\":2}"] {
            let message = receive(&server);
            let parts: Vec<&str> = message.splitn(8, ' ').collect();
            assert_eq!(parts[0], "<134>1");
            assert!(parts[1].parse::<jiff::Timestamp>().is_ok(), "{message}");
            let pid = std::process::id().to_string();
            assert_eq!(parts[2..], ["node1", "imds-audit", &pid, "-", "-", text]);
        }
        assert_eq!(writer.lost(), 0);
    }

    #[test]
    fn a_daemon_that_is_away_costs_counted_lines_and_one_that_comes_back_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::new(Syslog::new(SyslogAddress::Unix(path.clone()), 3, "node"));
        writer.write(b"a\nb\n").unwrap();
        assert_eq!((writer.lost(), writer.is_failing()), (2, true));
        let server = UnixDatagram::bind(&path).unwrap();
        writer.write(b"c\n").unwrap();
        assert!(receive(&server).ends_with(" c"));
        drop(server);
        std::fs::remove_file(&path).unwrap();
        let server = UnixDatagram::bind(&path).unwrap();
        writer.write(b"d\n").unwrap();
        assert!(receive(&server).ends_with(" d"));
        assert_eq!((writer.lost(), writer.is_failing()), (2, false));
    }

    #[test]
    fn a_line_too_long_for_a_datagram_costs_only_itself() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = SyslogAddress::Udp(server.local_addr().unwrap());
        let mut writer = Writer::new(Syslog::new(address, 3, "node"));
        let long = [vec![b'x'; MAX_UDP], b"\nshort\n".to_vec()].concat();
        writer.write(&long).unwrap();
        let mut bytes = [0; 1000];
        let length = server.recv(&mut bytes).unwrap();
        assert!(bytes[..length].ends_with(b" short"));
        assert_eq!(writer.lost(), 1);
    }
}
