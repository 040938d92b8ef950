//! Verification of sealed lines, in one pass, with memory for breaks and not for lines.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::line::{Hash, SealedLine};
use super::verdict::{ChainReport, Fault, FaultKind, Place, Verdict};
use crate::event::Checkpoint;

/// The faults that are kept one by one.
const MAX_FAULTS: usize = 1_000;
/// The uninterrupted runs of lines that are kept; a record with more breaks is no record.
const MAX_SPANS: usize = 100_000;
/// The bytes at a line's start that name its kind.
const KIND: usize = 64;

/// Lines of one chain that follow each other in one file.
#[derive(Debug)]
struct Span {
    chain: usize,
    first: u64,
    last: u64,
    /// What the first line says of the one before it.
    previous: Hash,
    /// The last line's hash, as stated and as computed.
    hash: (Hash, Hash),
    start: Place,
    end: Place,
    has_end: bool,
    /// The first line was altered, so that what it says of the one before means nothing.
    is_first_altered: bool,
}

#[derive(Debug)]
struct Chain {
    id: String,
    run: Option<String>,
    /// The hashes that checkpoints name, by line.
    expected: BTreeMap<u64, Vec<Hash>>,
    /// Whether a line of it was met.
    is_met: bool,
}

/// Verifies lines of sealed outputs. Call [`Self::start_file`] and then [`Self::line`] for each of
/// its lines, file by file, and [`Self::finish`] at the end.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    chains: Vec<Chain>,
    by_id: BTreeMap<String, usize>,
    spans: Vec<Span>,
    open: Option<Span>,
    faults: Vec<Fault>,
    more: u64,
    files: usize,
    place: Option<Place>,
    /// The last line of the file had no seal.
    unsealed: Option<(Place, bool)>,
}

impl Verifier {
    /// Creates a verifier that compares the lines with these checkpoints.
    pub(crate) fn new(checkpoints: &[Checkpoint]) -> Self {
        let mut verifier = Self::default();
        for Checkpoint { chain, line, sha256 } in checkpoints {
            // A hash of another form is the hash of no line.
            let hash = Hash::parse(sha256.as_bytes()).unwrap_or_default();
            let index = verifier.chain(chain);
            if let Some(chain) = verifier.chains.get_mut(index) {
                let hashes = chain.expected.entry(*line).or_default();
                if !hashes.contains(&hash) {
                    hashes.push(hash);
                }
            }
        }
        verifier
    }

    /// Begins the next file.
    pub(crate) fn start_file(&mut self) {
        self.end_file();
        self.place = Some(Place { file: self.files, line: 0 });
        self.files += 1;
    }

