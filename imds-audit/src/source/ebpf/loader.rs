//! Loads the eBPF programs and attaches them.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::Map;
use imds_audit_ebpf::Offsets;
use zerocopy::IntoBytes;

use super::{
    audit_object, btf,
    endpoints::encode_endpoints,
    host::{CgroupRoot, Rights},
    object::{Object, ObjectError},
    program::Hook,
    syscall::{self, Refused},
    verifier_log::Refusal,
    vmlinux::{KernelBtf, VMLINUX_BTF},
};

pub(crate) use super::error::EbpfError;
pub use super::program::Program;

/// The map of records.
pub(super) const RECORDS: &str = "RECORDS";
/// The map of loss counters.
pub(super) const LOSSES: &str = "LOSSES";
/// The map of loss counters by process.
pub(super) const LOSSES_BY_PROCESS: &str = "LOSSES_BY_PROCESS";
/// The map of processes whose snapshot was written.
pub(super) const SNAPSHOTS: &str = "SNAPSHOTS";
/// The map of programs that processes began.
pub(super) const BEGUN: &str = "BEGUN";

/// Something that the audit does without on this host.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Fallback {
    /// A stable name.
    pub name: &'static str,
    /// Why it is in force.
    pub reason: String,
    /// What it costs.
    pub consequence: &'static str,
}

/// What the eBPF programs are loaded with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The audited endpoints, at most [`MAX_ENDPOINTS`](imds_audit_ebpf::MAX_ENDPOINTS).
    pub endpoints: Vec<SocketAddr>,
    /// The size of the ring of records in bytes; the kernel wants a power of two of pages, and
    /// it is rounded up to one.
    pub ring_bytes: u32,
    /// The most detailed level at which the eBPF programs log, in aya-log's numbers: 0 for
    /// nothing, 1 for errors, 4 for debugging.
    pub log_level: u8,
    /// Where the kernel's BTF is read from.
    pub btf: std::path::PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ring_bytes: 2 << 20,
            log_level: 0,
            btf: Path::new(VMLINUX_BTF).to_owned(),
        }
    }
}

/// The loaded eBPF programs, with nothing attached yet.
pub struct Loaded {
    pub(super) maps: HashMap<String, Map>,
    programs: Programs,
    /// Each keeps a program attached.
    links: Vec<OwnedFd>,
    /// What it does without.
    pub fallbacks: Vec<Fallback>,
}

/// How the kernel's structures can be read.
#[derive(Clone, Debug)]
pub enum KernelReads {
    /// By these offsets.
    Offsets(Box<Offsets>),
    /// Not at all.
    None,
}

/// What it costs where kernel memory cannot be read, for want of BTF or because of lockdown.
const NO_READS: &str = "processes are named by pid, name and user at connect time only: no \
     arguments, ancestors or start time from the kernel, and no writer apart from the connector";

/// Finds the offsets of the running kernel.
pub(crate) fn resolve_offsets(path: &Path) -> (KernelReads, Vec<Fallback>) {
    let data = match KernelBtf::open(path) {
        Ok(data) => data,
        Err(error) => {
            let reason = format!("{} cannot be read: {error}", path.display());
            return (
                KernelReads::None,
                vec![Fallback { name: "no-btf", reason, consequence: NO_READS }],
            );
        }
    };
    match btf::resolve(&data) {
        Ok(resolved) => {
            let fallbacks = resolved.missing.into_iter().map(|(member, why)| Fallback {
                name: "no-member",
                reason: format!("{member}: {why}"),
                consequence: "what is read from this member is absent",
            });
            (KernelReads::Offsets(Box::new(resolved.offsets)), fallbacks.collect())
        }
        Err(error) => {
            let reason = format!("{}: {error}", path.display());
            (KernelReads::None, vec![Fallback { name: "no-btf", reason, consequence: NO_READS }])
        }
    }
}

impl Loaded {
    /// Loads the programs, with kernel reads where the host allows them.
    ///
    /// # Errors
    /// Returns an error if this build has no eBPF programs, rights are missing, or the kernel
    /// refuses.
    pub fn load(options: &Options) -> Result<Self, EbpfError> {
        let (reads, mut fallbacks) = resolve_offsets(&options.btf);
        let refused = match load_all(options, &reads) {
            Ok((maps, programs, without)) => {
                fallbacks.extend(without);
                return Ok(Self::new(maps, programs, fallbacks));
            }
            Err(error) => error,
        };
        // The same programs load with the reads compiled out. A refusal for any other reason is a
        // fault of ours, which must not pass for a trait of the host.
        if !matches!(reads, KernelReads::Offsets(_)) || !is_ban_on_reads(&refused) {
            return Err(refused);
        }
        let Ok((maps, programs, _)) = load_all(options, &KernelReads::None) else {
            return Err(refused);
        };
        fallbacks.push(Fallback {
            name: "no-kernel-reads",
            reason: refusal(&refused),
            consequence: NO_READS,
        });
        Ok(Self::new(maps, programs, fallbacks))
    }

