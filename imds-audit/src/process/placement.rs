//! Tells unit, container and pod from a cgroup's path.

/// What the path of a cgroup says of the processes in it.
///
/// Where the same kind of thing stands in a path several times (a container in a container, a
/// user's unit in the user manager's), the innermost one counts. Names are as the path has them,
/// with systemd's escapes. An unknown form says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The systemd unit.
    pub unit: Option<Box<[u8]>>,
    /// The slice that the unit is in.
    pub slice: Option<Box<[u8]>>,
    /// The container.
    pub container: Option<Container>,
    /// The uid of the Kubernetes pod; with dashes, but for a static pod's, which has none.
    pub pod: Option<Box<[u8]>>,
    /// Whose systemd runs the unit; `None` where there is no unit.
    pub manager: Option<Manager>,
    /// Whether the unit is one of a systemd inside the container.
    unit_in_container: bool,
}

/// A systemd that runs units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// The host's, or a container's own.
    System,
    /// A user's (user@.service(5)).
    User,
}

impl Manager {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// What processes of one unit and one container share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home<'a> {
    /// The unit.
    pub unit: Option<&'a [u8]>,
    /// The container's id.
    pub container: Option<&'a [u8]>,
    /// Whether the unit is one of a systemd inside the container.
    pub unit_in_container: bool,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id, or its name where the runtime has no ids.
    pub id: Box<[u8]>,
    /// What runs it, where the path says so.
    pub runtime: Option<Runtime>,
}

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is a product's name")]
pub enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
    Lxc,
    SystemdNspawn,
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
        }
    }
}

/// The kinds of units that have processes (systemd.unit(5), systemd.resource-control(5)).
const UNITS: [&[u8]; 5] = [b".service", b".scope", b".socket", b".mount", b".swap"];

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

impl Placement {
    /// Reads a path.
    pub fn of(path: &[u8]) -> Self {
        let mut placement = Self::default();
        let mut slice = None;
        let mut context = Context::default();
        // `..` comes first where the reader's cgroup namespace starts deeper (cgroup_namespaces(7)).
        let components = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        for name in components.skip_while(|&name| name == b"..") {
            if is_unit(name) {
                placement.unit = Some(name.into());
                placement.slice = slice.map(Into::into);
                placement.manager = Some(context.manager());
                placement.unit_in_container = placement.container.is_some();
            } else if named(name, b".slice").is_some() {
                slice = Some(name);
            }
            if let Some(pod) = context.pod(name) {
                placement.pod = Some(pod);
                placement.container = None;
            }
            if let Some(container) = context.container(name) {
                placement.container = Some(container);
                placement.unit_in_container = false;
            }
            context.enter(name);
        }
        if placement.unit.is_none() {
            placement.slice = slice.map(Into::into);
        }
        placement
    }

    /// Returns the number of bytes held.
    pub(super) fn len(&self) -> usize {
        let Self { unit, slice, container, pod, manager: _, unit_in_container: _ } = self;
        let names = [unit, slice, pod].into_iter().flatten();
        let container = container.as_ref().map(|container| &container.id);
        names.chain(container).map(|name| name.len()).sum()
    }

    /// Returns what the process shares with others of its unit and container.
    pub fn home(&self) -> Home<'_> {
        Home {
            unit: self.unit.as_deref(),
            container: self.container.as_ref().map(|container| &*container.id),
            unit_in_container: self.unit_in_container,
        }
    }
}

/// The folders above a component.
#[derive(Default)]
struct Context<'a> {
    parent: &'a [u8],
    in_kubepods: bool,
    in_ecs: bool,
    in_user_manager: bool,
    depth: usize,
}

impl<'a> Context<'a> {
    fn enter(&mut self, name: &'a [u8]) {
        self.in_kubepods |= name == b"kubepods";
        self.in_ecs |= name == b"ecs" && self.depth == 0;
        self.in_user_manager |= name.starts_with(b"user@") && name.ends_with(b".service");
        self.parent = name;
        self.depth += 1;
    }

    /// Returns whose unit a component is: a user manager's stand below its own unit.
    fn manager(&self) -> Manager {
        if self.in_user_manager { Manager::User } else { Manager::System }
    }

    /// Returns the pod that a component names: a folder `podUID` below `kubepods`, or a slice
    /// whose name repeats the whole way, with `_` for `-`.
    fn pod(&self, name: &[u8]) -> Option<Box<[u8]>> {
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
    fn container(&self, name: &[u8]) -> Option<Container> {
        let of = |id: &[u8], runtime| Some(Container { id: id.into(), runtime });
        if let Some((id, runtime)) = prefixed(named(name, b".scope").unwrap_or(name)) {
            return of(id, Some(runtime));
        }
        if let Some(id) = colon_form(name) {
            return of(id, Some(Runtime::Containerd));
        }
        if is_id(name) {
            return match self.parent {
                b"docker" => of(name, Some(Runtime::Docker)),
                parent if NAMESPACES.contains(&parent) => of(name, Some(Runtime::Containerd)),
                _ if self.in_ecs => of(name, Some(Runtime::Docker)),
                parent if self.in_kubepods && parent.starts_with(b"pod") => of(name, None),
                _ => None,
            };
        }
        if self.in_ecs && is_fargate_id(name) {
            return of(name, None);
        }
        self.machine(name)
    }

    /// Returns the container with a name instead of an id.
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
        (!id.is_empty()).then(|| Container { id: id.into(), runtime })
    }
}

/// Returns the name before a suffix, if there is one.
fn named<'a>(name: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    name.strip_suffix(suffix).filter(|stem| !stem.is_empty())
}

fn is_unit(name: &[u8]) -> bool {
    UNITS.iter().any(|suffix| named(name, suffix).is_some())
}

/// Returns whether this is a container's id: 64 hexadecimal digits in lower case.
fn is_id(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(is_hexadecimal)
}

/// Returns whether this is a task's part on Fargate: 32 hexadecimal digits, a dash, digits.
fn is_fargate_id(name: &[u8]) -> bool {
    name.split_at_checked(32).is_some_and(|(id, rest)| {
        id.iter().all(is_hexadecimal)
            && rest.strip_prefix(b"-").is_some_and(|digits| {
                !digits.is_empty() && digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit)
            })
    })
}

fn is_hexadecimal(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Reads a runtime's prefix and the id behind it.
fn prefixed(name: &[u8]) -> Option<(&[u8], Runtime)> {
    PREFIXES.iter().find_map(|&(prefix, runtime)| {
        let id = name.strip_prefix(prefix)?;
        is_id(id).then_some((id, runtime))
    })
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
    let lengths = uid.split(|byte| matches!(byte, b'-' | b'_')).map(<[u8]>::len);
    let shaped =
        lengths.eq([8, 4, 4, 4, 12]) && uid.split(|byte| matches!(byte, b'-' | b'_')).all(digits);
    shaped.then(|| uid.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect())
}

/// Returns where a word first stands.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
