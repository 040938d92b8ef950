//! Signals: which end an audit, which have it open its outputs anew, and which do nothing.

use std::{fs, io, task::Poll, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{event::StopReason, output::queue::OutputHandle};

/// Signals that end an audit, with a complete record. SIGXCPU comes before the limit of processor
/// time kills.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGXCPU];

/// Signals that would end a program by default and have no meaning here. SIGXFSZ comes with a
/// write beyond the limit of a file's size, which then fails and is counted.
const IGNORED: [i32; 9] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGXFSZ,
];

/// The signals of this process; it handles all of them from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    ending: Vec<Signal>,
    hangup: Signal,
    /// SIGHUP was ignored when the program was started, as `nohup` does.
    is_hangup_ignored: bool,
    _ignored: Vec<Signal>,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalRequest {
    /// End the audit.
    End,
    /// Open outputs anew, and read the configuration again.
    Reload,
}

impl Signals {
    /// Takes over every signal that would end the program, but for those that report its own
    /// faults.
    ///
    /// # Errors
    /// Returns an error if a handler cannot be installed.
    pub(crate) fn listen() -> io::Result<Self> {
        let listen = |number: &i32| signal(SignalKind::from_raw(*number));
        let is_hangup_ignored = is_ignored(libc::SIGHUP);
        Ok(Self {
            ending: ENDING.iter().map(listen).collect::<Result<_, _>>()?,
            hangup: listen(&libc::SIGHUP)?,
            is_hangup_ignored,
            _ignored: IGNORED.iter().map(listen).collect::<Result<_, _>>()?,
        })
    }

    /// Waits for the next signal that asks for something. Cancel safe.
    pub(crate) async fn next(&mut self) -> SignalRequest {
        std::future::poll_fn(|context| {
            if self.ending.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
                return Poll::Ready(SignalRequest::End);
            }
            self.hangup.poll_recv(context).map(|_| SignalRequest::Reload)
        })
        .await
    }

    /// Waits for a signal that ends the audit, or the end of `duration`.
    ///
    /// SIGHUP opens `outputs` anew. If there are none to open, it means that the terminal is gone
    /// and ends the audit, unless it was ignored from the start.
    pub(crate) async fn until_end(
        mut self,
        duration: Option<Duration>,
        outputs: &[OutputHandle],
    ) -> StopReason {
        let over = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        loop {
            let request = tokio::select! {
                request = self.next() => request,
                () = &mut over => return StopReason::Duration,
            };
            match request {
                SignalRequest::Reload if !outputs.is_empty() => {
                    outputs.iter().for_each(OutputHandle::reopen);
                }
                SignalRequest::Reload if self.is_hangup_ignored => {}
                SignalRequest::Reload | SignalRequest::End => return StopReason::Signal,
            }
        }
    }
}

/// Returns whether a signal is ignored (`SigIgn` in proc_pid_status(5)).
fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (number - 1) & 1 == 1
}
