//! Losses of outputs, and any loss in a few words.

use std::ops::{AddAssign, SubAssign};

use crate::event::{Loss, LossUnit};
use crate::text::terminal::{escape, word};

/// Lines that an output lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostLines {
    /// Lines that could not be written.
    pub unwritten: u64,
    /// Lines that were written, and removed with their file for want of free space.
    pub removed: u64,
}

impl LostLines {
    /// Returns how many there are in all.
    pub const fn total(self) -> u64 {
        self.unwritten.saturating_add(self.removed)
    }

    /// Returns them by what became of them.
    pub const fn each(self) -> [Self; 2] {
        [Self { removed: 0, ..self }, Self { unwritten: 0, ..self }]
    }

    /// Returns a loss for each reason.
    pub(crate) fn losses(self) -> impl Iterator<Item = Loss> {
        [("output", self.unwritten), ("removed", self.removed)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| Loss {
                reason: reason.into(),
                what: LossUnit::Events,
                count,
                process: None,
            })
    }
}

impl AddAssign for LostLines {
    fn add_assign(&mut self, other: Self) {
        self.unwritten = self.unwritten.saturating_add(other.unwritten);
        self.removed = self.removed.saturating_add(other.removed);
    }
}

impl SubAssign for LostLines {
    fn sub_assign(&mut self, other: Self) {
        self.unwritten = self.unwritten.saturating_sub(other.unwritten);
        self.removed = self.removed.saturating_sub(other.removed);
    }
}

/// Returns a loss in a few words: its count, unit, reason and process.
pub(crate) fn describe(loss: &Loss) -> String {
    let Loss { reason, what, count, process } = loss;
    let whose = process.as_ref().map_or_else(String::new, |process| {
        format!(", {}[{}]", process.name.as_deref().map_or("?".to_owned(), word), process.pid)
    });
    format!("{count} {} ({}{whose})", what.name(), escape(reason))
}
