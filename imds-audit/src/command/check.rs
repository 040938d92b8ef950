//! `check`: tells what this host allows, what is missing, what that costs and what to do.

mod finding;
mod guests;
mod host;
mod packet;
mod programs;
mod rights;
mod text;
mod verdict;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde::Serialize;

use super::ExitStatus;
use super::roots::RootArguments;
use crate::pipeline::endpoints::default_endpoints;
use crate::pipeline::origin;
use crate::process::Roots;
use crate::source::ebpf::host::{CgroupRoot, Host, Rights, is_initial_user_namespace};
use crate::source::ebpf::is_built;
use crate::source::ebpf::loader::{Options, resolve_offsets};
use crate::source::packet::PacketSource;
use finding::{Item, Status};
use rights::Ways;
use verdict::Verdict;

/// The version of the JSON form. Fields and items may be added without a new one.
const SCHEMA: u32 = 1;
/// The options of `check`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CheckArguments {
    /// Print one JSON object in place of text
    #[arg(long)]
    pub json: bool,

    /// Where the host's file systems are
    #[command(flatten)]
    pub roots: RootArguments,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The version of this form.
    pub schema: u32,
    /// The host.
    pub host: Host,
    /// How much of it can be audited.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub summary: String,
    /// Everything that was looked at, in a fixed order.
    pub items: Vec<Item>,
}

/// Looks at the host and prints what was found. The exit code is 0 where the audit can run, also
/// in part, and 4 where it cannot.
///
/// # Errors
/// Returns an error if the report cannot be written. A closed pipe is no error.
pub(super) fn run(arguments: &CheckArguments) -> Result<ExitStatus> {
    let report = Report::make(&arguments.roots.roots());
    let mut page = if arguments.json {
        serde_json::to_string_pretty(&report).context("cannot render the report")?
    } else {
        text::render(&report)
    };
    if !page.ends_with('\n') {
        page.push('\n');
    }
    let mut output = io::stdout().lock();
    match output.write_all(page.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write the report");
        }
        Ok(()) | Err(_) => {}
    }
    Ok(match report.verdict {
        Verdict::Full | Verdict::Partial => ExitStatus::Done,
        Verdict::Impossible => ExitStatus::NotAllowed,
    })
}

impl Report {
    /// Looks at the host. Programs are loaded and attached for a moment; nothing is left behind.
    pub(super) fn make(roots: &Roots) -> Self {
        let options = Options { endpoints: default_endpoints(), ..Options::default() };
        let mut host = Host::read();
        if let Some(name) = origin::host_name(roots) {
            host.name = name;
        }
        let root = CgroupRoot::find();
        let mut items = vec![build()];
        items.extend(rights::items(Rights::read(), &ways(), root.is_ok()));
        items.push(host::cgroup(&root));
        let (reads, fallbacks) = resolve_offsets(&options.btf);
        items.push(host::btf(&reads, &fallbacks));
        items.extend(match obstacle(&items) {
            Some(why) => programs::untested(&why),
            None => programs::items(&options, &host, root.as_ref().ok()),
        });
        items.push(host::pid_namespace(&host));
        items.push(host::procfs(&roots.procfs));
        let mounted = root.as_ref().ok().and_then(|root| root.path.as_deref());
        items.push(host::cgroup_names(roots.cgroup.as_deref().or(mounted)));
        items.push(host::pod_names(&roots.kubelet_logs));
        items.push(guests::guests(&roots.procfs));
        let of_ebpf = Verdict::of(&items);
        let packet = PacketSource::try_open(&options.endpoints);
        let verdict = match (of_ebpf, &packet) {
            (Verdict::Impossible, Ok(())) => Verdict::Partial,
            (verdict, _) => verdict,
        };
        items.push(packet::source(of_ebpf, packet));
        Self { schema: SCHEMA, host, verdict, summary: verdict.sentence(&items), items }
    }
}

fn build() -> Item {
    const NAME: &str = "ebpf-programs";
    if is_built() {
        return Item::ok(NAME, "in this program");
    }
    Item::lacking(
        NAME,
        Status::Missing,
        "this program was built without it",
        "nothing can be audited, on any host",
    )
    .remedy("build it: cargo xtask build")
}

/// Returns why the programs need not be tried: without the build or the rights for them the
/// kernel's answer is known, and would hide what is really missing.
fn obstacle(items: &[Item]) -> Option<String> {
    let before = items.iter().filter(|item| item.status == Status::Missing);
    let names: Vec<&str> =
        before.map(|i| i.name.as_str()).filter(|name| *name != "cgroup-root").collect();
    (!names.is_empty()).then(|| format!("{} missing", names.join(", ")))
}

fn ways() -> Ways {
    Ways {
        program: super::program_name(),
        is_root: rustix::process::geteuid().is_root(),
        initial_user_namespace: is_initial_user_namespace(),
    }
}
