//! The program as a service, running.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use imds_audit::simulator::Network;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::processor::{Processor, pin};

/// How long the program may take to attach or to end.
const TIMEOUT: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Where its metrics are, in the network namespace of the callers.
const METRICS: &str = "127.0.0.1:9469";

/// The agent, auditing, in the network namespace of a network's callers. Ended when dropped.
pub struct Agent<'a> {
    child: Child,
    network: &'a Network,
    folder: TempDir,
}

impl<'a> Agent<'a> {
    /// Starts the program with a configuration, in which `{folder}` stands for a folder of its own,
    /// and waits until everything is attached.
    ///
    /// # Errors
    /// Returns an error if it cannot be started, or ends.
    pub fn start(
        program: &Path,
        network: &'a Network,
        settings: &str,
        processor: Processor,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("agent.toml");
        let text = format!("{settings}\n[metrics]\nlisten = \"{METRICS}\"\n");
        fs::write(&path, text.replace("{folder}", &folder.path().to_string_lossy()))?;
        let mut command: Command = network.command(program)?;
        command.args(["agent", "--config"]).arg(&path).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(folder.path().join("stderr"))?);
        // SAFETY: the closure runs between fork and exec; it makes one system call and allocates
        // nothing.
        unsafe {
            command.pre_exec(move || pin(processor));
        }
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let mut agent = Self { child, network, folder };
        let deadline = Instant::now() + TIMEOUT;
        while !agent.is_ready()? {
            let ended = agent.child.try_wait()?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "the agent does not start: {ended:?}: {}",
                agent.said()
            );
            sleep(BETWEEN_LOOKS);
        }
        Ok(agent)
    }

    /// Returns the number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Has it read its configuration again, and open its outputs anew.
    ///
    /// # Errors
    /// Returns an error if it is gone.
    pub fn reload(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Returns its metrics.
    ///
    /// # Errors
    /// Returns an error if it does not answer.
    pub fn scrape(&self) -> Result<String> {
        self.get("/metrics")?.context("the metrics cannot be had")
    }

    /// Tells it to end. Returns its folder.
    ///
    /// # Errors
    /// Returns an error if it does not end, or not well.
    pub fn stop(mut self) -> Result<TempDir> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => bail!("the agent does not end"),
                None => sleep(BETWEEN_LOOKS),
            }
        };
        ensure!(status.success(), "the agent ended with {status}: {}", self.said());
        Ok(std::mem::replace(&mut self.folder, tempfile::tempdir()?))
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(self.get("/readyz").is_ok_and(|page| page.is_some()))
    }

    /// Returns a page; `None` where the answer is not 200.
    fn get(&self, path: &str) -> Result<Option<String>> {
        let address: SocketAddr = METRICS.parse()?;
        let page = self.network.in_client(|| -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok(page)
        })??;
        let (head, body) = page.split_once("\r\n\r\n").context("half a page")?;
        Ok(head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned()))
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        // After `stop` it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns the sum of a metric over all its series, or over those whose first labels follow the
/// name.
pub fn metric(page: &str, name: &str) -> u64 {
    let of_name = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ', ',']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    of_name.map(|value| value as u64).sum()
}

/// What an output wrote, in files of one name.
pub fn files(folder: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
