//! Many short-lived callers: one process each, which asks once and ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::line::{Listener, REQUEST, RESPONSE};

/// Returns the command of a process of its own that [`call`]s a service.
///
/// # Errors
/// Returns an error if this program's own path is not known.
pub fn command(desk: &Listener, program: &Path, count: u32, rate: f64) -> Result<Command> {
    let mut callers = desk.network.command(std::env::current_exe()?)?;
    callers.arg("--program").arg(program).args(["callers", "--address"]);
    callers.arg(desk.address.to_string()).args(["--count", &count.to_string()]);
    callers.args(["--rate", &rate.to_string()]);
    Ok(callers)
}

/// Has a process of its own [`call`] a service, which answers each caller. Returns how many were made a
/// second.
///
/// # Errors
/// Returns an error if the process cannot be started or fails, or a caller does not ask.
pub fn have_called(desk: &Listener, program: &Path, count: u32, rate: f64) -> Result<f64> {
    let mut callers = command(desk, program, count, rate)?;
    let start = Instant::now();
    thread::scope(|scope| {
        let service = scope.spawn(|| answer(desk.listener(), count));
        let status = callers.status()?;
        ensure!(status.success(), "the callers ended with {status}");
        service.join().map_err(|_| anyhow!("the service panicked"))??;
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    })
}

/// Has so many processes ask, one after the other, and not sooner than so many a second. It is what a
/// process of its own does, which has one thread and little memory: so a child is made fast, and may do
/// more than system calls.
///
/// # Errors
/// Returns an error if no process can be made, or one is not answered.
pub fn call(address: SocketAddr, count: u32, rate: f64) -> Result<()> {
    let start = Instant::now();
    for number in 0..count {
        let due = Duration::from_secs_f64(f64::from(number) / rate);
        sleep(due.saturating_sub(start.elapsed()));
        // SAFETY: this process has one thread, so that the child's copy of it is whole.
        match unsafe { libc::fork() } {
            0 => std::process::exit(i32::from(ask(address).is_err())),
            child => {
                let child = Pid::from_raw(child).context("cannot make a process")?;
                let status = waitpid(Some(child), WaitOptions::empty())?;
                if status.and_then(|(_, status)| status.exit_status()) != Some(0) {
                    bail!("caller {number} was not answered");
                }
            }
        }
    }
    Ok(())
}

/// Asks once. The connection is broken off: else its port would stay in use for a minute, and
/// there are fewer ports than callers.
fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    stream.write_all(REQUEST)?;
    stream.read_exact(&mut [0; RESPONSE.len()])
}

/// Answers so many callers.
///
/// # Errors
/// Returns an error if one does not ask.
pub fn answer(listener: &TcpListener, count: u32) -> io::Result<()> {
    for _ in 0..count {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut [0; REQUEST.len()])?;
        stream.write_all(RESPONSE)?;
        // Its end, of whatever kind.
        stream.read_to_end(&mut Vec::new()).ok();
    }
    Ok(())
}
