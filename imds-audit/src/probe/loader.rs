//! Loads the kernel half and attaches it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, ProgramError},
};
use imds_audit_ebpf::{Endpoint, MAX_ENDPOINTS, Offsets};
use zerocopy::IntoBytes;

use super::{
    KERNEL_HALF, btf,
    host::{CgroupError, CgroupRoot, PERFMON, Rights, VMLINUX_BTF, read_btf},
    refusal::Refusal,
};

/// The map of records.
pub(super) const RECORDS: &str = "RECORDS";
/// The map of loss counters.
pub(super) const LOSSES: &str = "LOSSES";
/// The map of loss counters by process.
pub(super) const LOSERS: &str = "LOSERS";

/// The kernel half's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// `connect` on IPv4 sockets.
    Connect4,
    /// `connect` on IPv6 sockets, which includes IPv4-mapped addresses.
    Connect6,
    /// Outgoing packets: requests.
    Egress,
    /// Incoming packets: response headers.
    Ingress,
}

impl Program {
    /// All of them. Ingress is attached first and the connects last, so that whatever connects
    /// after that is seen whole.
    pub const ALL: [Self; 4] = [Self::Ingress, Self::Egress, Self::Connect6, Self::Connect4];

    /// Returns its name in the object and in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }

    /// Says what is lost without it.
    pub const fn consequence(self) -> &'static str {
        match self {
            Self::Connect4 => "IPv4 callers are named only where they write in their own context",
            Self::Connect6 => {
                "callers on IPv6 sockets (Java) are named only where they write in their own context"
            }
            Self::Egress => "no request is seen",
            Self::Ingress => "every outcome is unobserved",
        }
    }
}

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

