//! Prometheus metrics of the agent.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{family::write, process_metrics};
use crate::{
    aggregate::{hop_limit::Hops, totals::Tally},
    event::{Body, Caller, Class, Event, Outcome, RequestEvent, Resource},
    output::queue::OutputHandle,
};

/// The number of callers that are told apart for `imds_audit_callers`; a class with as many has
/// this value.
const MAX_DISTINCT: usize = 4096;
/// The longest label value that comes from outside, in characters.
const MAX_LABEL: usize = 120;
/// The label value that stands for all callers beyond the bound.
const OTHER: &str = "other";

/// The content type of the Prometheus text format.
pub(super) const TEXT: &str = prometheus_text::CONTENT_TYPE;
/// The content type of OpenMetrics.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What was seen so far, in the form of metrics. Every set of labels is bounded.
#[derive(Debug)]
pub(super) struct Metrics {
    state: Mutex<State>,
    /// The bound on callers with series of their own; `None` if there are none.
    max_callers: Option<usize>,
}

#[derive(Debug, Default)]
struct State {
    requests: BTreeMap<(Class, Outcome, Option<Resource>), u64>,
    totals: Tally,
    hops: Hops,
    fallbacks: Vec<String>,
    last_event: Option<f64>,
    distinct: BTreeMap<Class, HashSet<u64>>,
    hasher: RandomState,
    callers: BTreeMap<String, CallerSeries>,
    others: BTreeMap<Class, u64>,
    outputs: Vec<(String, OutputHandle)>,
}

#[derive(Debug)]
struct CallerSeries {
    title: String,
    requests: BTreeMap<Class, u64>,
}

impl Metrics {
    /// Makes metrics of nothing seen; with series of their own for this many callers.
    pub(super) fn new(max_callers: Option<usize>) -> Self {
        Self { state: Mutex::default(), max_callers }
    }

    /// Counts an event.
    pub(super) fn observe(&self, event: &Event) {
        let mut state = self.lock();
        state.totals.add(&event.body);
        if let Some(time) = event.body.time() {
            let seconds = time.0.as_duration().as_secs_f64();
            state.last_event = Some(state.last_event.map_or(seconds, |last| last.max(seconds)));
        }
        match &event.body {
            Body::Request(request) => state.add(request, self.max_callers),
            Body::Start(start) => {
                state.fallbacks =
                    start.fallbacks.iter().map(|fallback| fallback.name.clone()).collect();
            }
            Body::Connection(_)
            | Body::Loss(_)
            | Body::Stop(_)
            | Body::Tally(_)
            | Body::Rehearsal(_)
            | Body::Other => {}
        }
    }

    /// Sets the outputs, each with its name.
    pub(super) fn set_outputs(&self, outputs: Vec<(String, OutputHandle)>) {
        self.lock().outputs = outputs;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, request: &RequestEvent, max_callers: Option<usize>) {
        let imds = &request.imds;
        let requests = self.requests.entry((imds.class, imds.outcome, imds.resource));
        *requests.or_default() += 1;
        self.hops.add(request);
        let hash = self.hasher.hash_one(&request.caller.id);
        let distinct = self.distinct.entry(imds.class).or_default();
        if distinct.len() < MAX_DISTINCT {
            distinct.insert(hash);
        }
        if let Some(most) = max_callers {
            self.add_caller(&request.caller, imds.class, most);
        }
    }

    fn add_caller(&mut self, caller: &Caller, class: Class, most: usize) {
        let is_full = self.callers.len() >= most;
        if is_full && !self.callers.contains_key(&caller.id) {
            *self.others.entry(class).or_default() += 1;
            return;
        }
        let series = self.callers.entry(caller.id.clone()).or_insert_with(|| CallerSeries {
            title: caller.title.chars().take(MAX_LABEL).collect(),
            requests: BTreeMap::new(),
        });
        *series.requests.entry(class).or_default() += 1;
    }
}

