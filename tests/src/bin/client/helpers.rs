//! Other processes and threads that send.

use std::collections::VecDeque;
use std::env;
use std::ffi::c_void;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, stdin};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::parent_id;
use std::process::{self, Command};
use std::thread;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::thread::gettid;
use serde_json::{Value, json};

use super::stream::{Client, TOKEN_VARIABLE};

/// The stack of the child that shares this process's memory: it makes two system calls.
const STACK: usize = 64 * 1024;

/// Who sends, as the process itself knows it.
pub(super) struct Sender {
    pid: u32,
    tid: u32,
    parent: u32,
    thread: String,
}

impl Sender {
    /// Gives the calling thread.
    pub(super) fn current() -> Self {
        let tid = u32::try_from(gettid().as_raw_pid()).unwrap();
        Self {
            pid: process::id(),
            tid,
            parent: parent_id(),
            thread: read("/proc/thread-self/comm"),
        }
    }

    /// Finds this process's thread whose name begins so.
    pub(super) fn thread_named(beginning: &str) -> Self {
        let threads = fs::read_dir("/proc/self/task").unwrap().map(|entry| {
            let entry = entry.unwrap();
            let tid = entry.file_name().to_str().unwrap().parse().unwrap();
            let thread = read(entry.path().join("comm").to_str().unwrap());
            Self { pid: process::id(), tid, parent: parent_id(), thread }
        });
        let mut found: Vec<_> =
            threads.filter(|thread| thread.thread.starts_with(beginning)).collect();
        assert_eq!(found.len(), 1, "threads of the kernel's making");
        found.remove(0)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "pid": self.pid,
            "tid": self.tid,
            "parent": self.parent,
            "name": read("/proc/self/comm"),
            "thread": self.thread,
            "args": env::args().collect::<Vec<_>>(),
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

/// Prepares this program once more, for the steps that are left.
pub(super) fn successor(client: &Client, steps: VecDeque<String>) -> Command {
    let mut command = again(client);
    if let Some(stream) = client.stream() {
        inherit(stream).unwrap();
        command.args(["fd", &stream.as_raw_fd().to_string()]);
    }
    command.args(steps);
    command
}

fn again(client: &Client) -> Command {
    let mut command = Command::new(env::args_os().next().unwrap());
    command.env(TOKEN_VARIABLE, &client.token);
    if client.tells {
        command.arg("tell");
    }
    command
}

fn inherit(stream: &TcpStream) -> io::Result<()> {
    Ok(fcntl_setfd(stream, FdFlags::empty())?)
}

/// Hands the connection to a process that never had it, which goes on with the steps that are
/// left. Gives its exit code.
pub(super) fn pass(client: &Client, steps: VecDeque<String>) -> i32 {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut child = again(client).arg("take").args(steps).stdin(theirs).spawn().unwrap();
    let descriptors = [client.stream().unwrap().as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    child.wait().unwrap().code().unwrap_or(1)
}

/// Takes the connection that the standard input hands over.
pub(super) fn take() -> TcpStream {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    recvmsg(stdin(), &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let descriptor: Option<OwnedFd> = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.expect("nothing was handed over").into()
}

/// Does something on a thread that is not the process's first.
pub(super) fn thread(act: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name("asker".to_owned()).spawn(act).unwrap().join().unwrap();
}

/// What the child that shares this process's memory is to send.
struct HelperTask {
    socket: RawFd,
    text: *const u8,
    length: usize,
}

/// Has a child send that shares this process's memory, as after `vfork`, and waits for it.
pub(super) fn vfork(socket: RawFd, text: &[u8]) -> Sender {
    let mut stack = vec![0u8; STACK];
    let mut errand = HelperTask { socket, text: text.as_ptr(), length: text.len() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end and is the child's alone; this thread stands
    // still until the child has ended, so the errand and the text outlive it.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK).cast::<c_void>();
        libc::clone(run_errand, top, flags, (&raw mut errand).cast())
    };
    assert!(pid > 0, "{}", io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: the status is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "the child failed");
    let pid = u32::try_from(pid).unwrap();
    Sender { pid, tid: pid, parent: process::id(), thread: read("/proc/self/comm") }
}

extern "C" fn run_errand(errand: *mut c_void) -> libc::c_int {
    // SAFETY: `vfork` passes an errand that outlives this child.
    let errand = unsafe { &*errand.cast::<HelperTask>() };
    // SAFETY: the text is as long as the errand says.
    let sent = unsafe { libc::write(errand.socket, errand.text.cast(), errand.length) };
    // Without the exit handlers, which are the parent's.
    // SAFETY: this ends the child.
    unsafe { libc::_exit(i32::from(usize::try_from(sent) != Ok(errand.length))) }
}
