//! The servers of other traffic: iperf3, Redis and nginx, each in a namespace.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use imds_audit::simulator::Namespace;
use tempfile::TempDir;

use super::processor::{Processor, pin};

/// The ports, in namespaces where nobody else is.
pub const IPERF: u16 = 5201;
/// As [`IPERF`].
pub const REDIS: u16 = 6379;
/// As [`IPERF`].
pub const NGINX: u16 = 8080;

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The servers, running. Ended when dropped.
pub struct Servers {
    children: Vec<Child>,
    /// Their files; gone with them.
    _folder: TempDir,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Servers {
    /// Starts them on an address within a namespace and waits until they answer.
    ///
    /// # Errors
    /// Returns an error if one cannot be started, or does not answer.
    pub fn start(namespace: &Namespace, address: IpAddr, nginx: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut servers = Self { children: Vec::new(), _folder: folder };
        let path = servers._folder.path().to_owned();
        let ip = address.to_string();

        let mut iperf = namespace.command("iperf3")?;
        iperf.args(["-s", "-B", &ip, "-p", &IPERF.to_string()]);
        // In Debian the server is a name of this program, in the package of the clients; the
        // package of the server would start one on the host.
        let mut redis = namespace.command("redis-check-rdb")?;
        redis.arg0("redis-server").args(["--bind", &ip, "--port", &REDIS.to_string()]);
        redis.args(["--save", "", "--appendonly", "no", "--protected-mode", "no"]);
        let configuration = path.join("nginx.conf");
        fs::write(&configuration, nginx_configuration(&path, address))?;
        let mut web = namespace.command(nginx)?;
        web.arg("-p").arg(&path).arg("-c").arg(&configuration).args(["-e", "stderr"]);

        for (mut command, port) in [(iperf, IPERF), (redis, REDIS), (web, NGINX)] {
            command.current_dir(&path);
            servers.children.push(start(&mut command)?);
            let server = SocketAddr::new(address, port);
            namespace
                .run(|| wait_for(server))?
                .with_context(|| format!("{:?} does not answer", command.get_program()))?;
        }
        Ok(servers)
    }
}

fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure runs between fork and exec; it makes one system call and allocates
    // nothing.
    unsafe {
        command.pre_exec(|| pin(Processor::First));
    }
    command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))
}

fn wait_for(server: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        match TcpStream::connect(server) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
}

/// One process that answers a few bytes and keeps connections, with nothing outside of a folder.
fn nginx_configuration(folder: &Path, address: IpAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           access_log off; keepalive_requests 100000000;\n\
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
           fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;\n\
           scgi_temp_path {folder}/scgi;\n\
           server {{ listen {address}:{NGINX}; location / {{ return 200 \"ok\\n\"; }} }}\n\
         }}\n"
    )
}