/// Renders metrics in one of two formats.
#[derive(Debug)]
pub(super) struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Makes the exposition of metrics.
    pub(super) fn new(metrics: std::sync::Arc<Metrics>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        registry.register_collector(Box::new(process_metrics::ProcessMetrics));
        Self { registry }
    }

    /// Makes the exposition without this process's own metrics, whose names node_exporter has for
    /// itself.
    pub(super) fn without_process(metrics: std::sync::Arc<Metrics>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        Self { registry }
    }

    /// Renders them in the Prometheus text format.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be rendered.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        prometheus_text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    /// Renders them as OpenMetrics.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be rendered.
    pub(super) fn open_metrics(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.lock();
        let encoder = &mut encoder;
        let counter = ConstCounter::new;
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        let help = "The version of imds-audit";
        write(encoder, "imds_audit_build_info", help, [(version, ConstGauge::new(1_i64))])?;
        let requests = state.requests.iter().map(|((class, outcome, resource), count)| {
            let resource = resource.map_or("none", Resource::name);
            let labels =
                vec![("class", class.name()), ("outcome", outcome.name()), ("resource", resource)];
            (labels, counter(*count))
        });
        write(encoder, "imds_audit_requests", "Requests to the metadata service", requests)?;
        let counters = state.totals.totals().counters;
        let help = "IMDSv1 requests that were served: CloudWatch's MetadataNoToken";
        let served = [(vec![], counter(counters.metadata_no_token))];
        write(encoder, "imds_audit_metadata_no_token", help, served)?;
        let help = "IMDSv1 requests that were rejected: CloudWatch's MetadataNoTokenRejected";
        let rejected = [(vec![], counter(counters.metadata_no_token_rejected))];
        write(encoder, "imds_audit_metadata_no_token_rejected", help, rejected)?;
        let help = "Connections to the metadata service over which no request was sent";
        let connections = [(vec![], counter(state.totals.totals().connections))];
        write(encoder, "imds_audit_connections_without_request", help, connections)?;
        state.encode_losses(encoder)?;
        state.encode_outputs(encoder)?;
        state.encode_callers(encoder)?;
        let last = state.last_event.map(|seconds| (vec![], ConstGauge::new(seconds)));
        let help = "The time of the latest event";
        write(encoder, "imds_audit_last_event_timestamp_seconds", help, last)?;
        let fallbacks = state.fallbacks.iter();
        let fallbacks =
            fallbacks.map(|name| (vec![("name", name.as_str())], ConstGauge::new(1_i64)));
        let help = "Limitations of this host that are in force";
        write(encoder, "imds_audit_fallback", help, fallbacks)?;
        let hops = state.hops.limit().map(|limit| (vec![], ConstGauge::new(i64::from(limit))));
        let help = "The instance's HttpPutResponseHopLimit, as token responses showed it";
        write(encoder, "imds_audit_hop_limit", help, hops)
    }
}

