//! Sending over a ring of io_uring.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

use io_uring::squeue::Flags;
use io_uring::{IoUring, cqueue, opcode, types};

use super::helpers::Sender;

/// How long the kernel's polling thread looks before it sleeps, in milliseconds.
const POLLER_IDLE: u32 = 2_000;

/// Who takes a request out of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// The calling thread.
    Own,
    /// A thread of the kernel's making that polls the ring.
    Poller,
    /// A thread of the kernel's making that takes what might block.
    Worker,
}

impl Submission {
    /// Gives how the kernel's names of such threads begin.
    pub(super) fn worker(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Poller => Some("iou-sqp-"),
            Self::Worker => Some("iou-wrk-"),
        }
    }
}

/// Makes a ring.
pub(super) fn make(submission: Submission) -> IoUring {
    let mut builder = IoUring::builder();
    if submission == Submission::Poller {
        builder.setup_sqpoll(POLLER_IDLE);
    }
    builder.build(4).expect("this kernel has no io_uring, or it is switched off")
}

/// Sends text. Gives the thread that did, where it is of the kernel's making.
pub(super) fn send(
    submission: Submission,
    ring: &mut IoUring,
    stream: &TcpStream,
    text: &[u8],
) -> Option<Sender> {
    let length = u32::try_from(text.len()).unwrap();
    let socket = types::Fd(stream.as_raw_fd());
    let mut entry = opcode::Send::new(socket, text.as_ptr(), length).build();
    if submission == Submission::Worker {
        entry = entry.flags(Flags::ASYNC);
    }
    // SAFETY: the text and the socket outlive the completion, which is waited for.
    unsafe { ring.submission().push(&entry).unwrap() };
    ring.submit_and_wait(1).unwrap();
    let completion: cqueue::Entry = ring.completion().next().expect("the ring completed nothing");
    assert_eq!(completion.result(), i32::try_from(text.len()).unwrap());
    submission.worker().map(Sender::thread_named)
}
