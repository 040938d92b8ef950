//! The forms in which container runtimes and orchestrators name cgroups.

use crate::event::ContainerKind;

/// A container, or what an orchestrator has in the place of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id, or its name where the runtime has no ids.
    pub id: Box<[u8]>,
    /// The runtime, where the path names it.
    pub runtime: Option<Runtime>,
    /// What it is, if not just a container.
    pub kind: Option<ContainerKind>,
    /// A name beside the id: a task's, an application's, a job's step.
    pub name: Option<Box<[u8]>>,
    /// Who named it, if not the host: the container that it is in, or the unit of its user.
    pub within: Option<Box<[u8]>>,
    /// The id of the innermost container in it, as the container itself names that.
    pub inner: Option<Box<[u8]>>,
}

impl Container {
    fn new(id: &[u8], runtime: Option<Runtime>) -> Self {
        Self { id: id.into(), runtime, ..Self::default() }
    }

    /// Notes the step of a Slurm job.
    pub(super) fn add_step(&mut self, name: &[u8], context: &Context<'_>) {
        if self.runtime == Some(Runtime::Slurm)
            && context.parent.starts_with(b"job_")
            && name.starts_with(b"step_")
        {
            self.name = Some(name.into());
        }
    }

    /// Yields every text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let Self { id, runtime: _, kind: _, name, within, inner } = self;
        [Some(id), name.as_ref(), within.as_ref(), inner.as_ref()]
            .into_iter()
            .flatten()
            .map(|text| &**text)
    }
}

/// A container runtime, or an orchestrator that runs processes without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
    Lxc,
    SystemdNspawn,
    BuildKit,
    Nomad,
    Yarn,
    Slurm,
    HtCondor,
    Pbs,
    Mesos,
}

impl Runtime {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::SystemdNspawn => "systemd-nspawn",
            Self::BuildKit => "buildkit",
            Self::Nomad => "nomad",
            Self::Yarn => "yarn",
            Self::Slurm => "slurm",
            Self::HtCondor => "htcondor",
            Self::Pbs => "pbs",
            Self::Mesos => "mesos",
        }
    }
}

/// What stands before a container's id, and whose it is. A monitor's (`crio-conmon-`,
/// `libpod-conmon-`) does not end in just an id and so is none.
const PREFIXES: [(&[u8], Runtime); 6] = [
    (b"docker-", Runtime::Docker),
    (b"cri-containerd-", Runtime::Containerd),
    (b"nerdctl-", Runtime::Containerd),
    (b"crio-", Runtime::CriO),
    (b"libpod-", Runtime::Podman),
    (b"libpod-payload-", Runtime::Podman),
];

/// containerd's namespaces in common use; its cgroupfs form is the namespace, then the id.
const NAMESPACES: [&[u8]; 4] = [b"k8s.io", b"moby", b"default", b"buildkit"];

/// The length of an id of BuildKit's (`NewID` in identity/randomid.go of moby/buildkit).
const BUILD_ID: usize = 25;
/// containerd's own bound on names (pkg/identifiers/validate.go).
const MAX_IDENTIFIER: usize = 76;

/// Returns whether a user may run this runtime below his own manager: the kubelet's do not.
pub(super) fn is_runtime_of_users(container: &Container) -> bool {
    !matches!(container.runtime, Some(Runtime::CriO | Runtime::Containerd))
}

/// The folders above a component.
#[derive(Default)]
pub(super) struct Context<'a> {
    first: &'a [u8],
    grandparent: &'a [u8],
    parent: &'a [u8],
    in_kubepods: bool,
    depth: usize,
}

impl<'a> Context<'a> {
    /// Goes down into a folder.
    pub(super) fn enter(&mut self, name: &'a [u8]) {
        self.in_kubepods |= name == b"kubepods";
        if self.depth == 0 {
            self.first = name;
        }
        self.grandparent = self.parent;
        self.parent = name;
        self.depth += 1;
    }

    /// Returns the pod that a component names: a folder `podUID` below `kubepods`, or a slice
    /// whose name repeats the whole way, with `_` for `-`.
    pub(super) fn pod(&self, name: &[u8]) -> Option<Box<[u8]>> {
        let name = name.split(|&byte| byte == b':').next()?;
        let uid = match named(name, b".slice") {
            Some(stem) => {
                let (way, uid) = stem.split_at(find(stem, b"-pod")?);
                way.split(|&byte| byte == b'-').any(|part| part == b"kubepods").then_some(uid)?
            }
            None if self.in_kubepods => name,
            None => return None,
        };
        let uid = uid.strip_prefix(b"-").unwrap_or(uid).strip_prefix(b"pod")?;
        pod_uid(uid)
    }

