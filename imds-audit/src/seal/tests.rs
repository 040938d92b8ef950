use proptest::prelude::*;
use proptest::sample::Index;

use super::line::SealedLine;
use super::verdict::{Fault, FaultKind};
use super::*;

const CHAIN: &str = "00112233445566778899aabbccddeeff";

/// Returns the lines of a run, the last one its `stop` event.
fn record(chain: &str, run: &str, count: usize) -> Vec<Vec<u8>> {
    let mut sealer = Sealer::with_chain(chain.to_owned());
    let mut text = Vec::new();
    for number in 1..=count {
        let kind = if number == count { "stop" } else { "request" };
        let line =
            format!("{{\"schema\":1,\"kind\":\"{kind}\",\"n\":{number},\"run\":\"{run}\"}}\n");
        text.extend(sealer.seal(line.as_bytes()));
    }
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn verify_files(files: &[Vec<Vec<u8>>], checkpoints: &[Checkpoint]) -> Verdict {
    let mut verifier = Verifier::new(checkpoints);
    for file in files {
        verifier.start_file();
        let bytes = file.concat();
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if !bytes.is_empty() {
            text.split(|byte| *byte == b'\n').for_each(|line| verifier.line(Some(line)));
        }
    }
    verifier.finish(checkpoints)
}

fn verify(lines: Vec<Vec<u8>>) -> Verdict {
    verify_files(&[lines], &[])
}

/// Returns the faults with the lines at which they show.
fn faults(verdict: &Verdict) -> Vec<(u64, FaultKind)> {
    let place = |fault: &Fault| fault.place.map_or(0, |place| place.line);
    verdict.faults.iter().map(|fault| (place(fault), fault.kind.clone())).collect()
}

#[test]
fn an_untouched_record_is_complete() {
    let verdict = verify(record(CHAIN, "a", 5));
    assert_eq!(faults(&verdict), []);
    let chain = &verdict.chains[0];
    assert_eq!((chain.first, chain.last, chain.has_end), (1, 5, true));
    assert_eq!((chain.run.as_deref(), chain.chain.as_str()), (Some("a"), CHAIN));
}

#[test]
fn each_change_is_named_with_its_line() {
    let lines = record(CHAIN, "a", 9);
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        faults(&verify(changed))
    };
    assert_eq!(with(&|l| l[3][5] ^= 1), [(4, FaultKind::Altered(4))]);
    assert_eq!(with(&|l| drop(l.remove(3))), [(4, FaultKind::Missing(4, 4))]);
    assert_eq!(with(&|l| drop(l.drain(..3))), [(1, FaultKind::Missing(1, 3))]);
    assert_eq!(with(&|l| l.insert(3, b"{\"schema\":1}\n".to_vec())), [(4, FaultKind::Unsealed)]);
    assert_eq!(with(&|l| l.swap(3, 4)), [(4, FaultKind::Misplaced(5))]);
    assert_eq!(with(&|l| l.insert(4, l[3].clone())), [(5, FaultKind::Duplicated(4, 4))]);
    assert_eq!(with(&|l| l.truncate(6)), [(6, FaultKind::NoEnd(6))]);
    assert_eq!(with(&|l| l[8].truncate(20)), [(8, FaultKind::NoEnd(8)), (9, FaultKind::Cut)]);
    assert_eq!(with(&|l| l.clear()), [(0, FaultKind::Empty)]);
}

#[test]
fn a_line_that_was_sealed_anew_does_not_fit_the_one_behind_it() {
    let mut lines = record(CHAIN, "a", 9);
    let mut forger = Sealer::with_chain(CHAIN.to_owned());
    forger.seal(&lines[..3].concat());
    forger.head.hash = SealedLine::parse(lines[2].trim_ascii_end()).unwrap().stated;
    lines[3] = forger.seal(b"{\"schema\":1,\"kind\":\"request\",\"n\":77}\n");
    assert_eq!(faults(&verify(lines)), [(5, FaultKind::Broken(5))]);
}

#[test]
fn a_chain_goes_on_over_files_in_any_order_and_a_missing_one_is_named() {
    let lines = record(CHAIN, "a", 9);
    let [a, b, c] = [lines[..3].to_vec(), lines[3..6].to_vec(), lines[6..].to_vec()];
    for files in [[a.clone(), b.clone(), c.clone()], [c.clone(), a.clone(), b.clone()]] {
        let verdict = verify_files(&files, &[]);
        assert_eq!((faults(&verdict), verdict.chains[0].files), (vec![], 3));
    }
    let missing = verify_files(&[a, c], &[]);
    assert_eq!(faults(&missing), [(1, FaultKind::Missing(4, 6))]);
    assert_eq!(missing.faults[0].place.unwrap().file, 1);
}

