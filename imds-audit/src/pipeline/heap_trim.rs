//! Returns freed memory to the system after a flood.

/// The smallest number of held bytes after which trimming is worth its cost.
const MIN_PEAK: usize = 2 << 20;

/// The most that was held since memory was last returned.
#[derive(Debug, Default)]
pub(super) struct HeapTrim {
    peak: usize,
}

impl HeapTrim {
    /// Takes note of how many bytes are held, and returns freed memory to the system once less
    /// than a quarter of the peak is left: freed blocks lie between those in use, and the
    /// allocator by itself returns only what lies behind them.
    pub(super) fn trim_if_shrunk(&mut self, held: usize) {
        if self.has_shrunk(held) {
            trim();
        }
    }

    fn has_shrunk(&mut self, held: usize) -> bool {
        self.peak = self.peak.max(held);
        let has_shrunk = self.peak >= MIN_PEAK && held < self.peak / 4;
        if has_shrunk {
            self.peak = held;
        }
        has_shrunk
    }
}

/// Returns freed memory to the system.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function only reads and changes the allocator's own state.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_once_after_each_flood() {
        let mut heap = HeapTrim::default();
        let held = [
            0,
            MIN_PEAK / 2,
            0,
            MIN_PEAK,
            MIN_PEAK / 2,
            MIN_PEAK / 5,
            0,
            4 * MIN_PEAK,
            MIN_PEAK,
            MIN_PEAK - 1,
            0,
        ];
        let trimmed: Vec<bool> = held.iter().map(|held| heap.has_shrunk(*held)).collect();
        let at: Vec<usize> = (0..held.len()).filter(|index| trimmed[*index]).collect();
        assert_eq!(at, [5, 9]);
    }
}