    /// Returns the container that a component names.
    pub(super) fn container(&self, name: &[u8]) -> Option<Container> {
        let stem = named(name, b".scope").unwrap_or(name);
        let prefixed = PREFIXES.iter().find_map(|&(prefix, runtime)| {
            let id = stem.strip_prefix(prefix)?;
            is_id(id).then(|| Container::new(id, Some(runtime)))
        });
        prefixed
            .or_else(|| self.build(stem))
            .or_else(|| colon_form(name).map(|id| Container::new(id, Some(Runtime::Containerd))))
            .or_else(|| is_id(name).then(|| self.by_id(name)))
            .or_else(|| self.on_fargate(name))
            .or_else(|| self.allocation(stem))
            .or_else(|| application(name))
            .or_else(|| self.job(name))
            .or_else(|| self.batch_job(name))
            .or_else(|| self.machine(name))
            .or_else(|| self.by_name(name))
    }

    /// Recognises a container by its 64 hexadecimal digits, whatever it is in: users choose the
    /// folder (`docker run --cgroup-parent`).
    fn by_id(&self, id: &[u8]) -> Container {
        let runtime = match self.parent {
            b"docker" | b"actions_job" => Some(Runtime::Docker),
            parent if NAMESPACES.contains(&parent) => Some(Runtime::Containerd),
            _ if self.first == b"ecs" => Some(Runtime::Docker),
            _ => None,
        };
        // The runner of GitHub Actions gives its containers a folder of this name.
        let kind = (self.parent == b"actions_job").then_some(ContainerKind::Job);
        Container { kind, ..Container::new(id, runtime) }
    }

    /// Recognises a container of a build: below the folder `buildkit` that BuildKit makes in its
    /// own cgroup (executor/oci/spec.go of moby/buildkit), or as a scope of its parent's name.
    fn build(&self, name: &[u8]) -> Option<Container> {
        if let Some(id) = build_of_buildah(name) {
            let kind = Some(ContainerKind::Build);
            return Some(Container { kind, ..Container::new(id, None) });
        }
        let (id, runtime) = match name.strip_prefix(b"docker-") {
            Some(id) => (id, Runtime::Docker),
            None if self.parent == b"buildkit" && self.grandparent == b"docker" => {
                (name, Runtime::Docker)
            }
            None if self.parent == b"buildkit" => (name, Runtime::BuildKit),
            None => (name.strip_prefix(b"buildkit-")?, Runtime::BuildKit),
        };
        let is_build = id.len() == BUILD_ID
            && id.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        let kind = Some(ContainerKind::Build);
        is_build.then(|| Container { kind, ..Container::new(id, Some(runtime)) })
    }

    /// Recognises a task's part on Fargate: 32 hexadecimal digits, a dash, digits.
    fn on_fargate(&self, name: &[u8]) -> Option<Container> {
        let (id, rest) = name.split_at_checked(32)?;
        let digits = rest.strip_prefix(b"-")?;
        let fits = self.first == b"ecs"
            && id.iter().all(is_hexadecimal)
            && (1..=20).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit);
        fits.then(|| Container::new(name, None))
    }

    /// Recognises a task of a Nomad allocation, `ALLOCATION.TASK`
    /// (client/lib/cgroupslib/editor.go of hashicorp/nomad), and a container of Mesos.
    fn allocation(&self, name: &[u8]) -> Option<Container> {
        let (id, behind) = name.split_at_checked(36).filter(|(id, _)| is_uuid(id))?;
        match (self.first, behind) {
            (b"nomad" | b"nomad.slice", [b'.', task @ ..]) if !task.is_empty() => Some(Container {
                kind: Some(ContainerKind::Allocation),
                name: Some(task.into()),
                ..Container::new(id, Some(Runtime::Nomad))
            }),
            // src/slave/containerizer/mesos/paths.cpp of apache/mesos.
            (b"mesos", []) => Some(Container::new(id, Some(Runtime::Mesos))),
            _ => None,
        }
    }

    /// Recognises a job of Slurm: below `slurmstepd.scope` (slurm.schedmd.com/cgroup_v2.html), and
    /// `slurm/uid_UID` in version 1 (cgroups.html there), each with the node's name where several
    /// run on one host.
    fn job(&self, name: &[u8]) -> Option<Container> {
        let id = name.strip_prefix(b"job_")?;
        let is_of_version_1 = self.parent.starts_with(b"uid_") && self.first.starts_with(b"slurm");
        let fits = (is_of_version_1 || self.parent.ends_with(b"slurmstepd.scope"))
            && (1..=20).contains(&id.len())
            && id.iter().all(u8::is_ascii_digit);
        let kind = Some(ContainerKind::Job);
        fits.then(|| Container { kind, ..Container::new(id, Some(Runtime::Slurm)) })
    }

    /// Recognises a job of PBS, `pbs_jobs.service/jobid/JOB` (src/hooks/cgroups/pbs_cgroups.PY of
    /// openpbs/openpbs), and one of HTCondor, `htcondor/…_SLOT@HOST`
    /// (src/condor_starter.V6.1/vanilla_proc.cpp of htcondor/htcondor).
    fn batch_job(&self, name: &[u8]) -> Option<Container> {
        let (id, runtime) = match (self.grandparent, self.parent) {
            (b"pbs_jobs.service", b"jobid") => (name, Runtime::Pbs),
            (_, b"htcondor") => {
                let slot = name.get(find(name, b"_slot")? + 1..)?;
                (slot.contains(&b'@').then_some(slot)?, Runtime::HtCondor)
            }
            _ => return None,
        };
        Some(Container { kind: Some(ContainerKind::Job), ..Container::new(id, Some(runtime)) })
    }

    /// Recognises a container of LXC or systemd-machined, which have names.
    fn machine(&self, name: &[u8]) -> Option<Container> {
        let (id, runtime) = if let Some(id) = name.strip_prefix(b"lxc.payload.") {
            (id, Some(Runtime::Lxc))
        } else if matches!(self.parent, b"lxc" | b"lxc.payload") {
            (name, Some(Runtime::Lxc))
        } else if let Some(unit) = named(name, b".service") {
            (unit.strip_prefix(b"systemd-nspawn@")?, Some(Runtime::SystemdNspawn))
        } else if self.parent == b"machine.slice" {
            // machined also has virtual machines, whose scopes libvirt names so.
            let id = named(name, b".scope")?.strip_prefix(b"machine-")?;
            (!id.starts_with(br"qemu\x2d")).then_some((id, None))?
        } else {
            return None;
        };
        (!id.is_empty()).then(|| Container::new(id, runtime))
    }

    /// Recognises a container of containerd by its name below a namespace: Bottlerocket's host
    /// containers are `/default/control` and `/default/admin` (sources/host-ctr of
    /// bottlerocket-os/bottlerocket-core-kit).
    fn by_name(&self, name: &[u8]) -> Option<Container> {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let fits = self.depth == 1
            && NAMESPACES.contains(&self.parent)
            && name.len() <= MAX_IDENTIFIER
            && name.iter().all(is_word)
            && is_edge(name.first())
            && is_edge(name.last());
        fits.then(|| Container::new(name, Some(Runtime::Containerd)))
    }
}