impl State {
    fn encode_losses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // Those of single processes together.
        let mut sums = BTreeMap::<(&str, String), u64>::new();
        for loss in self.totals.losses() {
            let sum = sums.entry((loss.what.name(), loss.reason.into_owned())).or_default();
            *sum = sum.saturating_add(loss.count);
        }
        // One that is always there, so that an alert's query never finds nothing.
        sums.entry(("events", "output".to_owned())).or_default();
        let losses = sums.iter().map(|((what, reason), count)| {
            (vec![("what", *what), ("reason", reason.as_str())], ConstCounter::new(*count))
        });
        write(encoder, "imds_audit_losses", "What was not observed or not written", losses)
    }

    fn encode_outputs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let status: Vec<_> =
            self.outputs.iter().map(|(name, output)| (name.as_str(), output.status())).collect();
        let labels = |name| vec![("output", name)];
        let counter = ConstCounter::new;
        let written = status.iter().map(|(name, status)| (labels(*name), counter(status.written)));
        write(encoder, "imds_audit_output_bytes", "Bytes written to an output", written)?;
        let errors = status.iter().map(|(name, status)| (labels(*name), counter(status.errors)));
        let help = "Attempts to write to an output that failed";
        write(encoder, "imds_audit_output_errors", help, errors)?;
        let lost = status.iter().map(|(name, status)| (labels(*name), counter(status.lost)));
        let help = "Lines that could not be written to an output";
        write(encoder, "imds_audit_output_lost_lines", help, lost)?;
        let rotations =
            status.iter().map(|(name, status)| (labels(*name), counter(status.rotations)));
        let help = "Files that were rotated";
        write(encoder, "imds_audit_output_rotations", help, rotations)?;
        let removed =
            status.iter().map(|(name, status)| (labels(*name), counter(status.removed_files)));
        let help = "Rotated files that were removed for want of free space";
        write(encoder, "imds_audit_output_removed_files", help, removed)?;
        let waiting = status.iter().map(|(name, status)| {
            let waiting = i64::try_from(status.waiting).unwrap_or(i64::MAX);
            (labels(*name), ConstGauge::new(waiting))
        });
        let help = "Bytes that wait to be written to an output";
        write(encoder, "imds_audit_output_queue_bytes", help, waiting)
    }

    fn encode_callers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let callers = Class::ALL.into_iter().map(|class| {
            let number = self.distinct.get(&class).map_or(0, HashSet::len);
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            (vec![("class", class.name())], ConstGauge::new(number))
        });
        let help = "Callers that were seen since the start, at most 4096 of a class";
        write(encoder, "imds_audit_callers", help, callers)?;
        let series = |id, title, class: &Class, count: &u64| {
            let labels = vec![("caller", id), ("title", title), ("class", class.name())];
            (labels, ConstCounter::new(*count))
        };
        let own = self.callers.iter().flat_map(|(id, caller)| {
            let requests = caller.requests.iter();
            requests
                .map(move |(class, count)| series(id.as_str(), caller.title.as_str(), class, count))
        });
        let others = self.others.iter().map(|(class, count)| series(OTHER, OTHER, class, count));
        let help = "Requests by caller";
        write(encoder, "imds_audit_caller_requests", help, own.chain(others))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Loss, LossEvent, LossUnit, tests::example};

    fn request(caller: usize) -> Event {
        let mut event = example();
        let id = format!("{caller:016x}");
        event.caller = Arc::new(Caller { title: format!("caller \"{id}\"\n"), id, home: None });
        Event::from(event)
    }

    #[test]
    fn names_and_labels_are_those_of_the_design() {
        let metrics = Arc::new(Metrics::new(None));
        metrics.observe(&request(1));
        let loss =
            Loss { reason: "output".into(), what: LossUnit::Events, count: 3, process: None };
        metrics.observe(&Event::from(Body::Loss(LossEvent {
            time: example().time,
            loss,
            window: None,
        })));
        let page = Exposition::new(metrics).text().unwrap();
        for line in [
            "# TYPE imds_audit_requests_total counter",
            "imds_audit_requests_total{class=\"v1\",outcome=\"served\",resource=\"credentials\"} 1",
            "imds_audit_metadata_no_token_total 1",
            "imds_audit_metadata_no_token_rejected_total 0",
            "imds_audit_connections_without_request_total 0",
            "imds_audit_losses_total{what=\"events\",reason=\"output\"} 3",
            "imds_audit_callers{class=\"v1\"} 1",
            "imds_audit_callers{class=\"v2\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(
            page.contains("imds_audit_last_event_timestamp_seconds 1795309323.123456"),
            "{page}"
        );
        assert!(page.contains("process_resident_memory_bytes"), "{page}");
        assert!(!page.contains("caller_requests"), "{page}");
    }

    #[test]
    fn a_flood_of_callers_has_bounded_series_and_none_forges_a_line() {
        let metrics = Arc::new(Metrics::new(Some(3)));
        for caller in 0..10_000 {
            metrics.observe(&request(caller));
        }
        let page = Exposition::new(Arc::clone(&metrics)).text().unwrap();
        let series: Vec<&str> =
            page.lines().filter(|line| line.starts_with("imds_audit_caller_requests")).collect();
        assert_eq!(series.len(), 4, "{series:#?}");
        let other =
            "imds_audit_caller_requests_total{caller=\"other\",title=\"other\",class=\"v1\"} 9997";
        assert!(series.contains(&other), "{series:#?}");
        assert!(series[0].contains(r#"title="caller \"0000000000000000\"\n""#), "{series:#?}");
        assert!(page.contains("imds_audit_callers{class=\"v1\"} 4096\n"), "{page}");
        assert!(page.len() < 20_000);
        let open_metrics = Exposition::new(metrics).open_metrics().unwrap();
        assert!(open_metrics.ends_with("# EOF\n"));
    }
}
