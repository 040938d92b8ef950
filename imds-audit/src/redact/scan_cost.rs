//! Looks through bytes, and counts them in tests: redaction's work is to grow with its input and
//! not faster, which a test can state in bytes looked at and not in time.

/// Returns where the first byte that is looked for stands.
pub(super) fn position(bytes: &[u8], is_it: impl FnMut(&u8) -> bool) -> Option<usize> {
    let found = bytes.iter().position(is_it);
    count(found.map_or(bytes.len(), |index| index + 1));
    found
}

/// Returns where a text stands in another.
pub(super) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let found = memchr::memmem::find(bytes, text);
    count(found.map_or(bytes.len(), |index| index + text.len()));
    found
}

/// Counts bytes that were looked at.
#[cfg(not(test))]
pub(super) const fn count(_: usize) {}

#[cfg(test)]
pub(super) use counted::{count, take};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static WORK: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts bytes that were looked at.
    pub(crate) fn count(bytes: usize) {
        WORK.set(WORK.get() + bytes);
    }

    /// Returns how many bytes this thread has looked at since it last asked.
    pub(crate) fn take() -> usize {
        WORK.take()
    }
}
