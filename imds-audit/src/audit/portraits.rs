//! Keeps the part of an event that says who it was: it is the same for every request of a thread,
//! and most of what an event takes to make.

use std::cell::OnceCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

use imds_audit_ebpf::COMM_LENGTH;
use lru::LruCache;

use super::auditor::Clock;
use super::build::{self, Found, FoundAncestor, FoundPod, FoundResponsible};
use super::event::{Attribution, Process as Part};
use super::lend::with_found;
use super::people::Actor;
use super::redact::Known;
use crate::process::Process;

/// How many are kept; the one that was used longest ago makes room. A command line takes up to
/// 8 KiB in each.
const MOST: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// How far the clock may move, in nanoseconds, before a start is told anew. It is read with some
/// hundred of them to spare.
const UNMOVED: u128 = 1_000_000;

/// The parts that were made last.
#[derive(Debug)]
pub struct Portraits(LruCache<Key, Portrait>);

/// What a part is made from: where the process is known from, its thread, and how it is known.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The address of the process; no other one can have it while this one is kept here.
    process: usize,
    tid: u32,
    comm: [u8; COMM_LENGTH],
    attribution: Attribution,
}

#[derive(Debug)]
struct Portrait {
    process: Arc<Process>,
    clock: Clock,
    part: Arc<Part>,
    /// Everything that it is made from, for a look at whether a request's secret is in it.
    texts: OnceCell<Box<[u8]>>,
}

impl Default for Portraits {
    fn default() -> Self {
        Self(LruCache::new(MOST))
    }
}

impl Portraits {
    /// Returns the part for what an actor did, without the secrets that are known.
    pub fn of(
        &mut self,
        actor: Option<&Actor>,
        attribution: Attribution,
        clock: Clock,
        known: &Known<'_>,
    ) -> Arc<Part> {
        let make = |known: &Known<'_>| {
            let part = with_found(actor, clock, |found| build::process(found, attribution, known));
            Arc::new(part)
        };
        let Some(Actor { task, comm, process: Some(process) }) = actor else {
            return make(known);
        };
        let address = Arc::as_ptr(process).addr();
        let key = Key { process: address, tid: task.tid, comm: *comm, attribution };
        let is_told = |portrait: &&Portrait| {
            Arc::ptr_eq(&portrait.process, process)
                && portrait.clock.offset.abs_diff(clock.offset) < UNMOVED
        };
        let portrait = match self.0.get(&key).filter(is_told) {
            Some(_) => self.0.peek(&key),
            None => {
                let process = Arc::clone(process);
                let part = make(&Known::default());
                self.0.put(key, Portrait { process, clock, part, texts: OnceCell::new() });
                self.0.peek_mru().map(|(_, portrait)| portrait)
            }
        };
        match portrait {
            Some(Portrait { part, texts, .. })
                if known.is_empty()
                    || !known
                        .stand_in(texts.get_or_init(|| with_found(actor, clock, all_texts))) =>
            {
                Arc::clone(part)
            }
            _ => make(known),
        }
    }
}

