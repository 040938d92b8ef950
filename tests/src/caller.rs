//! Those who ask the metadata service.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// A client process that has ended.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its number.
    pub pid: u32,
    /// Its arguments, the program's name among them.
    pub arguments: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// A client process that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    arguments: Vec<String>,
}

impl Running {
    /// Starts a client; its standard input is a pipe.
    pub(crate) fn start(command: &mut Command) -> Self {
        let arguments = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|argument| argument.to_str().unwrap().to_owned())
            .collect();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child: Some(child), arguments }
    }

    /// Gives the number of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Writes to its standard input.
    pub fn say(&mut self, text: &str) {
        let input = self.child.as_mut().and_then(|child| child.stdin.as_mut()).unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    /// Closes its standard input, and waits until it ends.
    pub fn wait(mut self) -> Caller {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take());
        self.end(child)
    }

    /// Waits until it ends, with its standard input open until then: for one that a signal ends,
    /// and that the end of its input would end too.
    pub fn wait_for_signal(mut self) -> Caller {
        let child = self.child.take().unwrap();
        self.end(child)
    }

    fn end(&mut self, mut child: Child) -> Caller {
        // `Child::wait` would close it.
        let input = child.stdin.take();
        let pid = child.id();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let status = child.wait().unwrap();
        drop(input);
        // Whoever it has left behind may still hold these.
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        Caller { pid, arguments: std::mem::take(&mut self.arguments), status, stdout, stderr }
    }
}

/// Reads to the end, beside whatever else is waited for.
fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Has a command run as another user and group, after it entered its network namespace; what
/// `Command::uid` does comes before that, and takes the right to do it.
pub fn become_user(command: &mut Command, user: u32) {
    // SAFETY: the closure runs between fork and exec; it makes three system calls and allocates
    // nothing. They change the calling thread alone, which is the only one after a fork.
    unsafe {
        command.pre_exec(move || change_user(user));
    }
}

fn change_user(user: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}