/// Returns the name of a build's container of Buildah, which names no folder: it is below the root
/// by its own name (`buildah-buildah1234567890`), or a scope of the runtime's
/// (`runUsingRuntime` in run_common.go of containers/buildah).
fn build_of_buildah(name: &[u8]) -> Option<&[u8]> {
    let id = [&b"crun-"[..], b"runc-"].iter().find_map(|prefix| name.strip_prefix(*prefix));
    let id = id.unwrap_or(name);
    let number = id.strip_prefix(b"buildah-buildah")?;
    (!number.is_empty() && number.iter().all(u8::is_ascii_digit)).then_some(id)
}

/// Recognises a container of YARN, whatever it is in, `container_[eEPOCH_]CLUSTER_APP_TRY_NUMBER`
/// (`ContainerId.java` of apache/hadoop; NodeManagerCgroups.md): its name is its application's.
fn application(name: &[u8]) -> Option<Container> {
    let numbers = name.strip_prefix(b"container_")?;
    let mut parts = numbers.split(|&byte| byte == b'_').peekable();
    parts.next_if(|part| part.first() == Some(&b'e'));
    let (cluster, app) = (parts.next()?, parts.next()?);
    let is_number = |part: &[u8], least| {
        (least..=20).contains(&part.len()) && part.iter().all(u8::is_ascii_digit)
    };
    let fits = is_number(cluster, 10)
        && is_number(app, 4)
        && is_number(parts.next()?, 2)
        && is_number(parts.next()?, 6)
        && parts.next().is_none();
    let id = [b"application_", cluster, b"_", app].concat();
    fits.then(|| Container {
        kind: Some(ContainerKind::Application),
        name: Some(id.into()),
        ..Container::new(name, Some(Runtime::Yarn))
    })
}

/// Returns the name before a suffix, if there is one.
pub(super) fn named<'a>(name: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    name.strip_suffix(suffix).filter(|stem| !stem.is_empty())
}

/// Returns whether this is a container's id: 64 hexadecimal digits in lower case.
fn is_id(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(is_hexadecimal)
}

fn is_hexadecimal(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Reads the folder `SLICE:cri-containerd:ID` that containerd makes where the kubelet speaks
/// systemd's names and containerd does not.
fn colon_form(name: &[u8]) -> Option<&[u8]> {
    let mut parts = name.split(|&byte| byte == b':');
    let (slice, middle, id) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = named(slice, b".slice").is_some()
        && middle == b"cri-containerd"
        && is_id(id)
        && parts.next().is_none();
    fits.then_some(id)
}

/// Reads a pod's uid: 8-4-4-4-12 hexadecimal digits, or the 32 of a static pod's hash.
fn pod_uid(uid: &[u8]) -> Option<Box<[u8]>> {
    let digits = |part: &[u8]| part.iter().all(is_hexadecimal);
    if uid.len() == 32 && digits(uid) {
        return Some(uid.into());
    }
    is_uuid(uid).then(|| uid.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect())
}

/// Returns where a word first stands.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// Returns whether this is a UUID: 8-4-4-4-12 hexadecimal digits, with `-` or `_` between.
fn is_uuid(text: &[u8]) -> bool {
    let parts = || text.split(|byte| matches!(byte, b'-' | b'_'));
    parts().map(<[u8]>::len).eq([8, 4, 4, 4, 12])
        && parts().all(|part| part.iter().all(is_hexadecimal))
}
