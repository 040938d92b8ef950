//! The requests that every tool is shown: one row a kind.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use imds_audit::simulator::{BackgroundService, Entry, Network, SERVICE_V4, Service, TokenHeader};

/// What the client, `tests/src/bin/client`, needs to know of its network and of a token.
const NAMESPACE_VARIABLE: &str = "IMDS_AUDIT_TEST_NAMESPACE";
const TOKEN_VARIABLE: &str = "IMDS_AUDIT_TEST_TOKEN";

/// How many entries of the service's log are kept: more than there are requests.
const LOG: usize = 100_000;

const V1: &str =
    "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n\\r\\n";
const V2: &str = "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n\
                  {header}: {token}\\r\\n\\r\\n";
const V2_BEGIN: &str =
    "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n";
const V2_REST: &str = "{header}: {token}\\r\\n\\r\\n";
const TOKEN: &str = "PUT /latest/api/token HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n\
                     {header}-ttl-seconds: 21600\\r\\n\\r\\n";
const NAMED: &str = "GET /latest/meta-data/instance-id?{header} HTTP/1.1\\r\\n\
                     Host: 169.254.169.254\\r\\n\\r\\n";
const BOTH: &str = "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n\\r\\n\
                    GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n\
                    {header}: {token}\\r\\n\\r\\n";

/// A kind of requests.
pub struct Kind {
    /// What is asked, and how.
    pub name: &'static str,
    /// What each process does.
    steps: &'static [&'static str],
    /// How many processes do it, and how many of them at a time.
    processes: usize,
    at_once: usize,
    /// How many requests a process makes, by version.
    makes: Truth,
}

/// How many requests were made, by the version of the protocol; a request for a token is one of
/// version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Of version 1.
    pub v1: u64,
    /// Of version 2.
    pub v2: u64,
}

impl Truth {
    /// Returns how many there were.
    pub fn requests(self) -> u64 {
        self.v1 + self.v2
    }

    fn times(self, count: u64) -> Self {
        Self { v1: self.v1 * count, v2: self.v2 * count }
    }
}

const ONE_V1: Truth = Truth { v1: 1, v2: 0 };
const ONE_V2: Truth = Truth { v1: 0, v2: 1 };

/// Ten processes, one after the other.
const fn ten(name: &'static str, steps: &'static [&'static str], makes: Truth) -> Kind {
    Kind { name, steps, processes: 10, at_once: 1, makes }
}

/// All of them. What stands in the method of the section is this table.
pub static KINDS: [Kind; 10] = [
    ten("IMDSv1 read", &["send", V1, "receive"], ONE_V1),
    ten("IMDSv2 read", &["send", V2, "receive"], ONE_V2),
    ten("token request", &["send", TOKEN, "receive"], ONE_V2),
    ten("IMDSv2 read in two writes", &["send", V2_BEGIN, "send", V2_REST, "receive"], ONE_V2),
    ten("IMDSv2 read by writev", &["via", "writev-lines", "send", V2, "receive"], ONE_V2),
    ten("IMDSv2 read by sendfile", &["via", "sendfile", "send", V2, "receive"], ONE_V2),
    ten("both in one write", &["send", BOTH, "receive", "receive"], Truth { v1: 1, v2: 1 }),
    ten("IMDSv1 read that names the header", &["send", NAMED, "receive"], ONE_V1),
    Kind {
        name: "IMDSv1 reads on one connection",
        steps: &["times", "50", "send", V1, "receive"],
        processes: 1,
        at_once: 1,
        makes: Truth { v1: 50, v2: 0 },
    },
    Kind {
        name: "processes, eight at a time",
        steps: &["send", V1, "receive"],
        processes: 200,
        at_once: 8,
        makes: ONE_V1,
    },
];

/// The service and whoever calls it.
pub struct Callers<'a> {
    /// Does what its arguments say.
    client: &'a Path,
    network: &'a Network,
    /// Where the service is.
    pub address: SocketAddr,
    service: BackgroundService,
    token: String,
}

impl<'a> Callers<'a> {
    /// Starts the service.
    ///
    /// # Errors
    /// Returns an error if it cannot be started, or gives no token.
    pub fn start(client: &'a Path, network: &'a Network, port: u16) -> Result<Self> {
        let address = SocketAddr::from((SERVICE_V4, port));
        let builder = Service::builder().log_capacity(LOG);
        let service = BackgroundService::start(builder, vec![network.listen(address)?])?;
        let mut callers = Self { client, network, address, service, token: String::new() };
        end(callers.call(&["send", TOKEN, "receive"])?)?;
        let tokens = callers.service.handle().issued_tokens();
        callers.token = tokens.into_iter().next().context("the service issued no token")?;
        Ok(callers)
    }

    /// Makes the requests of a kind, and returns what the service says of them.
    ///
    /// # Errors
    /// Returns an error if a caller fails, or the service saw other requests than were to be made.
    pub fn make(&self, kind: &Kind) -> Result<Truth> {
        let log = || self.service.handle().log().entries();
        let before = log().len();
        let mut running = VecDeque::new();
        for _ in 0..kind.processes {
            if running.len() == kind.at_once {
                running.pop_front().map(end).transpose()?;
            }
            running.push_back(self.call(kind.steps)?);
        }
        running.into_iter().try_for_each(end)?;
        let mut truth = Truth::default();
        for entry in log().iter().skip(before) {
            match is_v2(entry) {
                true => truth.v2 += 1,
                false => truth.v1 += 1,
            }
        }
        let wanted = kind.makes.times(kind.processes as u64);
        ensure!(truth == wanted, "{}: the service saw {truth:?}, not {wanted:?}", kind.name);
        Ok(truth)
    }

    /// Starts a caller.
    fn call(&self, steps: &[&str]) -> Result<Child> {
        let mut command = self.network.command(self.client)?;
        command.args(["connect", &self.address.to_string()]).args(steps);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env(NAMESPACE_VARIABLE, self.network.client_inode().to_string());
        command.env(TOKEN_VARIABLE, &self.token);
        command.spawn().with_context(|| self.client.display().to_string())
    }
}

fn end(mut caller: Child) -> Result<()> {
    let status = caller.wait()?;
    ensure!(status.success(), "a caller ended with {status}");
    Ok(())
}

fn is_v2(entry: &Entry) -> bool {
    entry.method == "PUT" || entry.token == TokenHeader::Present
}
