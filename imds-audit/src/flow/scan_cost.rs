//! Counts the bytes that are looked at, so that a test can say how the work grows.
//!
//! A test of time would depend on the machine. Outside of tests nothing is counted.

#[cfg(test)]
std::thread_local! {
    static BYTES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts a look at so many bytes.
#[cfg(test)]
pub(super) fn count_bytes(bytes: usize) {
    BYTES.set(BYTES.get() + bytes);
}

/// Counts a look at so many bytes: not here.
#[cfg(not(test))]
pub(super) const fn count_bytes(_: usize) {}

/// Returns how many bytes this thread looked at while it did something.
#[cfg(test)]
pub(super) fn bytes_scanned_by(act: impl FnOnce()) -> usize {
    let before = BYTES.get();
    act();
    BYTES.get() - before
}
