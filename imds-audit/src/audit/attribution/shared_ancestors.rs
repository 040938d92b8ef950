//! Ancestors that the snapshots of several processes share.

use std::collections::HashMap;
use std::sync::Arc;

use super::versions::Versions;

/// The ancestors of the processes that are kept. Processes of one parent share them, so each counts
/// once: a script that starts a thousand programs has them a thousand times.
#[derive(Debug, Default)]
pub(super) struct SharedAncestors {
    /// The number of users by the ancestor's address, which stays the same while it has any.
    users: HashMap<usize, usize>,
    weight: usize,
}

impl SharedAncestors {
    /// Returns about how many bytes they take.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn add(&mut self, versions: &Versions) {
        for ancestor in versions.ancestors() {
            let users = self.users.entry(Arc::as_ptr(ancestor).addr()).or_default();
            *users += 1;
            if *users == 1 {
                self.weight += ancestor.weight();
            }
        }
    }

    pub(super) fn remove(&mut self, versions: &Versions) {
        for ancestor in versions.ancestors() {
            let address = Arc::as_ptr(ancestor).addr();
            let Some(users) = self.users.get_mut(&address) else { continue };
            *users -= 1;
            if *users == 0 {
                self.users.remove(&address);
                self.weight = self.weight.saturating_sub(ancestor.weight());
            }
        }
    }
}