    /// Takes the next line, without its line feed; `None` for one that is longer than any event.
    pub(crate) fn line(&mut self, line: Option<&[u8]>) {
        self.take_unsealed(false);
        let Some(place) = &mut self.place else { return };
        place.line += 1;
        let place = *place;
        let Some(sealed) = line.and_then(SealedLine::parse) else {
            let is_whole = line.is_none_or(|line| line.ends_with(b"}") || line.is_empty());
            self.unsealed = Some((place, is_whole));
            return;
        };
        let line = line.unwrap_or_default();
        let computed = sealed.hash();
        if computed != sealed.stated {
            self.fault(place, FaultKind::Altered(sealed.number));
        }
        let chain = self.chain_of(&sealed, line);
        self.compare(chain, &sealed, place);
        let has_end = memchr::memmem::find(line.get(..KIND).unwrap_or(line), br#""kind":"stop""#);
        let hash = (sealed.stated, computed);
        if let Some(open) = &mut self.open
            && open.chain == chain
            && open.last.checked_add(1) == Some(sealed.number)
        {
            let follows = follows(open.hash, sealed.previous);
            (open.last, open.hash, open.end) = (sealed.number, hash, place);
            open.has_end = has_end.is_some();
            // An altered line is one fault, and not two.
            if !follows && computed == sealed.stated {
                self.fault(place, FaultKind::Broken(sealed.number));
            }
            return;
        }
        self.close_span();
        self.open = Some(Span {
            chain,
            first: sealed.number,
            last: sealed.number,
            previous: sealed.previous,
            hash,
            start: place,
            end: place,
            has_end: has_end.is_some(),
            is_first_altered: computed != sealed.stated,
        });
    }

    /// Returns what was found. `required` chains that no file has are faults.
    pub(crate) fn finish(mut self, required: &[Checkpoint]) -> Verdict {
        self.end_file();
        self.close_span();
        self.mixed();
        for chain in 0..self.chains.len() {
            self.join(chain);
        }
        for checkpoint in required {
            let is_met = |index: &usize| self.chains.get(*index).is_some_and(|chain| chain.is_met);
            if !self.by_id.get(&checkpoint.chain).is_some_and(is_met) {
                let kind = FaultKind::NoChain(checkpoint.chain.clone());
                self.faults.push(Fault { place: None, kind });
            }
        }
        if self.spans.is_empty() {
            self.faults.push(Fault { place: None, kind: FaultKind::Empty });
        }
        // Places of faults that have none come last.
        self.faults.sort_by_key(|fault| (fault.place.is_none(), fault.place));
        if self.more > 0 {
            self.faults.push(Fault { place: None, kind: FaultKind::More(self.more) });
        }
        let chains = (0..self.chains.len()).filter_map(|chain| self.report(chain)).collect();
        Verdict { chains, faults: self.faults }
    }

    fn report(&self, index: usize) -> Option<ChainReport> {
        let chain = self.chains.get(index)?;
        let of_chain = || self.spans.iter().filter(|span| span.chain == index);
        let last = of_chain().max_by_key(|span| span.last)?;
        let mut files: Vec<usize> = of_chain().map(|span| span.start.file).collect();
        files.sort_unstable();
        files.dedup();
        Some(ChainReport {
            chain: chain.id.clone(),
            run: chain.run.clone(),
            first: of_chain().map(|span| span.first).min()?,
            last: last.last,
            sha256: last.hash.0.to_string(),
            files: files.len(),
            has_end: last.has_end,
        })
    }

    fn end_file(&mut self) {
        self.take_unsealed(true);
        self.close_span();
    }

    /// Reports a line without a seal, once it is known whether it is the file's last one.
    fn take_unsealed(&mut self, is_last: bool) {
        if let Some((place, is_whole)) = self.unsealed.take() {
            let is_cut = is_last && !is_whole;
            self.fault(place, if is_cut { FaultKind::Cut } else { FaultKind::Unsealed });
        }
    }

    fn close_span(&mut self) {
        if let Some(span) = self.open.take() {
            if self.spans.len() < MAX_SPANS {
                self.spans.push(span);
            } else {
                self.more = self.more.saturating_add(1);
            }
        }
    }

    fn fault(&mut self, place: Place, kind: FaultKind) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { place: Some(place), kind });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn chain(&mut self, id: &str) -> usize {
        if let Some(index) = self.by_id.get(id) {
            return *index;
        }
        let index = self.chains.len();
        let expected = BTreeMap::new();
        self.chains.push(Chain { id: id.to_owned(), run: None, expected, is_met: false });
        self.by_id.insert(id.to_owned(), index);
        index
    }

    /// Returns the chain of a line, which may be a new one.
    fn chain_of(&mut self, sealed: &SealedLine<'_>, line: &[u8]) -> usize {
        let open = self.open.as_ref().map(|span| span.chain);
        let is_open = |index: &usize| self.chains.get(*index).is_some_and(|c| c.id == sealed.chain);
        if let Some(index) = open.filter(is_open) {
            return index;
        }
        // Each new id takes memory: beyond the bound on breaks they are one chain, which has faults
        // enough.
        let is_full = self.chains.len() >= MAX_SPANS && !self.by_id.contains_key(sealed.chain);
        let index = self.chain(if is_full { "" } else { sealed.chain });
        if let Some(chain) = self.chains.get_mut(index) {
            chain.is_met = true;
            if chain.run.is_none() {
                chain.run = run_of(line);
            }
        }
        index
    }

