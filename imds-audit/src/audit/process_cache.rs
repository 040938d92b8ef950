//! LRU cache of the `process` part of events. It is identical for every request of a thread, and
//! building it is most of the cost of an event.

use std::cell::OnceCell;
use std::sync::Arc;

use imds_audit_ebpf::COMM_LENGTH;

use super::attribution::Actor;
use super::clock::Clock;
use super::describe::ProcessPart;
use super::segmented_lru::SegmentedLru;
use crate::event::Attribution;
use crate::process::{Ancestor, Arguments, CgroupLocation, Container, Process, Responsible};
use crate::redact::Known;

/// About how many bytes the parts may take; the least recently used ones make room. A usual one
/// takes 5 KiB, the largest 100 KiB.
const MAX_BYTES: usize = 2 << 20;

/// What a part takes beside its texts, in bytes.
const PART_OVERHEAD: usize = 1024;

/// Clock drift, in nanoseconds, below which a cached start time stays valid. Two reads of the
/// clock differ by a few hundred.
const CLOCK_TOLERANCE_NS: u128 = 1_000_000;

/// The parts that were built last.
#[derive(Debug)]
pub(super) struct ProcessPartCache(SegmentedLru<Key, CachedPart>);

/// The inputs of a part: the process, the thread, and how the process is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The address of the process; no other one can have it while this one is kept here.
    process: usize,
    tid: u32,
    comm: [u8; COMM_LENGTH],
    attribution: Attribution,
}

#[derive(Debug)]
struct CachedPart {
    process: Arc<Process>,
    clock: Clock,
    part: ProcessPart,
    /// Every text that the part is built from, to find out whether a request's secret is in it.
    texts: OnceCell<Box<[u8]>>,
}

impl CachedPart {
    fn has_any(&self, secrets: &Known<'_>, comm: &[u8; COMM_LENGTH]) -> bool {
        let texts = || all_texts(&self.process, comm);
        !secrets.is_empty() && secrets.any_in(self.texts.get_or_init(texts))
    }
}

impl Default for ProcessPartCache {
    fn default() -> Self {
        Self(SegmentedLru::new(MAX_BYTES))
    }
}

impl ProcessPartCache {
    /// Returns the description of an actor's process, without a request's secrets.
    pub(super) fn get(
        &mut self,
        actor: Option<&Actor>,
        attribution: Attribution,
        clock: Clock,
        secrets: &Known<'_>,
    ) -> ProcessPart {
        let describe =
            |secrets: &Known<'_>| ProcessPart::describe(actor, attribution, clock, secrets);
        let Some(Actor { task, comm, process: Some(process) }) = actor else {
            return describe(secrets);
        };
        let address = Arc::as_ptr(process).addr();
        let key = Key { process: address, tid: task.tid, comm: *comm, attribution };
        let is_current = |cached: &&mut CachedPart| {
            cached.clock.offset.abs_diff(clock.offset) < CLOCK_TOLERANCE_NS
        };
        if let Some(cached) = self.0.get_mut(&key).filter(is_current) {
            return if cached.has_any(secrets, comm) {
                describe(secrets)
            } else {
                cached.part.clone()
            };
        }
        let part = describe(&Known::default());
        let cached = CachedPart {
            process: Arc::clone(process),
            clock,
            part: part.clone(),
            texts: OnceCell::new(),
        };
        let has_secret = cached.has_any(secrets, comm);
        // The texts are kept twice: as they are shown, and to be searched.
        self.0.put(key, cached, 2 * process.weight() + PART_OVERHEAD);
        if has_secret { describe(secrets) } else { part }
    }
}

