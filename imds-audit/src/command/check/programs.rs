//! Verdicts of the kernel on each eBPF program, found by loading and attaching it.

use super::finding::{Item, Status};
use crate::agent;
use crate::source::ebpf::host::{CgroupRoot, Host, is_initial_user_namespace};
use crate::source::ebpf::loader::{
    EbpfError, KernelReads, LoadResults, Loaded, Options, Program, resolve_offsets, try_each,
};
use crate::source::ebpf::verifier_log::Refusal;

const KERNEL_READS: &str = "kernel-reads";
const RING: &str = "ring-buffer";
const ATTACHMENT: &str = "attachment";
const AGENT_RIGHTS: &str = "agent-rights";
/// What is lost where the eBPF programs cannot be set up.
const NOTHING: &str = "nothing can be audited";
const NO_READS: &str = "processes are named by pid, name and user at connect time only: no \
     arguments, ancestors or start time from the kernel";

/// Makes the items of what was not tried.
pub(super) fn untested(why: &str) -> Vec<Item> {
    let names = [KERNEL_READS.to_owned(), RING.to_owned()].into_iter();
    let programs = Program::ALL.into_iter().map(name);
    let last = [ATTACHMENT.to_owned(), AGENT_RIGHTS.to_owned()];
    names.chain(programs).chain(last).map(|n| Item::untested(n, why)).collect()
}

/// Loads every program, with kernel reads and, if that fails, without them; then attaches all for
/// a moment.
pub(super) fn items(options: &Options, host: &Host, root: Option<&CgroupRoot>) -> Vec<Item> {
    let (reads, _) = resolve_offsets(&options.btf);
    let mut tried = match try_each(options, &reads) {
        Ok(tried) => tried,
        Err(error) => return vec![ring_refused(&error, options)],
    };
    let mut items = vec![kernel_reads(&reads, &tried, host)];
    if matches!(reads, KernelReads::Offsets(_)) && !all_loaded(&tried) {
        match try_each(options, &KernelReads::None) {
            Ok(without) => {
                if !all_loaded(&without) {
                    items.clear();
                }
                tried = without;
            }
            Err(error) => return vec![ring_refused(&error, options)],
        }
    }
    if items.is_empty() {
        items.push(Item::untested(KERNEL_READS, "the programs do not load without them either"));
    }
    items.push(Item::ok(RING, format!("{} KiB", options.ring_bytes >> 10)));
    let loaded = all_loaded(&tried);
    items.extend(tried.into_iter().map(|(program, result)| loading(program, result)));
    let untested = |why| [ATTACHMENT, AGENT_RIGHTS].map(|name| Item::untested(name, why));
    items.extend(match root {
        _ if !loaded => untested("not every program loads"),
        None => untested("there is no cgroup v2"),
        Some(root) => attachment(options, root),
    });
    items
}

fn all_loaded(tried: &LoadResults) -> bool {
    tried.iter().all(|(program, result)| program.is_optional() || result.is_ok())
}

fn name(program: Program) -> String {
    format!("program-{}", program.name())
}

fn ring_refused(error: &EbpfError, options: &Options) -> Item {
    let found = format!("{} KiB: {}", options.ring_bytes >> 10, Refusal::of(error).reason);
    Item::lacking(RING, Status::Missing, found, NOTHING).remedy(if is_initial_user_namespace() {
        "use Linux 5.10 or newer; before 5.11, raise the limit: ulimit -l unlimited"
    } else {
        "run in the host's user namespace"
    })
}

fn kernel_reads(reads: &KernelReads, tried: &LoadResults, host: &Host) -> Item {
    let lockdown = host.lockdown.as_deref().unwrap_or("none");
    if let KernelReads::None = reads {
        return Item::lacking(KERNEL_READS, Status::Degraded, "not possible without BTF", NO_READS);
    }
    if all_loaded(tried) {
        return Item::ok(KERNEL_READS, format!("allowed; lockdown: {lockdown}"));
    }
    let refusal = tried.iter().find_map(|(_, result)| result.as_ref().err()).map(Refusal::of);
    let reason = refusal.map_or_else(String::new, |refusal| format!(": {}", refusal.reason));
    let item = Item::lacking(
        KERNEL_READS,
        Status::Degraded,
        format!("refused; lockdown: {lockdown}{reason}"),
        NO_READS,
    );
    if lockdown == "confidentiality" {
        return item.remedy("boot with lockdown=integrity to have it all");
    }
    item
}

fn loading(program: Program, result: Result<(), EbpfError>) -> Item {
    let Err(error) = result else { return Item::ok(name(program), "loads") };
    let Refusal { reason, verifier_log } = Refusal::of(&error);
    let (status, begins) = if program.is_optional() {
        (Status::Degraded, "")
    } else {
        (Status::Missing, "the audit does not start; without it, ")
    };
    let consequence = format!("{begins}{}", program.consequence());
    let item = Item::lacking(name(program), status, reason, consequence)
        .remedy("report it with the output of imds-audit check --json");
    Item { verifier_log, ..item }
}

fn attachment(options: &Options, root: &CgroupRoot) -> [Item; 2] {
    let attached = Loaded::load(options).and_then(|mut loaded| {
        loaded.attach(root)?;
        Ok(loaded)
    });
    match attached {
        Ok(loaded) => {
            let item = Item::ok(ATTACHMENT, "all programs attach, and were detached again");
            [item, agent_rights(&loaded)]
        }
        Err(error) => {
            let refusal = Refusal::of(&error);
            let item = Item::lacking(ATTACHMENT, Status::Missing, refusal.reason, NOTHING).remedy(
                "see whether another program holds the root exclusively: bpftool cgroup tree",
            );
            [item, Item::untested(AGENT_RIGHTS, "nothing is attached")]
        }
    }
}

/// Says which rights `imds-audit agent` keeps here.
fn agent_rights(loaded: &Loaded) -> Item {
    match agent::kept(|| loaded.answers()) {
        Some(kept) if kept.is_empty() => {
            Item::ok(AGENT_RIGHTS, "an attached agent keeps no capability")
        }
        Some(kept) => {
            let kept = kept.join(", ");
            Item::ok(AGENT_RIGHTS, format!("an attached agent keeps {kept}, and no other"))
        }
        None => Item::lacking(
            AGENT_RIGHTS,
            Status::Degraded,
            "the kernel lets no capability be given up",
            "the agent does not start, unless privileges.drop_capabilities is false",
        ),
    }
}
