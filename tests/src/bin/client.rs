//! A client of the metadata service that does, step by step, what its arguments say.
//!
//! ```text
//! connect ADDR   opens a connection
//! fd NUMBER      takes over an open connection
//! send TEXT      sends text, in a segment of its own; \r, \n and \xHH are escapes, {token} the
//!                token, {header} the name of its header
//! receive        reads one response, the token's of a token request among them
//! stdin          waits for the end of the standard input
//! close          closes the connection
//! times NUMBER   does the rest so often
//! note TEXT      does nothing
//! pid            prints its number
//! exec           goes on with the rest as a new program, the connection open
//! child          has a child go on with the rest, and waits for it
//! ```

use std::env;
use std::io::{self, Read, Write, stdin};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};

/// The variable that tells which network namespace this process must be in.
const NAMESPACE_VARIABLE: &str = "IMDS_AUDIT_TEST_NAMESPACE";

/// Arguments do not name it: the program hides what follows it there.
const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";

const TIMEOUT: Duration = Duration::from_secs(10);

fn main() {
    assert_private();
    let mut client = Client::default();
    let mut steps: Box<dyn Iterator<Item = String>> = Box::new(env::args().skip(1));
    while let Some(step) = steps.next() {
        let mut operand = || steps.next().expect("a step lacks its operand");
        match step.as_str() {
            "connect" => client.connect(&operand()),
            "fd" => client.take_over(&operand()),
            "send" => client.send(&operand()),
            "receive" => client.receive(),
            "stdin" => drop(stdin().read_to_end(&mut Vec::new()).unwrap()),
            "close" => client.stream = None,
            "times" => {
                let times: usize = operand().parse().unwrap();
                let rest: Vec<_> = steps.collect();
                let count = rest.len() * times;
                steps = Box::new(rest.into_iter().cycle().take(count));
            }
            "note" => drop(operand()),
            "pid" => println!("{}", std::process::id()),
            "exec" => panic!("{}", client.successor(steps).exec()),
            "child" => {
                let status = client.successor(steps).status().unwrap();
                std::process::exit(status.code().unwrap_or(1));
            }
            step => panic!("no such step: {step}"),
        }
    }
    // Ends at once, with the connection as it is.
    std::process::exit(0);
}

/// Makes sure that no real metadata service can be reached.
fn assert_private() {
    let expected: u64 = env::var(NAMESPACE_VARIABLE).unwrap().parse().unwrap();
    let found = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
    assert_eq!(found, expected, "not in the test's network namespace");
}

#[derive(Default)]
struct Client {
    stream: Option<TcpStream>,
    received: Vec<u8>,
    token: String,
}

impl Client {
    fn connect(&mut self, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        self.open(TcpStream::connect_timeout(&address, TIMEOUT).unwrap());
    }

    fn take_over(&mut self, number: &str) {
        let number: RawFd = number.parse().unwrap();
        // SAFETY: the number is of a connection that the process before left open for this one,
        // and nothing else here owns it.
        self.open(unsafe { TcpStream::from_raw_fd(number) });
    }

    fn open(&mut self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        self.stream = Some(stream);
    }

    fn send(&mut self, text: &str) {
        let text = text.replace("\\r", "\r").replace("\\n", "\n");
        let text = text.replace("{header}", TOKEN_HEADER).replace("{token}", &self.token);
        self.stream.as_mut().unwrap().write_all(&bytes(&text)).unwrap();
    }

    fn receive(&mut self) {
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

    /// Prepares this program once more, for the steps that are left.
    fn successor(&mut self, steps: impl Iterator<Item = String>) -> Command {
        let mut command = Command::new(env::args_os().next().unwrap());
        if let Some(stream) = &self.stream {
            inherit(stream).unwrap();
            command.args(["fd", &stream.as_raw_fd().to_string()]);
        }
        command.args(steps);
        command
    }
}

fn inherit(stream: &TcpStream) -> io::Result<()> {
    Ok(fcntl_setfd(stream, FdFlags::empty())?)
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
