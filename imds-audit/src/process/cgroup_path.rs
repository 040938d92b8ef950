//! The unit, container and pod that a cgroup's path names.
//!
//! Each component of a path was named by whoever owns its parent, so only the host's own part of a
//! path says anything about the host. What a user made below his own manager, a process below its
//! scope, or a container inside itself is reported as theirs, and never as a pod.

use super::container_form::{Container, Context, is_runtime_of_users, named};
use crate::event::{ContainerKind, Manager};

/// The place that the path of a cgroup names.
///
/// Names are as the path has them, with systemd's escapes. An unknown form says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupLocation {
    /// The systemd unit: the host's, or the user's below his own manager, or the container's.
    pub unit: Option<Box<[u8]>>,
    /// The slice that the unit is in.
    pub slice: Option<Box<[u8]>>,
    /// The container.
    pub container: Option<Container>,
    /// The uid of the Kubernetes pod; with dashes, but for a static pod's, which has none.
    pub pod: Option<Box<[u8]>>,
    /// The systemd that runs the unit; `None` without a unit.
    pub manager: Option<Manager>,
    /// Whether the unit is one of a systemd inside the container.
    unit_in_container: bool,
}

/// What processes of one unit and one container share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitAndContainer<'a> {
    /// The unit.
    pub unit: Option<&'a [u8]>,
    /// The id of the innermost container.
    pub container: Option<&'a [u8]>,
    /// Whether the unit is one of a systemd inside the container.
    pub unit_in_container: bool,
}

/// The kinds of units that have processes (systemd.unit(5), systemd.resource-control(5)).
const UNITS: [&[u8]; 5] = [b".service", b".scope", b".socket", b".mount", b".swap"];

/// Which units may follow in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Units {
    /// The system manager's.
    System,
    /// A user manager's (user@.service(5)).
    User,
    /// None: a unit's own folders are no units.
    Closed,
}

impl CgroupLocation {
    /// Reads a path whose every component may be the host's.
    pub fn of(path: &[u8]) -> Self {
        Self::of_owned(path, path.len())
    }

    /// Reads a path whose first bytes only are the host's.
    pub fn of_owned(path: &[u8], host_len: usize) -> Self {
        let mut location = Self::default();
        let mut slice = None;
        let mut units = Units::System;
        // Where the host's own part of the path ends: the unit, or the folder that others own.
        let mut owner: Option<&[u8]> = None;
        let mut context = Context::default();
        // `..` comes first where the reader's cgroup namespace starts deeper (cgroup_namespaces(7)).
        let components = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        for name in components.skip_while(|&name| name == b"..") {
            let is_unit = units != Units::Closed && is_unit(name);
            if is_unit {
                location.unit = Some(name.into());
                location.slice = slice.map(Into::into);
                location.manager = Some(match units {
                    Units::User => Manager::User,
                    Units::System | Units::Closed => Manager::System,
                });
                location.unit_in_container = location.container.is_some();
                let is_manager = name.starts_with(b"user@") && name.ends_with(b".service");
                units = if is_manager { Units::User } else { Units::Closed };
            } else if units != Units::Closed && named(name, b".slice").is_some() {
                slice = Some(name);
            }
            let is_of_host = owner.is_none() && location.container.is_none();
            if let Some(pod) = context.pod(name).filter(|_| is_of_host) {
                location.pod = Some(pod);
            }
            let found = context.container(name);
            let has_found = found.is_some();
            if let Some(found) = found {
                if location.add(found, owner) {
                    location.unit_in_container &= !is_unit;
                    units = Units::System;
                }
            } else if let Some(container) = &mut location.container {
                container.add_step(name, &context);
            }
            let is_scope = is_unit && !has_found && name.ends_with(b".scope");
            if (is_scope && !name.ends_with(b"slurmstepd.scope"))
                || units == Units::User
                || name.as_ptr_range().end.addr() - path.as_ptr().addr() >= host_len.max(1)
                    && host_len < path.len()
            {
                owner = owner.or(Some(name));
            }
            context.enter(name);
        }
        if location.unit.is_none() {
            location.slice = slice.map(Into::into);
        }
        location
    }

    /// Adds a container that the path names below those so far. Returns whether processes are in it.
    fn add(&mut self, found: Container, owner: Option<&[u8]>) -> bool {
        match (&mut self.container, owner) {
            // Builders run in containers too, and name their builds' in them.
            (Some(outer), _) if found.kind == Some(ContainerKind::Build) => {
                let within = outer.within.take().unwrap_or_else(|| outer.id.clone());
                self.container = Some(Container { within: Some(within), ..found });
            }
            (Some(outer), _) => outer.inner = Some(found.id),
            (None, Some(owner)) if is_runtime_of_users(&found) => {
                self.container = Some(Container { within: Some(owner.into()), ..found });
            }
            (None, Some(_)) => return false,
            (None, None) => self.container = Some(found),
        }
        true
    }

    /// Returns the id of the container that the host made.
    pub(super) fn host_container(&self) -> Option<&[u8]> {
        let container = self.container.as_ref()?;
        Some(container.within.as_deref().unwrap_or(&container.id))
    }

    /// Returns the number of bytes held.
    pub(super) fn len(&self) -> usize {
        let Self { unit, slice, container, pod, manager: _, unit_in_container: _ } = self;
        let names = [unit, slice, pod].into_iter().flatten();
        let container = container.iter().flat_map(Container::texts);
        names.map(|name| name.len()).chain(container.map(<[u8]>::len)).sum()
    }

    /// Returns what the process shares with others of its unit and container.
    pub fn home(&self) -> UnitAndContainer<'_> {
        let innermost =
            self.container.as_ref().map(|found| found.inner.as_deref().unwrap_or(&found.id));
        UnitAndContainer {
            unit: self.unit.as_deref(),
            container: innermost,
            unit_in_container: self.unit_in_container,
        }
    }
}

fn is_unit(name: &[u8]) -> bool {
    UNITS.iter().any(|suffix| named(name, suffix).is_some())
}

#[cfg(test)]
mod tests;
