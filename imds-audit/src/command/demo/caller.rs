//! A caller that is this program itself, so that the demonstration has one on every host.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::ExitStatus;
use crate::simulator::SERVICE_V4;

/// The subcommand's name.
pub(super) const NAME: &str = "demo-caller";
/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most that is read of a response, in bytes.
const MAX_RESPONSE: u64 = 64 * 1024;

/// The options of a caller.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CallerArguments {
    /// The inode number of the private network namespace: it calls in no other
    #[arg(long)]
    pub netns: u64,
}

/// Calls the service as Java does: over an IPv6 socket, with the IPv4 address mapped into IPv6.
///
/// # Errors
/// Returns an error if this is not the demonstration's network namespace, so that no real service
/// is ever called, or the service does not answer.
pub(crate) fn call(arguments: &CallerArguments) -> Result<ExitStatus> {
    let own = fs::metadata("/proc/self/ns/net").context("cannot tell the network namespace")?;
    if own.ino() != arguments.netns || !is_apart(own.ino()) {
        bail!("{NAME} is a part of `imds-audit demo`, and calls only in its private network");
    }
    let address = SocketAddr::from((SERVICE_V4.to_ipv6_mapped(), 80));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).context("cannot connect")?;
    stream.set_read_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
    stream
        .write_all(
            b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 169.254.169.254\r\n\
              User-Agent: Java/1.8.0_392\r\nConnection: close\r\n\r\n",
        )
        .context("cannot ask")?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut response).context("cannot read the response")?;
    Ok(ExitStatus::Done)
}

/// Returns whether the process that started this one certainly is in another network namespace,
/// as the demonstration itself always is.
fn is_apart(own: u64) -> bool {
    let Some(parent) = rustix::process::getppid() else { return false };
    let path = format!("/proc/{}/ns/net", parent.as_raw_nonzero());
    fs::metadata(path).is_ok_and(|namespace| namespace.ino() != own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_the_demonstration_nothing_is_called() {
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        for netns in [own, own + 1, 0] {
            let error = call(&CallerArguments { netns }).unwrap_err();
            assert!(error.to_string().contains("private network"), "{error}");
        }
    }
}
