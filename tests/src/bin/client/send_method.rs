//! The ways to send.

use std::io::{IoSlice, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::str::FromStr;

use io_uring::IoUring;
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketType, sendmmsg, sendmsg, sendto,
    socket,
};
use rustix::pipe::{SpliceFlags, pipe, splice};

use super::helpers::Sender;
use super::ring::{self, Submission};

/// `MSG_ZEROCOPY` (`linux/socket.h`), which rustix has no name for.
const ZEROCOPY: SendFlags = SendFlags::from_bits_retain(0x0400_0000);
/// `MSG_FASTOPEN`.
const FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// How long the vectors of `writev` and of `sendmsg` are: short enough to cut every name.
const VECTOR: usize = 3;
/// The most vectors of one call (`IOV_MAX`).
const MOST_VECTORS: usize = 1_024;

/// A way to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendMethod {
    /// One `write`.
    Write,
    /// One `write` for each byte.
    Bytes,
    /// `writev` of many short vectors.
    Writev,
    /// `writev` of the text's lines.
    WritevLines,
    /// `send`.
    Send,
    /// `sendmsg` of many short vectors.
    Sendmsg,
    /// `sendmmsg` of three messages.
    Sendmmsg,
    /// `sendfile` from memory.
    Sendfile,
    /// `splice` from a pipe.
    Splice,
    /// `send` with `MSG_ZEROCOPY`.
    Zerocopy,
    /// `send` in pieces, with `MSG_MORE` on all but the last.
    More,
    /// A ring of io_uring.
    Ring(Submission),
}

impl FromStr for SendMethod {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "write" => Self::Write,
            "bytes" => Self::Bytes,
            "writev" => Self::Writev,
            "writev-lines" => Self::WritevLines,
            "send" => Self::Send,
            "sendmsg" => Self::Sendmsg,
            "sendmmsg" => Self::Sendmmsg,
            "sendfile" => Self::Sendfile,
            "splice" => Self::Splice,
            "zerocopy" => Self::Zerocopy,
            "more" => Self::More,
            "ring" => Self::Ring(Submission::Own),
            "ring-poller" => Self::Ring(Submission::Poller),
            "ring-worker" => Self::Ring(Submission::Worker),
            _ => return Err(format!("no such way: {name}")),
        })
    }
}

impl SendMethod {
    /// Gives how the kernel calls the thread that sends in this way, where it is none of the
    /// process's own.
    pub(super) fn worker(self) -> Option<&'static str> {
        match self {
            Self::Ring(submission) => submission.worker(),
            _ => None,
        }
    }
}

/// Sends text, over the process's one ring where it is to be a ring. Gives who did, where it was
/// a thread of the kernel's making.
pub(super) fn send(
    way: SendMethod,
    ring: &mut Option<IoUring>,
    stream: &TcpStream,
    text: &[u8],
) -> Option<Sender> {
    match way {
        SendMethod::Write => write(stream, text),
        SendMethod::Bytes => text.chunks(1).for_each(|byte| write(stream, byte)),
        SendMethod::Writev => vectors(text, |vectors| (&*stream).write_vectored(vectors).unwrap()),
        SendMethod::WritevLines => {
            let lines: Vec<_> = text.split_inclusive(|&byte| byte == b'\n').collect();
            let lines: Vec<_> = lines.into_iter().map(IoSlice::new).collect();
            assert_eq!((&*stream).write_vectored(&lines).unwrap(), text.len());
        }
        SendMethod::Send => plain(stream, text, SendFlags::empty()),
        SendMethod::Sendmsg => vectors(text, |vectors| {
            let mut control = SendAncillaryBuffer::default();
            sendmsg(stream, vectors, &mut control, SendFlags::empty()).unwrap()
        }),
        SendMethod::Sendmmsg => messages(stream, text),
        SendMethod::Sendfile => file(stream, text),
        SendMethod::Splice => pipe_through(stream, text),
        SendMethod::Zerocopy => zerocopy(stream, text),
        SendMethod::More => more(stream, text),
        SendMethod::Ring(submission) => {
            let ring = ring.get_or_insert_with(|| ring::make(submission));
            return ring::send(submission, ring, stream, text);
        }
    }
    None
}