    fn new(maps: Maps, programs: Programs, fallbacks: Vec<Fallback>) -> Self {
        Self { maps, programs, links: Vec::new(), fallbacks }
    }

    /// Attaches every program: to the root of cgroup v2, or to its tracepoint.
    ///
    /// # Errors
    /// Returns an error if cgroup v2 is not to be had, or the kernel refuses.
    pub fn attach(&mut self, root: &CgroupRoot) -> Result<(), EbpfError> {
        if !root.is_whole {
            self.fallbacks.push(Fallback {
                name: "partial-cgroup",
                reason: format!(
                    "the cgroup v2 mounted at {} is a part of the hierarchy",
                    root.path.as_deref().unwrap_or(Path::new("(private)")).display()
                ),
                consequence: "only processes in this part are audited: the container's own",
            });
        }
        for (program, descriptor) in std::mem::take(&mut self.programs) {
            let attached = match program.hook() {
                Hook::Cgroup(hook) => syscall::link(descriptor.as_fd(), root.folder.as_fd(), hook),
                // A tracepoint knows no part: it would keep the command lines of the whole host.
                Hook::Tracepoint(_) if !root.is_whole => {
                    let reason = "only a part of the host is audited".to_owned();
                    self.fallbacks.push(without(program, reason));
                    continue;
                }
                Hook::Tracepoint(name) => syscall::raw_tracepoint(descriptor.as_fd(), name),
            };
            match attached {
                Ok(link) => self.links.push(link),
                Err(error) if program.is_optional() => {
                    self.fallbacks.push(without(program, error.to_string()));
                    continue;
                }
                Err(error) => return Err(EbpfError::Attach { program, error }),
            }
            self.programs.push((program, descriptor));
        }
        Ok(())
    }

    /// Returns the programs that were loaded and not left out since.
    pub fn programs(&self) -> impl Iterator<Item = Program> {
        self.programs.iter().map(|(program, _)| *program)
    }

    /// Returns a program's descriptor, to run it on a packet or to look at it.
    pub fn descriptor(&self, program: Program) -> Option<BorrowedFd<'_>> {
        let found = self.programs.iter().find(|(loaded, _)| *loaded == program);
        found.map(|(_, descriptor)| descriptor.as_fd())
    }

    /// Returns the kernel's number of one of the programs.
    ///
    /// # Errors
    /// Returns the system's error.
    pub(super) fn number(&self) -> io::Result<u32> {
        let (_, program) = self.programs.first().ok_or(io::ErrorKind::NotFound)?;
        Ok(syscall::program_info(program.as_fd())?.id)
    }

    /// Returns whether the kernel answers about what was loaded with the rights held now. Before
    /// Linux 5.19 it does so, and lets maps be read, with CAP_BPF only, unless
    /// `kernel.unprivileged_bpf_disabled` is 0.
    pub fn answers(&self) -> bool {
        self.number().is_ok()
    }

    /// Returns how many instructions the verifier looked at for each program, where the kernel
    /// tells (Linux 5.16 and newer).
    pub fn verified_instructions(&self) -> Vec<(Program, Option<u32>)> {
        let count = |descriptor: &OwnedFd| {
            let info = syscall::program_info(descriptor.as_fd()).ok()?;
            Some(info.verified_insns).filter(|&count| count > 0)
        };
        self.programs.iter().map(|(program, descriptor)| (*program, count(descriptor))).collect()
    }
}

/// Returns whether a program was refused because it may not read kernel memory: lockdown forbids
/// it, and then the kernel says that it has no such helper.
fn is_ban_on_reads(error: &EbpfError) -> bool {
    if !matches!(error, EbpfError::Load { .. }) {
        return false;
    }
    let reason = Refusal::of(error).reason;
    reason.contains("unknown func") || reason.contains("cannot use helper")
}

fn refusal(error: &EbpfError) -> String {
    format!("the kernel does not let programs read its memory: {}", Refusal::of(error).reason)
}

/// The object's maps by name.
type Maps = HashMap<String, Map>;

/// The programs that the kernel took.
type Programs = Vec<(Program, OwnedFd)>;

