//! Anonymous network namespaces.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The right to make and enter namespaces is missing.
    #[error("making a network namespace needs CAP_SYS_ADMIN: run as root")]
    MissingRight,
    /// The kernel did not make one.
    #[error("cannot make a network namespace")]
    Unshare(#[source] io::Error),
    /// The thread's namespace could not be looked up.
    #[error("cannot open {OWN}: is /proc mounted?")]
    Proc(#[source] io::Error),
    /// The kernel did not let the thread in.
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    /// The thread is not where it ought to be, and must not contact anything.
    #[error("the thread is not in the private network namespace {expected} but in {found}")]
    NotPrivate {
        /// The inode number of the private namespace.
        expected: u64,
        /// The inode number of the thread's namespace.
        found: u64,
    },
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A network namespace without a name: it has no file, and is gone when nobody holds it any
/// more, whatever way the process ends.
#[derive(Debug)]
pub struct Namespace {
    file: OwnedFd,
    inode: u64,
}

impl Namespace {
    /// Makes an empty namespace. The calling thread stays where it is.
    pub fn new() -> Result<Self, NamespaceError> {
        let outside = inode(&open_own()?)?;
        let made = on_scratch_thread(|| {
            // SAFETY: what makes unshare unsafe is leaving the shared table of descriptors;
            // NEWNET leaves that alone and moves only this thread, which ends with the closure.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| match error {
                Errno::PERM => NamespaceError::MissingRight,
                error => NamespaceError::Unshare(error.into()),
            })?;
            open_own()
        })??;
        let inode = inode(&made)?;
        if inode == outside {
            return Err(NamespaceError::NotPrivate { expected: inode, found: outside });
        }
        Ok(Self { file: made.into(), inode })
    }

    /// Gives its inode number, as `/proc/PID/ns/net` shows it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Moves the calling thread into it, for good.
    ///
    /// To be called on a thread made for the purpose, or between fork and exec: it allocates
    /// nothing and makes one system call.
    pub fn enter(&self) -> io::Result<()> {
        enter(self.as_fd())
    }

    /// Makes sure that the calling thread is in it, and so cannot reach a real metadata service.
    pub fn assert_private(&self) -> Result<(), NamespaceError> {
        let found = inode(&open_own()?)?;
        if found == self.inode {
            Ok(())
        } else {
            Err(NamespaceError::NotPrivate { expected: self.inode, found })
        }
    }

    /// Runs a closure inside, on a thread of its own, and waits for it. A panic goes on in the
    /// caller.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        on_scratch_thread(|| {
            self.enter().map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => NamespaceError::MissingRight,
                _ => NamespaceError::Enter(error),
            })?;
            self.assert_private()?;
            Ok(inside())
        })?
    }

    /// Prepares a command that runs inside: it is spawned there or not at all.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, NamespaceError> {
        let file = self.file.try_clone().map_err(NamespaceError::Enter)?;
        let mut command = Command::new(program);
        // SAFETY: the closure runs between fork and exec; it only makes the setns system call
        // and allocates nothing.
        unsafe {
            command.pre_exec(move || enter(file.as_fd()));
        }
        Ok(command)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

fn open_own() -> Result<File, NamespaceError> {
    File::open(OWN).map_err(NamespaceError::Proc)
}

fn inode(namespace: &File) -> Result<u64, NamespaceError> {
    namespace.metadata().map(|metadata| metadata.ino()).map_err(NamespaceError::Proc)
}

/// Runs a closure on a thread that ends with it, so that what it does to itself stays there.
fn on_scratch_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let scratch = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(NamespaceError::Thread)?;
        Ok(scratch.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