/// Opens a connection whose first packet carries text.
pub(super) fn connect_with(address: SocketAddr, text: &[u8]) -> TcpStream {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket: OwnedFd = socket(family, SocketType::STREAM, None).unwrap();
    let sent = sendto(&socket, text, FASTOPEN, &address).unwrap();
    assert_eq!(sent, text.len());
    let stream = TcpStream::from(socket);
    assert!(was_in_first_packet(&stream), "the first packet carried nothing");
    stream
}

/// Says whether the service acknowledged text in the connection's first packet
/// (`TCPI_OPT_SYN_DATA` in `linux/tcp.h`).
fn was_in_first_packet(stream: &TcpStream) -> bool {
    const SYN_DATA: u8 = 32;
    // The acknowledgement comes with the answer to the first packet.
    stream.set_nodelay(true).unwrap();
    let mut first = [0];
    stream.peek(&mut first).unwrap();
    // SAFETY: the structure is plain numbers, for which zeroes are valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the destination and its size are ours, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    assert_eq!(result, 0);
    info.tcpi_options & SYN_DATA != 0
}

fn write(mut stream: &TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
}

fn plain(stream: &TcpStream, text: &[u8], flags: SendFlags) {
    assert_eq!(rustix::net::send(stream, text, flags).unwrap(), text.len());
}

fn vectors(text: &[u8], mut call: impl FnMut(&[IoSlice<'_>]) -> usize) {
    for part in text.chunks(VECTOR * MOST_VECTORS) {
        let vectors: Vec<_> = part.chunks(VECTOR).map(IoSlice::new).collect();
        assert_eq!(call(&vectors), part.len());
    }
}

fn messages(stream: &TcpStream, text: &[u8]) {
    let parts: Vec<_> = text.chunks(text.len().div_ceil(3)).collect();
    let slices: Vec<_> = parts.iter().map(|part| [IoSlice::new(part)]).collect();
    let mut controls: Vec<_> = parts.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<_> = slices
        .iter()
        .zip(&mut controls)
        .map(|(slices, control)| MMsgHdr::new(slices, control))
        .collect();
    let sent = sendmmsg(stream, &mut messages, SendFlags::empty()).unwrap();
    assert_eq!(sent, parts.len());
    let bytes: usize = messages.iter().map(MMsgHdr::bytes_sent).sum();
    assert_eq!(bytes, text.len());
}

fn file(stream: &TcpStream, text: &[u8]) {
    let file = memfd_create("request", MemfdFlags::CLOEXEC).unwrap();
    assert_eq!(rustix::io::write(&file, text).unwrap(), text.len());
    let mut offset = 0;
    assert_eq!(sendfile(stream, &file, Some(&mut offset), text.len()).unwrap(), text.len());
}

fn pipe_through(stream: &TcpStream, text: &[u8]) {
    let (reader, writer) = pipe().unwrap();
    assert_eq!(rustix::io::write(&writer, text).unwrap(), text.len());
    let sent = splice(&reader, None, stream.as_fd(), None, text.len(), SpliceFlags::empty());
    assert_eq!(sent.unwrap(), text.len());
}

fn zerocopy(stream: &TcpStream, text: &[u8]) {
    let on: libc::c_int = 1;
    // SAFETY: the value is ours and of the size given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // The kernel may read it until the service has acknowledged it.
    plain(stream, text.to_vec().leak(), ZEROCOPY);
}

fn more(stream: &TcpStream, text: &[u8]) {
    let (text, last) = text.split_at(text.len() - 1);
    for part in text.chunks(text.len().div_ceil(4)) {
        plain(stream, part, SendFlags::MORE);
    }
    plain(stream, last, SendFlags::empty());
}
