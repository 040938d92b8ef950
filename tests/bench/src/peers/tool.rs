//! The tools.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use imds_audit::simulator::{Namespace, SERVICE_V4};

use super::parse::{self, Seen};

/// When a tool sees what happens.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// When it has written this.
    Says(&'static str),
    /// When the kernel has such a probe.
    Probes(&'static str),
}

/// Reads how many requests were reported and how many lost.
type Accounts = fn(&str) -> Result<(u64, u64)>;

/// A tool, how it is run and how what it writes is read.
pub struct Tool {
    /// The name of its column.
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// Where it runs, if that matters.
    folder: Option<&'static str>,
    /// What is run once before, so that a start is not its first.
    before: Option<[&'static str; 3]>,
    /// Whether it sees only the network namespace in which it is.
    is_of_a_namespace: bool,
    /// By how much fewer samples of other traffic do: it makes each so much slower.
    pub slowness: u32,
    /// When it sees what happens.
    pub ready: Ready,
    /// Counts what it saw in what it wrote.
    pub read: fn(&str) -> Seen,
    /// Returns how many requests it says at its end that it reported, and lost.
    pub accounts: Option<Accounts>,
}

/// Prints what is sent to the service: the buffer, or the first of several. `buf` takes no more
/// than 200 bytes. 6 is `ITER_UBUF` in the `enum iter_type` of Linux 6.1.
const SCRIPT: &str = r#"
kprobe:tcp_sendmsg
{
    $socket = (struct sock *)arg0;
    if ($socket->__sk_common.skc_daddr == 0xfea9fea9 && $socket->__sk_common.skc_dport == 0x5000) {
        $message = (struct msghdr *)arg1;
        printf("%d %s ", pid, comm);
        if ($message->msg_iter.iter_type == 6) {
            printf("%r\n", buf(uptr($message->msg_iter.ubuf), $message->msg_iter.count));
        } else {
            $vector = $message->msg_iter.iov;
            printf("%r\n", buf(uptr($vector->iov_base), $vector->iov_len));
        }
    }
}
"#;

/// Python, with nothing kept back.
const PYTHON: [&str; 2] = ["/usr/bin/python3", "-u"];
/// Compiles the libraries, once for all starts.
const IMPORT: [&str; 3] =
    ["/usr/bin/python3", "-c", "import bcc, argparse, datetime, logging.config"];
/// Where the analyzer is, where the host has one.
const ANALYZER: &str = "/analyzer";

impl Tool {
    /// Returns all of them, to watch what is sent to a port of the service.
    pub fn all(program: &Path, port: u16) -> Vec<Self> {
        let plain = |name, program: &str, arguments: &[&str], ready, read| Self {
            name,
            program: program.into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: None,
            before: None,
            is_of_a_namespace: false,
            slowness: 1,
            ready,
            read,
            accounts: None,
        };
        let own = std::process::id().to_string();
        let endpoint = SocketAddr::from((SERVICE_V4, port)).to_string();
        let filter = format!("host {SERVICE_V4} and tcp dst port {port}");
        vec![
            Self {
                accounts: Some(parse::accounts),
                ..plain(
                    "imds-audit",
                    &program.to_string_lossy(),
                    &["run", "--format", "json", "--endpoint", &endpoint],
                    Ready::Says("\n"),
                    parse::audit,
                )
            },
            Self {
                is_of_a_namespace: true,
                ..plain(
                    "tcpdump",
                    "/usr/bin/tcpdump",
                    &["-i", "any", "-n", "-A", "-l", "-Z", "root", &filter],
                    Ready::Says("listening on"),
                    parse::tcpdump,
                )
            },
            Self {
                slowness: 10,
                ..plain(
                    "strace",
                    "/usr/bin/strace",
                    &[
                        "-f",
                        "-s",
                        "4096",
                        "-o",
                        "/proc/self/fd/1",
                        "-e",
                        "trace=network,write,writev,sendfile,splice",
                        "-p",
                        &own,
                    ],
                    Ready::Says("attached"),
                    parse::strace,
                )
            },
            plain(
                "bpftrace",
                "/usr/bin/bpftrace",
                &["-e", SCRIPT],
                Ready::Probes("tcp_sendmsg"),
                parse::bpftrace,
            ),
            Self {
                before: Some(IMPORT),
                ..plain(
                    "tcpconnect",
                    PYTHON[0],
                    &[PYTHON[1], "/usr/sbin/tcpconnect-bpfcc", "-P", "80"],
                    Ready::Says("DADDR"),
                    parse::tcpconnect,
                )
            },
            Self {
                before: Some(IMPORT),
                folder: Some(ANALYZER),
                ..plain(
                    "imds-packet-analyzer",
                    PYTHON[0],
                    &[PYTHON[1], "imds_snoop.py"],
                    Ready::Says("Output format"),
                    parse::analyzer,
                )
            },
        ]
    }

    /// Says whether it is on this machine.
    pub fn is_there(&self) -> bool {
        self.folder.is_none_or(|folder| Path::new(folder).is_dir())
    }

    /// Has happen what happens only once.
    ///
    /// # Errors
    /// Returns an error if it fails.
    pub fn warm_up(&self) -> Result<()> {
        let Some([program, arguments @ ..]) = self.before else { return Ok(()) };
        let status = Command::new(program).args(arguments).stdin(Stdio::null()).status();
        ensure!(status.context(program)?.success(), "{program} failed");
        Ok(())
    }

    /// Prepares a command that runs it.
    ///
    /// # Errors
    /// Returns an error if the namespace cannot be entered.
    pub fn command(&self, namespace: &Namespace, scratch: &Path) -> Result<Command> {
        let mut command = match self.is_of_a_namespace {
            true => namespace.command(&self.program)?,
            false => Command::new(&self.program),
        };
        command.args(&self.arguments).env_remove("RUST_LOG").current_dir(scratch);
        // As much of a buffer as bpftrace can show; it is 64 bytes otherwise.
        command.env("BPFTRACE_STRLEN", "200");
        if let Some(folder) = self.folder {
            command.current_dir(fs::canonicalize(folder)?);
        }
        Ok(command)
    }
}
