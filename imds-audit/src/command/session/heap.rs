//! Gives memory back to the system after a flood.

/// The least that is worth it, in bytes.
const LEAST: usize = 2 << 20;

/// How much was held since memory was last given back.
#[derive(Debug, Default)]
pub struct Heap {
    most: usize,
}

impl Heap {
    /// Takes note of how many bytes are held now, and gives back what was freed where there is
    /// little left of much: it lies between what is still in use, and the allocator by itself gives
    /// back only what lies behind that.
    pub fn settle(&mut self, held: usize) {
        if self.has_shrunk(held) {
            release();
        }
    }

    fn has_shrunk(&mut self, held: usize) -> bool {
        self.most = self.most.max(held);
        let has_shrunk = self.most >= LEAST && held < self.most / 4;
        if has_shrunk {
            self.most = held;
        }
        has_shrunk
    }
}

/// Gives back to the system what was freed.
pub fn release() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function only looks at the allocator's own state.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_back_once_after_each_flood_and_never_for_little() {
        let mut heap = Heap::default();
        let held =
            [0, LEAST / 2, 0, LEAST, LEAST / 2, LEAST / 5, 0, 4 * LEAST, LEAST, LEAST - 1, 0];
        let given: Vec<bool> = held.iter().map(|held| heap.has_shrunk(*held)).collect();
        let at: Vec<usize> = (0..held.len()).filter(|index| given[*index]).collect();
        assert_eq!(at, [5, 9]);
    }
}