#[test]
fn two_runs_in_one_file_are_two_records_and_mixed_they_are_none() {
    let (a, b) = (record(CHAIN, "a", 4), record(&CHAIN.replace('0', "f"), "b", 4));
    assert_eq!(faults(&verify([a.clone(), b.clone()].concat())), []);
    let mixed = [&a[..2], &b[..2], &a[2..], &b[2..]].concat();
    let found = faults(&verify(mixed));
    assert_eq!(found, [(5, FaultKind::Mixed(3)), (7, FaultKind::Mixed(3))]);
}

#[test]
fn a_checkpoint_kept_elsewhere_shows_a_cut_and_a_record_written_anew() {
    let lines = record(CHAIN, "a", 9);
    let of = |line: &[u8]| {
        let sealed = SealedLine::parse(line.trim_ascii_end()).unwrap();
        Checkpoint {
            chain: CHAIN.to_owned(),
            line: sealed.number,
            sha256: sealed.stated.to_string(),
        }
    };
    let kept = [of(&lines[5])];
    assert_eq!(faults(&verify_files(std::slice::from_ref(&lines), &kept)), []);
    let cut = verify_files(&[lines[..4].to_vec()], &kept);
    assert!(faults(&cut).contains(&(4, FaultKind::BehindEnd(6))), "{cut:?}");
    let anew = verify_files(&[record(CHAIN, "forged", 9)], &kept);
    assert_eq!(faults(&anew), [(6, FaultKind::Rewritten(6))]);
    let other = verify_files(&[record(&"ab".repeat(16), "a", 9)], &kept);
    assert_eq!(faults(&other), [(0, FaultKind::NoChain(CHAIN.to_owned()))]);
}

#[test]
fn lines_that_were_not_written_leave_no_gap() {
    let mut sealer = Sealer::with_chain(CHAIN.to_owned());
    let first = sealer.seal(b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    let end = first.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    sealer.keep(end + 3);
    assert_eq!(sealer.checkpoint().unwrap().line, 1);
    let second = sealer.seal(b"{\"kind\":\"stop\",\"a\":4}\n");
    let verdict = verify(vec![first[..end].to_vec(), second]);
    assert_eq!(faults(&verdict), []);
    sealer.drop_last();
    assert_eq!(sealer.checkpoint().unwrap().line, 1);
}

#[test]
fn a_line_carries_the_checkpoints_of_other_outputs() {
    let line = format!(
        "{{\"kind\":\"tally\",\"checkpoints\":[{{\"chain\":\"{CHAIN}\",\"line\":7,\"sha256\":\"ab\"}}]}}"
    );
    assert_eq!(checkpoints_of(line.as_bytes())[0].line, 7);
    assert_eq!(checkpoints_of(b"{\"checkpoints\":[oops"), []);
}

/// A change to a record.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, Index, u8),
    Remove(Index),
    Swap(Index, Index),
    Repeat(Index, Index),
    Cut(Index),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        (index(), index(), 1..=255_u8)
            .prop_map(|(line, byte, mask)| Change::Flip(line, byte, mask)),
        index().prop_map(Change::Remove),
        (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
        (index(), index()).prop_map(|(from, to)| Change::Repeat(from, to)),
        index().prop_map(Change::Cut),
        (index(), any::<Vec<u8>>()).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

proptest! {
    #[test]
    fn every_change_is_found(count in 1..20_usize, changes in prop::collection::vec(change(), 1..4)) {
        let lines = record(CHAIN, "a", count);
        let mut text = lines.clone();
        for change in changes {
            if text.is_empty() {
                break;
            }
            let length = text.len();
            match change {
                Change::Flip(line, byte, mask) => {
                    let line = &mut text[line.index(length)];
                    let byte = byte.index(line.len());
                    line[byte] ^= mask;
                }
                Change::Remove(line) => drop(text.remove(line.index(length))),
                Change::Swap(a, b) => text.swap(a.index(length), b.index(length)),
                Change::Repeat(from, to) => {
                    let line = text[from.index(length)].clone();
                    text.insert(to.index(length), line);
                }
                Change::Cut(at) => {
                    let bytes = text.concat();
                    let end = at.index(bytes.len());
                    text = bytes[..end].split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                }
                Change::Insert(at, mut bytes) => {
                    bytes.push(b'\n');
                    text.insert(at.index(length), bytes);
                }
            }
        }
        let (before, after) = (lines.concat(), text.concat());
        // The last line feed is no part of a line.
        prop_assume!(before.trim_ascii_end() != after.strip_suffix(b"\n").unwrap_or(&after));
        prop_assert!(!verify(text).is_complete());
    }

    #[test]
    fn no_bytes_are_taken_for_a_record(bytes: Vec<u8>) {
        prop_assert!(!verify(vec![bytes]).is_complete());
    }
}