/// Returns every text that a part is made from, one behind the other with something between.
fn all_texts(found: &Found<'_>) -> Box<[u8]> {
    let mut all = Vec::new();
    let mut add = |text: Option<&[u8]>| {
        if let Some(text) = text {
            all.extend_from_slice(text);
            all.push(b'\n');
        }
    };
    let Found {
        pid: _,
        tid: _,
        name,
        thread_name,
        exe,
        args,
        args_truncated: _,
        uid: _,
        user,
        gid: _,
        namespace_pid: _,
        start_time: _,
        ancestors,
        responsible,
        spark: _,
        cluster,
        cgroup,
        unit,
        slice,
        manager: _,
        container,
        pod,
    } = found;
    for text in [name, thread_name, exe, user, cgroup, unit, slice] {
        add(*text);
    }
    for argument in args.iter().flat_map(|args| args.iter()) {
        add(Some(argument));
    }
    for FoundAncestor { pid: _, name, args } in *ancestors {
        add(*name);
        for argument in args.iter().flat_map(|args| args.iter()) {
            add(Some(argument));
        }
    }
    if let Some(FoundResponsible { pid: _, name, script, args, rule: _ }) = responsible {
        add(*name);
        add(*script);
        for argument in args.iter().flat_map(|args| args.iter()) {
            add(Some(argument));
        }
    }
    for (first, second) in cluster.iter().chain(container) {
        add(Some(first));
        add(*second);
    }
    if let Some(FoundPod { uid, namespace, name, container }) = pod {
        add(Some(uid));
        for text in [namespace, name, container] {
            add(*text);
        }
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Record, fixture};

    const CLOCK: Clock = Clock { offset: 1_767_225_600_000_000_000 };

    fn actor(argument: &[u8]) -> Actor {
        let mut snapshot = fixture::empty();
        (snapshot.task.pid, snapshot.task.tid, snapshot.task.start_time) = (7, 7, 5_000);
        let bytes = fixture::bytes(snapshot, &[b"curl\0", argument, b"\0"].concat());
        let process = Record::parse(&bytes).unwrap().process();
        Actor { task: process.task, comm: [0; COMM_LENGTH], process: Some(Arc::new(process)) }
    }

    fn of(portraits: &mut Portraits, actor: &Actor, clock: Clock, known: &Known<'_>) -> Arc<Part> {
        portraits.of(Some(actor), Attribution::Writer, clock, known)
    }

    #[test]
    fn a_part_is_made_once_for_a_thread_and_how_it_is_known() {
        let mut portraits = Portraits::default();
        let (first, none) = (actor(b"x"), Known::default());
        let part = of(&mut portraits, &first, CLOCK, &none);
        assert_eq!(part.args.as_deref().unwrap(), ["curl", "x"]);
        assert!(Arc::ptr_eq(&part, &of(&mut portraits, &first, CLOCK, &none)));
        let thread =
            Actor { task: imds_audit_ebpf::Task { tid: 8, ..first.task }, ..first.clone() };
        assert_eq!(of(&mut portraits, &thread, CLOCK, &none).tid, Some(8));
        let renamed = Actor { comm: [b'r'; COMM_LENGTH], ..first.clone() };
        assert!(of(&mut portraits, &renamed, CLOCK, &none).thread_name.is_some());
        let last = portraits.of(Some(&first), Attribution::LastWriter, CLOCK, &none);
        assert_eq!(last.attribution, Attribution::LastWriter);
        let other = actor(b"y");
        assert_eq!(of(&mut portraits, &other, CLOCK, &none).args.as_deref().unwrap()[1], "y");
        assert!(Arc::ptr_eq(&part, &of(&mut portraits, &first, CLOCK, &none)));
    }

    #[test]
    fn a_secret_of_the_request_is_removed_from_what_was_made_before() {
        let mut portraits = Portraits::default();
        let actor = actor(b"as-a-word-AQAEplanted==");
        let shown = |part: Arc<Part>| part.args.clone().unwrap()[1].clone();
        let whole = "as-a-word-AQAEplanted==";
        assert_eq!(shown(of(&mut portraits, &actor, CLOCK, &Known::default())), whole);
        let header = |value: &'static [u8]| {
            Known::of_headers([(&b"X-aws-ec2-metadata-token"[..], value)].into_iter())
        };
        for _ in 0..2 {
            let clean = shown(of(&mut portraits, &actor, CLOCK, &header(b"AQAEplanted==")));
            assert_eq!(clean, "as-a-word-<redacted>");
            let other = shown(of(&mut portraits, &actor, CLOCK, &header(b"AQAEanother==")));
            assert_eq!(other, whole);
        }
    }

    #[test]
    fn a_start_is_told_anew_when_the_time_of_day_was_set() {
        let mut portraits = Portraits::default();
        let (actor, none) = (actor(b"x"), Known::default());
        let before = of(&mut portraits, &actor, CLOCK, &none);
        let near = Clock { offset: CLOCK.offset + 900 };
        assert!(Arc::ptr_eq(&before, &of(&mut portraits, &actor, near, &none)));
        let set = Clock { offset: CLOCK.offset + 3_600_000_000_000 };
        let after = of(&mut portraits, &actor, set, &none);
        assert_eq!(after.start_time, Some(set.time(crate::flow::Timestamp(5_000))));
    }

    #[test]
    fn every_text_of_a_process_is_looked_through() {
        let text = |name: &'static str| Some(name.as_bytes());
        let args: [&[u8]; 1] = [b"argument"];
        let ancestor: [&[u8]; 1] = [b"of-ancestor"];
        let answers: [&[u8]; 1] = [b"of-responsible"];
        let all = all_texts(&Found {
            name: text("name"),
            thread_name: text("thread"),
            exe: text("exe"),
            args: Some(&args),
            user: text("user"),
            ancestors: &[FoundAncestor { pid: 1, name: text("parent"), args: Some(&ancestor) }],
            responsible: Some(FoundResponsible {
                pid: 1,
                name: text("responsible"),
                script: text("script"),
                args: Some(&answers),
                rule: crate::audit::event::Rule::Script,
            }),
            cluster: Some((b"cluster", text("called"))),
            cgroup: text("cgroup"),
            unit: text("unit"),
            slice: text("slice"),
            container: Some((b"container", text("runtime"))),
            pod: Some(FoundPod {
                uid: b"uid",
                namespace: text("namespace"),
                name: text("pod"),
                container: text("its-container"),
            }),
            ..Found::default()
        });
        let mut words: Vec<&str> = std::str::from_utf8(&all).unwrap().lines().collect();
        words.sort_unstable();
        let expected = [
            "argument",
            "called",
            "cgroup",
            "cluster",
            "container",
            "exe",
            "its-container",
            "name",
            "namespace",
            "of-ancestor",
            "of-responsible",
            "parent",
            "pod",
            "responsible",
            "runtime",
            "script",
            "slice",
            "thread",
            "uid",
            "unit",
            "user",
        ];
        assert_eq!(words, expected);
    }
}
