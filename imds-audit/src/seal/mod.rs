//! Hash chains over lines of JSON: each line carries its number, the hash of the line before and one
//! over itself.
//!
//! A chain shows whoever has its last hash that nothing before it was changed, removed, added or
//! moved. It has no key: who can write the file can write a new chain, so a hash must be kept
//! elsewhere to prove anything against the owner of the file.

mod line;
mod verdict;
mod verify;

#[cfg(test)]
mod tests;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::event::Checkpoint;
use line::Hash;
pub(crate) use verdict::Verdict;
pub(crate) use verify::{Verifier, checkpoints_of};

/// Seals the lines of one output, in the order in which they are written.
///
/// Lines that could not be written are taken back with [`Sealer::keep`], so that a chain has no
/// gap because a disk was full.
#[derive(Debug)]
pub(crate) struct Sealer {
    chain: String,
    /// The last line that was kept.
    head: Head,
    /// The line before the last chunk.
    start: Head,
    /// Each line of the last chunk, with where it ends there.
    chunk: Vec<(usize, Head)>,
}

/// The number and the hash of a line; zeros before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    line: u64,
    hash: Hash,
}

impl Sealer {
    /// Begins a chain with a random id.
    pub(crate) fn new() -> Self {
        Self::with_chain(random_id())
    }

    fn with_chain(chain: String) -> Self {
        let (head, start) = (Head::default(), Head::default());
        Self { chain, head, start, chunk: Vec::new() }
    }

    /// Returns a chunk of whole lines with their seals.
    pub(crate) fn seal(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(chunk.len() * 2);
        self.chunk.clear();
        self.start = self.head;
        for text in chunk.split_inclusive(|byte| *byte == b'\n') {
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            let line = self.head.line.saturating_add(1);
            let hash = line::append(&mut sealed, text, &self.chain, line, self.head.hash);
            self.head = Head { line, hash };
            self.chunk.push((sealed.len(), self.head));
        }
        sealed
    }

    /// Keeps the lines that end within the first `bytes` of the last sealed chunk, and takes back
    /// the others.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.chunk.truncate(self.chunk.partition_point(|(end, _)| *end <= bytes));
        self.head = self.chunk.last().map_or(self.start, |(_, head)| *head);
    }

    /// Takes back the last line that was kept.
    pub(crate) fn drop_last(&mut self) {
        self.chunk.pop();
        self.head = self.chunk.last().map_or(self.start, |(_, head)| *head);
    }

    /// Returns the last line that was kept; `None` if there is none.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let Head { line, hash } = self.head;
        let checkpoint =
            || Checkpoint { chain: self.chain.clone(), line, sha256: hash.to_string() };
        (line > 0).then(checkpoint)
    }
}

impl Default for Sealer {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns 128 bits in hexadecimal: random ones, or the time and the process where the kernel has no
/// randomness to give. They only tell chains apart.
fn random_id() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom(&mut bytes, GetRandomFlags::empty()).ok() != Some(bytes.len()) {
        let time = jiff::Timestamp::now().as_nanosecond();
        bytes = (time ^ (i128::from(std::process::id()) << 96)).to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