/// Returns every text that a part is built from, separated by line feeds.
fn all_texts(process: &Process, comm: &[u8; COMM_LENGTH]) -> Box<[u8]> {
    let mut all = Vec::new();
    let mut add = |text: &[u8]| {
        all.extend_from_slice(text);
        all.push(b'\n');
    };
    let Process {
        task: _,
        thread_name,
        name,
        exe,
        arguments,
        uid: _,
        gid: _,
        user,
        namespace_pid: _,
        start_time: _,
        cgroup_id: _,
        cgroup_is_of_id: _,
        cgroup,
        location,
        pod_names,
        // Shown as the responsible process's script.
        workload: _,
        working_directory,
        arguments_start: _,
        role: _,
        // Shown with the ancestors' through `databricks`.
        cluster: _,
        ancestors,
        responsible,
        spark: _,
        netns: _,
        procfs_match: _,
        is_pending: _,
    } = process;
    add(comm);
    for text in [thread_name, name, user, cgroup, working_directory].into_iter().flatten() {
        add(text);
    }
    if let Some(exe) = exe {
        add(exe.as_bytes());
    }
    add_arguments(arguments.as_ref(), &mut add);
    let CgroupLocation { unit, slice, container, pod, manager: _, .. } = location;
    for text in [unit, slice, pod].into_iter().flatten() {
        add(text);
    }
    for text in container.iter().flat_map(Container::texts) {
        add(text);
    }
    if let Some(names) = pod_names {
        for text in [Some(&names.namespace), Some(&names.name), names.container.as_ref()] {
            add(text.map_or(&[], |text| text));
        }
    }
    if let Some(cluster) = process.databricks() {
        add(&cluster.id);
        add(cluster.name.as_deref().unwrap_or_default());
    }
    for ancestor in ancestors {
        let Ancestor {
            pid: _,
            start_time: _,
            exec_id: _,
            arguments_start: _,
            name,
            exe: _,
            arguments,
            workload: _,
            role: _,
            cluster: _,
            location: _,
        } = &**ancestor;
        add(name);
        add_arguments(arguments.as_ref(), &mut add);
    }
    if let Some(Responsible { pid: _, name, arguments, script, rule: _ }) = responsible {
        add(name.as_deref().unwrap_or_default());
        add(script.as_deref().unwrap_or_default());
        add_arguments(arguments.as_ref(), &mut add);
    }
    all.into()
}