    /// Compares a line with the checkpoints that name it.
    fn compare(&mut self, chain: usize, sealed: &SealedLine<'_>, place: Place) {
        let Some(chain) = self.chains.get_mut(chain) else { return };
        let Some(expected) = chain.expected.get(&sealed.number) else { return };
        if expected.iter().any(|hash| *hash != sealed.stated) {
            self.fault(place, FaultKind::Rewritten(sealed.number));
        }
    }

    /// Reports where a chain goes on in a file after another one began there.
    fn mixed(&mut self) {
        let mut found = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut before: Option<&Span> = None;
        for span in &self.spans {
            let same_file = before.is_some_and(|before| before.start.file == span.start.file);
            if !same_file {
                seen.clear();
            }
            let changed = before.is_none_or(|before| before.chain != span.chain) || !same_file;
            if changed && !seen.insert(span.chain) {
                found.push((span.start, span.first));
            }
            before = Some(span);
        }
        // The stranger is the span before the one that goes on.
        for (place, line) in found {
            self.fault(place, FaultKind::Mixed(line));
        }
    }

    /// Joins the spans of a chain by their numbers, and reports what does not fit.
    fn join(&mut self, chain: usize) {
        let mut order: Vec<usize> =
            (0..self.spans.len()).filter(|index| self.span_is_of(*index, chain)).collect();
        order.sort_by_key(|index| self.spans.get(*index).map(|span| (span.first, *index)));
        let mut found = Vec::new();
        let mut covered: Option<(u64, (Hash, Hash), bool)> = None;
        let mut furthest = BTreeMap::new();
        let mut end = None;
        for index in order {
            let Some(span) = self.spans.get(index) else { continue };
            let at = |kind| (span.start, kind);
            let furthest = furthest.entry(span.start.file).or_insert(index);
            if index < *furthest {
                // The line that stands before those of smaller numbers.
                found.push(at(FaultKind::Misplaced(span.first)));
            }
            *furthest = index.max(*furthest);
            let (last, hash, has_end) =
                covered.unwrap_or((0, (Hash::default(), Hash::default()), false));
            let next = last.saturating_add(1);
            if span.first > next {
                found.push(at(FaultKind::Missing(next, span.first - 1)));
            } else if span.first < next {
                found.push(at(FaultKind::Duplicated(span.first, span.last.min(last))));
            } else if !span.is_first_altered && !follows(hash, span.previous) {
                found.push(at(FaultKind::Broken(span.first)));
            }
            if span.last > last {
                covered = Some((span.last, span.hash, span.has_end));
                end = Some(span.end);
            } else {
                covered = Some((last, hash, has_end));
            }
        }
        if let (Some((last, _, has_end)), Some(end)) = (covered, end) {
            if !has_end {
                found.push((end, FaultKind::NoEnd(last)));
            }
            let behind = self.chains.get(chain).and_then(|chain| chain.expected.keys().next_back());
            if let Some(behind) = behind.copied().filter(|line| *line > last) {
                found.push((end, FaultKind::BehindEnd(behind)));
            }
        }
        for (place, kind) in found {
            self.fault(place, kind);
        }
    }

    fn span_is_of(&self, index: usize, chain: usize) -> bool {
        self.spans.get(index).is_some_and(|span| span.chain == chain)
    }
}

/// Returns whether a line may follow one with these hashes. An altered line is followed by one that
/// names its hash of before.
fn follows((stated, computed): (Hash, Hash), previous: Hash) -> bool {
    previous == stated || previous == computed
}

/// Returns the checkpoints that a line carries.
pub(crate) fn checkpoints_of(line: &[u8]) -> Vec<Checkpoint> {
    #[derive(Deserialize)]
    struct Carrier {
        checkpoints: Vec<Checkpoint>,
    }
    if memchr::memmem::find(line, br#""checkpoints":["#).is_none() {
        return Vec::new();
    }
    serde_json::from_slice::<Carrier>(line).map(|line| line.checkpoints).unwrap_or_default()
}

/// Returns the run that a line names.
fn run_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Carrier {
        run: String,
    }
    serde_json::from_slice::<Carrier>(line).ok().map(|line| line.run)
}
