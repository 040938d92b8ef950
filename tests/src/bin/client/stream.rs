//! A connection, and the responses on it.

use std::env;
use std::io::{Read, Write, stdout};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::Duration;

use io_uring::IoUring;
use rustix::net::{AddressFamily, SocketType, connect, ipproto, socket};

use super::helpers::{Sender, vfork};
use super::send_method::{self, SendMethod};
use super::sockmap::Redirection;

/// Arguments do not name it: the program hides what follows it there.
const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";

/// The variable that hands the token on to a process that goes on with the rest.
pub(super) const TOKEN_VARIABLE: &str = "IMDS_AUDIT_TEST_TOKEN";

const TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes of other headers `{padding}` is, in lines of this length.
const PADDING: usize = 31 * 1024;
const PADDING_LINE: usize = 1024;

pub(super) struct Client {
    stream: Option<TcpStream>,
    ring: Option<IoUring>,
    redirection: Option<Redirection>,
    received: Vec<u8>,
    pub(super) token: String,
    pub(super) way: SendMethod,
    pub(super) tells: bool,
}

impl Client {
    pub(super) fn new() -> Self {
        let token = env::var(TOKEN_VARIABLE).unwrap_or_default();
        let (way, received) = (SendMethod::Write, Vec::new());
        Self { stream: None, ring: None, redirection: None, received, token, way, tells: false }
    }

    pub(super) fn connect(&mut self, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        self.open(TcpStream::connect_timeout(&address, TIMEOUT).unwrap());
    }

    pub(super) fn connect_multipath(&mut self, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, Some(ipproto::MPTCP)).unwrap();
        connect(&socket, &address).unwrap();
        self.open(TcpStream::from(socket));
    }

    pub(super) fn connect_fast(&mut self, address: &str, text: &str) {
        let text = self.expand(text);
        self.tell();
        self.open(send_method::connect_with(address.parse().unwrap(), &text));
    }

    pub(super) fn take_over(&mut self, number: &str) {
        let number: RawFd = number.parse().unwrap();
        // SAFETY: the number is of a connection that the process before left open for this one,
        // and nothing else here owns it.
        self.open(unsafe { TcpStream::from_raw_fd(number) });
    }

    pub(super) fn open(&mut self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        self.stream = Some(stream);
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Gives the connection, if one is open.
    pub(super) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    pub(super) fn send(&mut self, text: &str) {
        let text = self.expand(text);
        // Before, so that nothing comes between the request and the end of a process that ends
        // with it; but a ring's thread is known only afterwards.
        if self.way.worker().is_none() {
            self.tell();
        }
        let sender =
            send_method::send(self.way, &mut self.ring, self.stream.as_ref().unwrap(), &text);
        if let Some(sender) = sender.filter(|_| self.tells) {
            say(&sender);
        }
    }

    pub(super) fn redirect(&mut self, text: &str) {
        let text = self.expand(text);
        self.tell();
        let redirection = Redirection::to(self.stream.as_ref().unwrap());
        (&mut redirection.entrance()).write_all(&text).unwrap();
        self.redirection = Some(redirection);
    }

    pub(super) fn vfork(&mut self, text: &str) {
        let text = self.expand(text);
        let sender = vfork(self.stream.as_ref().unwrap().as_raw_fd(), &text);
        if self.tells {
            say(&sender);
        }
    }

    pub(super) fn crowd(&mut self, number: usize, address: &str, text: &str) {
        let mut streams = Vec::new();
        for _ in 0..number {
            self.connect(address);
            streams.extend(self.stream.take());
        }
        let mut waiting = Vec::new();
        for stream in streams {
            self.stream = Some(stream);
            self.send(text);
            waiting.extend(self.stream.take());
        }
        for stream in waiting {
            self.stream = Some(stream);
            self.receive();
        }
    }

    fn tell(&self) {
        if self.tells {
            say(&Sender::current());
        }
    }

    fn expand(&self, text: &str) -> Vec<u8> {
        let text = text.replace("\\r", "\r").replace("\\n", "\n");
        let text = text.replace("{header}", TOKEN_HEADER).replace("{token}", &self.token);
        bytes(&text.replace("{padding}", &padding()))
    }

    pub(super) fn receive(&mut self) {
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.more() > 0, "the response ends early");
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length = field("content-length:").map(|length| length.trim().parse().unwrap());
        let body = match (length, field("transfer-encoding:")) {
            (Some(length), _) => self.take(length),
            (None, Some(_)) => self.chunks(),
            (None, None) => self.rest(),
        };
        if field("x-aws-ec2-metadata-token-ttl-seconds:").is_some() && body.starts_with(b"AQAE") {
            self.token = String::from_utf8(body).unwrap();
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            assert!(self.more() > 0, "the body ends early");
        }
        self.received.drain(..length).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = find(&self.received, b"\r\n") {
                    break end + 2;
                }
                assert!(self.more() > 0, "the chunks end early");
            };
            let line = String::from_utf8(self.take(end)).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let chunk = self.take(size + 2);
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    fn rest(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.received)
    }

    fn more(&mut self) -> usize {
        let mut buffer = [0; 8_192];
        let count = self.stream.as_mut().unwrap().read(&mut buffer).unwrap();
        self.received.extend_from_slice(&buffer[..count]);
        count
    }
}

/// Prints who sends, at once: the process may end before the buffer of its output is full.
fn say(sender: &Sender) {
    let mut stdout = stdout();
    writeln!(stdout, "{}", sender.to_json()).unwrap();
    stdout.flush().unwrap();
}

/// Makes other headers, each a line of [`PADDING_LINE`] bytes.
fn padding() -> String {
    let line = |number| {
        let name = format!("X-Padding-{number}: ");
        let value = "x".repeat(PADDING_LINE - name.len() - 2);
        format!("{name}{value}\r\n")
    };
    (0..PADDING / PADDING_LINE).map(line).collect()
}

/// Gives the bytes of a text in which `\xHH` stands for a byte.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