fn add_arguments(arguments: Option<&Arguments>, add: &mut impl FnMut(&[u8])) {
    for argument in arguments.iter().flat_map(|arguments| arguments.iter()) {
        add(argument);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;
    use crate::process::fixture;
    use crate::snapshot::SnapshotRecord;

    const CLOCK: Clock = Clock { offset: 1_767_225_600_000_000_000 };

    fn actor(argument: &[u8]) -> Actor {
        let mut snapshot = fixture::empty();
        (snapshot.task.pid, snapshot.task.tid, snapshot.task.start_time) = (7, 7, 5_000);
        let bytes = fixture::bytes(snapshot, &[b"curl\0", argument, b"\0"].concat());
        let process = SnapshotRecord::parse(&bytes).unwrap().process();
        Actor { task: process.task, comm: [0; COMM_LENGTH], process: Some(Arc::new(process)) }
    }

    fn of(
        cache: &mut ProcessPartCache,
        actor: &Actor,
        clock: Clock,
        known: &Known<'_>,
    ) -> Arc<event::Process> {
        cache.get(Some(actor), Attribution::Writer, clock, known).process
    }

    #[test]
    fn a_part_is_built_once_for_a_thread_and_an_attribution() {
        let mut cache = ProcessPartCache::default();
        let (first, none) = (actor(b"x"), Known::default());
        let part = of(&mut cache, &first, CLOCK, &none);
        assert_eq!(part.args.as_deref().unwrap(), ["curl", "x"]);
        assert!(Arc::ptr_eq(&part, &of(&mut cache, &first, CLOCK, &none)));
        let thread =
            Actor { task: imds_audit_ebpf::Task { tid: 8, ..first.task }, ..first.clone() };
        assert_eq!(of(&mut cache, &thread, CLOCK, &none).tid, Some(8));
        let renamed = Actor { comm: [b'r'; COMM_LENGTH], ..first.clone() };
        assert!(of(&mut cache, &renamed, CLOCK, &none).thread_name.is_some());
        let last = cache.get(Some(&first), Attribution::LastWriter, CLOCK, &none).process;
        assert_eq!(last.attribution, Attribution::LastWriter);
        let other = actor(b"y");
        assert_eq!(of(&mut cache, &other, CLOCK, &none).args.as_deref().unwrap()[1], "y");
        assert!(Arc::ptr_eq(&part, &of(&mut cache, &first, CLOCK, &none)));
    }

    #[test]
    fn a_secret_of_the_request_is_removed_from_a_cached_part() {
        let mut cache = ProcessPartCache::default();
        let actor = actor(b"as-a-word-AQAEplanted==");
        let shown = |part: Arc<event::Process>| part.args.clone().unwrap()[1].clone();
        let whole = "as-a-word-AQAEplanted==";
        assert_eq!(shown(of(&mut cache, &actor, CLOCK, &Known::default())), whole);
        let header = |value: &'static [u8]| {
            Known::of_headers([(&b"X-aws-ec2-metadata-token"[..], value)].into_iter())
        };
        for _ in 0..2 {
            let clean = shown(of(&mut cache, &actor, CLOCK, &header(b"AQAEplanted==")));
            assert_eq!(clean, "as-a-word-<redacted>");
            let other = shown(of(&mut cache, &actor, CLOCK, &header(b"AQAEanother==")));
            assert_eq!(other, whole);
        }
    }

    #[test]
    fn a_start_time_is_computed_again_when_the_time_of_day_was_set() {
        let mut cache = ProcessPartCache::default();
        let (actor, none) = (actor(b"x"), Known::default());
        let before = of(&mut cache, &actor, CLOCK, &none);
        let near = Clock { offset: CLOCK.offset + 900 };
        assert!(Arc::ptr_eq(&before, &of(&mut cache, &actor, near, &none)));
        let set = Clock { offset: CLOCK.offset + 3_600_000_000_000 };
        let after = of(&mut cache, &actor, set, &none);
        assert_eq!(after.start_time, Some(set.time(crate::segment::Timestamp(5_000))));
    }

    #[test]
    fn every_text_of_a_process_is_searched_for_secrets() {
        let text = |name: &str| Some(Box::<[u8]>::from(name.as_bytes()));
        let arguments = |word: &str| Some(Arguments::new(word.as_bytes(), false));
        let actor = actor(b"x");
        let mut process = Process::clone(actor.process.as_ref().unwrap());
        process.thread_name = text("thread");
        process.name = text("name");
        process.exe = Some(crate::process::Executable::FileName((*b"exe").into()));
        process.arguments = arguments("argument");
        process.user = text("user");
        process.cgroup = text("cgroup");
        process.working_directory = text("working-directory");
        process.location.unit = text("unit");
        process.location.slice = text("slice");
        process.location.pod = text("uid");
        process.location.container = Some(crate::process::Container {
            id: (*b"container").into(),
            name: text("task"),
            within: text("outer"),
            inner: text("inner"),
            ..crate::process::Container::default()
        });
        process.pod_names = Some(crate::process::PodNames {
            namespace: (*b"namespace").into(),
            name: (*b"pod").into(),
            container: text("its-container"),
        });
        process.cluster =
            Some(crate::process::Cluster { id: (*b"cluster").into(), name: text("cluster-name") });
        process.ancestors =
            vec![Arc::new(Ancestor { arguments: arguments("of-ancestor"), ..ancestor("parent") })];
        process.responsible = Some(Responsible {
            pid: 1,
            name: text("responsible"),
            arguments: arguments("of-responsible"),
            script: text("script"),
            rule: crate::event::Rule::Script,
        });
        let comm = *b"comm-of-segment\0";
        let all = all_texts(&process, &comm);
        let described = Actor { comm, process: Some(Arc::new(process)), ..actor };
        let part =
            ProcessPart::describe(Some(&described), Attribution::Writer, CLOCK, &Known::default());
        // Whatever an event shows is among what is searched.
        let mut shown = Vec::new();
        strings(&serde_json::to_value(&part.process).unwrap(), &mut shown);
        assert!(shown.len() >= 20, "{shown:?}");
        let all = String::from_utf8(all.into()).unwrap();
        let own = ["writer", "script", "2026-01-01T00:00:00.000005Z"];
        for text in shown.iter().filter(|text| !own.contains(&text.as_str())) {
            assert!(all.contains(text.as_str()), "{text} is not searched");
        }
        for text in ["thread", "script", "its-container", "cluster-name", "of-ancestor"] {
            assert!(all.lines().any(|line| line == text), "{text} is not searched");
        }
    }

    fn ancestor(name: &str) -> Ancestor {
        let mut snapshot = fixture::empty();
        snapshot.ancestor_count = 1;
        snapshot.ancestors[0].pid = 6;
        snapshot.ancestors[0].comm[..name.len()].copy_from_slice(name.as_bytes());
        let bytes = fixture::bytes(snapshot, &[]);
        Ancestor::clone(&SnapshotRecord::parse(&bytes).unwrap().process().ancestors[0])
    }

    fn strings(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => found.push(text.clone()),
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| strings(value, found));
            }
            serde_json::Value::Object(members) => {
                members.values().for_each(|value| strings(value, found));
            }
            _ => {}
        }
    }
}