/// Why the kernel half does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// This build has no kernel half.
    #[error(
        "this imds-audit was built without its kernel half and cannot audit; build it with \
         `cargo xtask build`"
    )]
    NotBuilt,
    /// More endpoints than there are places.
    #[error("at most {MAX_ENDPOINTS} endpoints can be audited, {0} were given")]
    TooManyEndpoints(usize),
    /// Rights are missing.
    #[error(
        "not allowed to load BPF programs: {} missing. Run as root, or with: \
         setpriv --inh-caps +bpf,+net_admin,+perfmon --ambient-caps +bpf,+net_admin,+perfmon … \
         ({error})", missing.join(" and ")
    )]
    Rights {
        /// The missing capabilities.
        missing: Vec<&'static str>,
        /// The system's answer.
        error: String,
    },
    /// The kernel refuses to set up the object.
    #[error("the kernel refuses the object's maps: {0}")]
    Object(#[source] Box<EbpfError>),
    /// The kernel refuses a program.
    #[error("the kernel refuses the program {}: {error}", program.name())]
    Load {
        /// Which one.
        program: Program,
        /// The system's answer and the verifier's output.
        #[source]
        error: Box<ProgramError>,
    },
    /// A program cannot be attached.
    #[error("the program {} cannot be attached to the cgroup v2 root: {error}", program.name())]
    Attach {
        /// Which one.
        program: Program,
        /// The system's answer.
        #[source]
        error: Box<ProgramError>,
    },
    /// There is no cgroup v2.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The ring cannot be read.
    #[error("the ring of records cannot be read: {0}")]
    Ring(#[source] io::Error),
    /// A map cannot be used.
    #[error("the map {name} cannot be used: {error}")]
    Map {
        /// Which one.
        name: &'static str,
        /// The system's answer.
        #[source]
        error: Box<aya::maps::MapError>,
    },
}

/// What the kernel half is loaded with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The audited endpoints, at most [`MAX_ENDPOINTS`].
    pub endpoints: Vec<SocketAddr>,
    /// The size of the ring of records in bytes; the kernel wants a power of two of pages, and
    /// aya rounds to one.
    pub ring_bytes: u32,
    /// The most detailed level at which the kernel half logs, in aya-log's numbers: 0 for
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

/// The loaded kernel half, with nothing attached yet.
pub struct Loaded {
    pub(super) ebpf: Ebpf,
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

/// What it costs where kernel memory cannot be read, for want of BTF or of the right.
const NO_READS: &str = "processes are named by pid, name and user at connect time only: no \
     arguments, ancestors or start time from the kernel, and no writer apart from the connector";

/// Finds the offsets of the running kernel.
pub fn resolve_offsets(path: &Path) -> (KernelReads, Vec<Fallback>) {
    let data = match read_btf(path) {
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
    /// Where this build has no kernel half, rights are missing, or the kernel refuses.
    pub fn load(options: &Options) -> Result<Self, ProbeError> {
        let (reads, mut fallbacks) = resolve_offsets(&options.btf);
        let KernelReads::Offsets(_) = reads else {
            return Ok(Self { ebpf: load_all(options, &KernelReads::None)?, fallbacks });
        };
        match load_all(options, &reads) {
            Ok(ebpf) => Ok(Self { ebpf, fallbacks }),
            // The same programs load with the reads compiled out. A refusal for any other reason
            // is a fault of ours, which must not pass for a trait of the host.
            Err(refused) if is_ban_on_reads(&refused) => {
                match load_all(options, &KernelReads::None) {
                    Ok(ebpf) => {
                        fallbacks.push(Fallback {
                            name: "no-kernel-reads",
                            reason: refusal(&refused),
                            consequence: NO_READS,
                        });
                        Ok(Self { ebpf, fallbacks })
                    }
                    Err(_) => Err(refused),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Attaches every program to the root of cgroup v2.
    ///
    /// # Errors
    /// Where cgroup v2 is not to be had, or the kernel refuses.
    pub fn attach(&mut self, root: &CgroupRoot) -> Result<(), ProbeError> {
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
        for program in Program::ALL {
            attach_one(&mut self.ebpf, program, root)
                .map_err(|error| ProbeError::Attach { program, error: Box::new(error) })?;
        }
        Ok(())
    }

    /// Returns a program's descriptor, to run it on a packet or to look at it.
    pub fn descriptor(&self, program: Program) -> Option<BorrowedFd<'_>> {
        Some(self.ebpf.program(program.name())?.fd().ok()?.as_fd())
    }

    /// Returns how many instructions the verifier looked at for each program, where the kernel
    /// tells (Linux 5.16 and newer).
    pub fn verified_instructions(&self) -> Vec<(Program, Option<u32>)> {
        Program::ALL
            .into_iter()
            .map(|program| {
                let info = self.ebpf.program(program.name()).and_then(|p| p.info().ok());
                (program, info.and_then(|info| info.verified_instruction_count()))
            })
            .collect()
    }
}

/// Returns whether a program was refused because it may not read kernel memory: CAP_PERFMON is
/// missing, or lockdown forbids it, and then the kernel says that it has no such helper.
fn is_ban_on_reads(error: &ProbeError) -> bool {
    if !matches!(error, ProbeError::Load { .. }) {
        return false;
    }
    let reason = Refusal::of(error).reason;
    !Rights::read().allows(PERFMON)
        || reason.contains("unknown func")
        || reason.contains("cannot use helper")
}

fn refusal(error: &ProbeError) -> String {
    if !Rights::read().allows(PERFMON) {
        return "CAP_PERFMON is missing".to_owned();
    }
    format!("the kernel does not let programs read its memory: {}", Refusal::of(error).reason)
}

/// Creates the maps and loads all programs.
fn load_all(options: &Options, reads: &KernelReads) -> Result<Ebpf, ProbeError> {
    let mut ebpf = create(options, reads)?;
    for program in Program::ALL {
        load_one(&mut ebpf, program).map_err(|error| explain_load(program, error))?;
    }
    Ok(ebpf)
}

/// What the kernel said to each program.
pub type Tried = Vec<(Program, Result<(), ProbeError>)>;

/// Tries every program by itself, for the check command.
///
/// # Errors
/// Where not even the maps can be made.
pub fn try_each(options: &Options, reads: &KernelReads) -> Result<Tried, ProbeError> {
    let mut ebpf = create(options, reads)?;
    Ok(Program::ALL
        .into_iter()
        .map(|program| {
            let result = load_one(&mut ebpf, program).map_err(|e| explain_load(program, e));
            (program, result)
        })
        .collect())
}

fn create(options: &Options, reads: &KernelReads) -> Result<Ebpf, ProbeError> {
    if KERNEL_HALF.is_empty() {
        return Err(ProbeError::NotBuilt);
    }
    let endpoints = encode_endpoints(&options.endpoints)?;
    let (may_read, offsets) = match reads {
        KernelReads::Offsets(offsets) => (1u32, **offsets),
        KernelReads::None => (0, Offsets::NONE),
    };
    EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::default())
        .override_global("READ_KERNEL", &may_read, true)
        .override_global("OFFSETS", offsets.as_bytes(), true)
        .override_global("ENDPOINTS", endpoints.as_bytes(), true)
        .override_global("AYA_LOG_LEVEL", &options.log_level, true)
        .map_max_entries(RECORDS, options.ring_bytes)
        .load(KERNEL_HALF)
        .map_err(explain_object)
}

fn encode_endpoints(given: &[SocketAddr]) -> Result<[Endpoint; MAX_ENDPOINTS], ProbeError> {
    if given.len() > MAX_ENDPOINTS {
        return Err(ProbeError::TooManyEndpoints(given.len()));
    }
    let mut endpoints = [Endpoint::default(); MAX_ENDPOINTS];
    for (place, address) in endpoints.iter_mut().zip(given) {
        *place = encode_endpoint(*address);
    }
    Ok(endpoints)
}

/// Encodes an address; an IPv4-mapped one is the IPv4 one, as on the wire.
fn encode_endpoint(address: SocketAddr) -> Endpoint {
    let port = u32::from(address.port());
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            Endpoint { address: [u32::from_ne_bytes(ip.octets()), 0, 0, 0], port, ip_version: 4 }
        }
        IpAddr::V6(ip) => {
            let mut words = [0; 4];
            words.as_mut_bytes().copy_from_slice(&ip.octets());
            Endpoint { address: words, port, ip_version: 6 }
        }
    }
}

fn load_one(ebpf: &mut Ebpf, program: Program) -> Result<(), ProgramError> {
    match program {
        Program::Connect4 | Program::Connect6 => sock_addr(ebpf, program)?.load(),
        Program::Egress | Program::Ingress => skb(ebpf, program)?.load(),
    }
}

/// Attaches through a link, which goes when this process goes.
///
/// The mode must be `Single` here: links always coexist, and the kernel refuses any flag with
/// them (`cgroup_bpf_link_attach` in `kernel/bpf/cgroup.c`, since Linux 5.7).
fn attach_one(ebpf: &mut Ebpf, program: Program, root: &CgroupRoot) -> Result<(), ProgramError> {
    let mode = CgroupAttachMode::Single;
    match program {
        Program::Connect4 | Program::Connect6 => {
            sock_addr(ebpf, program)?.attach(&root.folder, mode)?;
        }
        Program::Egress => {
            skb(ebpf, program)?.attach(&root.folder, CgroupSkbAttachType::Egress, mode)?;
        }
        Program::Ingress => {
            skb(ebpf, program)?.attach(&root.folder, CgroupSkbAttachType::Ingress, mode)?;
        }
    }
    Ok(())
}

fn sock_addr(ebpf: &mut Ebpf, program: Program) -> Result<&mut CgroupSockAddr, ProgramError> {
    ebpf.program_mut(program.name()).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn skb(ebpf: &mut Ebpf, program: Program) -> Result<&mut CgroupSkb, ProgramError> {
    ebpf.program_mut(program.name()).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn explain_object(error: EbpfError) -> ProbeError {
    let missing = Rights::read().missing();
    if missing.is_empty() {
        ProbeError::Object(Box::new(error))
    } else {
        ProbeError::Rights { missing, error: error.to_string() }
    }
}

fn explain_load(program: Program, error: ProgramError) -> ProbeError {
    let missing = Rights::read().missing();
    if missing.is_empty() {
        ProbeError::Load { program, error: Box::new(error) }
    } else {
        ProbeError::Rights { missing, error: format!("{}: {error}", program.name()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_mapped_endpoint_is_the_ipv4_one() {
        let plain: SocketAddr = "169.254.169.254:80".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:169.254.169.254]:80".parse().unwrap();
        assert_eq!(encode_endpoint(plain), encode_endpoint(mapped));
        assert_eq!(encode_endpoint(plain).address[0].to_ne_bytes(), [169, 254, 169, 254]);
    }

    #[test]
    fn a_ninth_endpoint_is_refused() {
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        assert!(encode_endpoints(&[address; 8]).is_ok());
        assert!(matches!(encode_endpoints(&[address; 9]), Err(ProbeError::TooManyEndpoints(9))));
    }
}