/// Creates the maps and loads all programs. Returns what it does without, too.
fn load_all(
    options: &Options,
    reads: &KernelReads,
) -> Result<(Maps, Programs, Vec<Fallback>), EbpfError> {
    let object = create(options, reads)?;
    let (mut programs, mut fallbacks) = (Vec::new(), Vec::new());
    for (program, result) in object.load_each() {
        match result.map_err(|error| explain_load(program, error)) {
            // It would find nothing to read.
            Ok(_) if program == Program::Exec && matches!(reads, KernelReads::None) => {}
            Ok(descriptor) => programs.push((program, descriptor)),
            Err(error) if program.is_optional() => {
                fallbacks.push(without(program, Refusal::of(&error).reason));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((object.into_maps(), programs, fallbacks))
}

/// Names what it costs to be without an optional program.
fn without(program: Program, reason: String) -> Fallback {
    Fallback { name: "no-exec", reason, consequence: program.consequence() }
}

/// What the kernel said to each program.
pub(crate) type LoadResults = Vec<(Program, Result<(), EbpfError>)>;

/// Tries every program by itself, for the check command.
///
/// # Errors
/// Returns an error if not even the maps can be made.
pub fn try_each(options: &Options, reads: &KernelReads) -> Result<LoadResults, EbpfError> {
    let tried = create(options, reads)?.load_each().into_iter();
    Ok(tried
        .map(|(program, result)| {
            (program, result.map(drop).map_err(|error| explain_load(program, error)))
        })
        .collect())
}

fn create(options: &Options, reads: &KernelReads) -> Result<Object<Program>, EbpfError> {
    let object = audit_object();
    if object.is_empty() {
        return Err(EbpfError::NotBuilt);
    }
    let endpoints = encode_endpoints(&options.endpoints)?;
    let (may_read, offsets) = match reads {
        KernelReads::Offsets(offsets) => (1u32, **offsets),
        KernelReads::None => (0, Offsets::NONE),
    };
    let globals: [(&str, &[u8]); 6] = [
        ("READ_KERNEL", may_read.as_bytes()),
        ("OFFSETS", offsets.as_bytes()),
        ("ENDPOINTS", endpoints.places.as_bytes()),
        ("IPV4_ENDPOINTS", endpoints.ipv4.as_bytes()),
        ("IPV6_ENDPOINTS", endpoints.ipv6.as_bytes()),
        ("AYA_LOG_LEVEL", options.log_level.as_bytes()),
    ];
    Object::prepare(&object, &globals, &[(RECORDS, options.ring_bytes)]).map_err(explain_object)
}

fn explain_object(error: ObjectError) -> EbpfError {
    let missing = Rights::read().missing();
    if missing.is_empty() && is_denied(&error) {
        EbpfError::Denied { what: "making maps", error: error.to_string() }
    } else if missing.is_empty() {
        EbpfError::Object(Box::new(error))
    } else {
        EbpfError::Rights { missing, error: error.to_string() }
    }
}

/// `ENOTSUPP` of `include/linux/errno.h`, which no C library names: what remains of a failed
/// just-in-time compilation (`bpf_prog_select_runtime`), after the verifier's approval.
const ENOTSUPP: i32 = 524;

/// Returns whether an error, or a cause of it, is EACCES. The kernel's own answer to a missing
/// capability is EPERM.
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let system = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        system == Some(libc::EACCES)
    })
}

fn explain_load(program: Program, error: Refused) -> EbpfError {
    if error.error.raw_os_error() == Some(ENOTSUPP) {
        return EbpfError::Jit { program };
    }
    // The verifier's refusals are EACCES too, with its reasons.
    if error.error.raw_os_error() == Some(libc::EACCES)
        && error.log.trim().is_empty()
        && Rights::read().missing().is_empty()
    {
        return EbpfError::Denied { what: "loading programs", error: error.error.to_string() };
    }
    let missing = Rights::read().missing();
    let refused = EbpfError::Load { program, error };
    if missing.is_empty() {
        return refused;
    }
    // The verifier's output says nothing that the missing right does not.
    let reason = Refusal::of(&refused).reason;
    EbpfError::Rights { missing, error: format!("{}: {reason}", program.name()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_after_the_verifier_s_approval_is_the_compiler_s() {
        let error = io::Error::from_raw_os_error(524);
        let log = "6158: (95) exit\nprocessed 6161 insns (limit 1000000)\n".to_owned();
        let explained = explain_load(Program::Egress, Refused { error, log });
        assert!(matches!(explained, EbpfError::Jit { program: Program::Egress }));
        assert!(Refusal::of(&explained).reason.contains("just-in-time compiler"));
    }

    #[test]
    fn a_permission_denied_at_the_first_map_is_a_security_module_s() {
        let denied = |code| ObjectError::Call {
            what: "loading its BTF",
            error: io::Error::from_raw_os_error(code),
        };
        assert!(is_denied(&denied(libc::EACCES)));
        assert!(!is_denied(&denied(libc::EPERM)));
        let map = aya::maps::MapError::CreateError {
            name: "RECORDS".to_owned(),
            io_error: io::Error::from_raw_os_error(libc::EACCES),
        };
        assert!(is_denied(&ObjectError::Map(map)));
    }
}
