//! The event sink: passes every event to the observer, the sums and every output.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{audit_result::AuditResult, caller_share::CallerShares};
use crate::{
    aggregate::window::Windows,
    event::{
        Body, Checkpoint, Event, HostIdentity, Loss, LossEvent, Origin, StopEvent, StopReason, Time,
    },
    output::{loss::LostLines, sink::Sink, summary::Summary},
};

/// What sees every event first, and may change it or leave it out.
pub trait View {
    /// Takes an event in. Returns whether it goes on.
    fn admit(&mut self, event: &mut Event) -> bool;

    /// Returns a last event, which comes before the `stop` event.
    fn closing(&mut self, time: Time) -> Option<Event>;
}

/// Hands every event to the sums and the outputs.
pub(super) struct EventSink {
    view: Option<Box<dyn View>>,
    /// The origin that every event carries.
    origin: Arc<Origin>,
    outputs: Vec<Sink>,
    /// Woken by any output that has news.
    changed: Arc<Notify>,
    summary: Summary,
    /// The sums of time windows, if `tally` events are wanted.
    windows: Option<Windows>,
    /// What each caller may have written.
    shares: CallerShares,
    /// Network namespaces whose requests are taken; `None` for all.
    networks: Option<Vec<u32>>,
    /// Every output is closed, and there was one.
    closed: bool,
}

impl EventSink {
    /// Makes a sink for these outputs.
    pub(super) fn new(origin: Origin, outputs: Vec<Sink>) -> Self {
        let mut sink = Self {
            view: None,
            origin: Arc::new(origin),
            outputs: Vec::new(),
            changed: Arc::default(),
            summary: Summary::default(),
            windows: None,
            shares: CallerShares::default(),
            networks: None,
            closed: false,
        };
        sink.adopt(outputs);
        sink
    }

    /// Emits an event.
    pub(super) fn emit(&mut self, mut event: Event, observer: &mut impl FnMut(&Event)) {
        if self.view.as_mut().is_some_and(|view| !view.admit(&mut event)) {
            return;
        }
        event.origin = Arc::clone(&self.origin);
        if self.networks.as_deref().is_some_and(|networks| !is_of(networks, &event)) {
            return;
        }
        if let Some(windows) = &self.windows {
            windows.number(&mut event);
        }
        observer(&event);
        self.summary.add(&event);
        if let Some(windows) = &mut self.windows {
            windows.add(&event);
        }
        if self.shares.admit(&event) {
            for output in &mut self.outputs {
                output.write(&event);
            }
        }
    }

    /// Returns the losses of what was withheld from the outputs, because its caller exceeded its
    /// share, as far as they are due; all of them if `is_last`.
    pub(super) fn take_withheld(&mut self, now: Time, is_last: bool) -> Vec<Loss> {
        self.shares.take_losses(now, is_last)
    }

    /// Sums time windows that begin with the `start` event, for
    /// [`close_window`](Self::close_window).
    pub(super) fn sum_windows(&mut self, start: &Event) {
        if let Some(time) = start.body.time() {
            let mut windows = Windows::new(time);
            windows.add(start);
            self.windows = Some(windows);
        }
    }

    /// Emits the `tally` event of the window that ends now.
    pub(super) fn close_window(&mut self, to: Time, last: bool, observer: &mut impl FnMut(&Event)) {
        if let Some(windows) = &mut self.windows {
            let mut tally = windows.close(to, last);
            tally.checkpoints = checkpoints(&self.outputs);
            self.emit(Event::from(Body::from(tally)), observer);
        }
    }

    /// Shows every event to a view from now on.
    pub(super) fn set_view(&mut self, view: Box<dyn View>) {
        self.view = Some(view);
    }

    /// Emits the view's last event.
    fn close_view(&mut self, time: Time, observer: &mut impl FnMut(&Event)) {
        if let Some(event) = self.view.as_mut().and_then(|view| view.closing(time)) {
            self.emit(event, observer);
        }
    }

    /// Takes only requests and connections of these network namespaces from now on, and those
    /// whose namespace is unknown.
    pub(super) fn restrict(&mut self, networks: Vec<u32>) {
        self.networks = Some(networks);
    }

    /// Gives every event these labels from now on.
    pub(super) fn set_labels(&mut self, labels: BTreeMap<String, String>) {
        Arc::make_mut(&mut self.origin).labels = labels;
        self.announce_origin();
    }

    /// Gives every event this host and these labels from now on.
    pub(super) fn set_host(
        &mut self,
        host: Option<HostIdentity>,
        labels: BTreeMap<String, String>,
    ) {
        let origin = Arc::make_mut(&mut self.origin);
        (origin.host, origin.labels) = (host, labels);
        self.announce_origin();
    }

    /// Has outputs report their losses with the origin of now.
    fn announce_origin(&self) {
        for output in &self.outputs {
            output.set_origin(&self.origin);
        }
    }

    /// Replaces the outputs by those that `change` makes of them. Nothing is emitted meanwhile, so
    /// an event is written to the old ones or to the new ones.
    pub(super) fn change_outputs(&mut self, change: impl FnOnce(Vec<Sink>) -> Vec<Sink>) {
        let outputs = change(std::mem::take(&mut self.outputs));
        self.adopt(outputs);
    }

    /// Flushes every output; to be called when no records are pending. An output whose reader is
    /// gone is left out from then on.
    pub(super) fn flush(&mut self, observer: &mut impl FnMut(&Event)) {
        let mut reported = LostLines::default();
        self.outputs.retain(|output| match output.flush() {
            Ok(lost) => {
                reported += lost;
                true
            }
            Err(error) => {
                log::info!("an output is closed error={error}");
                false
            }
        });
        self.count_lost(reported, observer);
    }

    /// Waits until every line is written or lost, or waiting is given up.
    pub(super) fn drain(&mut self, observer: &mut impl FnMut(&Event)) {
        for output in &self.outputs {
            output.queue().drain();
        }
        self.flush(observer);
    }

    /// Counts events that an output lost. Only the observer gets an event: each output reports its
    /// own losses, as soon as it can be written to.
    fn count_lost(&mut self, lost: LostLines, observer: &mut impl FnMut(&Event)) {
        for loss in lost.losses() {
            self.summary.add_loss(&loss);
            if let Some(windows) = &mut self.windows {
                windows.add_loss(&loss);
            }
            let time = Time(jiff::Timestamp::now());
            let body = Body::Loss(LossEvent { time, loss, window: None });
            observer(&Event { origin: Arc::clone(&self.origin), ..Event::from(body) });
        }
    }

    /// Counts all lines that were lost and not reported, for the last lines; no report follows.
    fn freeze_losses(&mut self, observer: &mut impl FnMut(&Event)) -> u64 {
        let mut lost = LostLines::default();
        for output in &self.outputs {
            lost += output.queue().freeze_losses();
        }
        self.count_lost(lost, observer);
        lost.total()
    }

    /// Returns how many lines are neither written nor reported as lost.
    fn unwritten(&self) -> u64 {
        self.outputs.iter().fold(0, |sum, output| sum.saturating_add(output.queue().unwritten()))
    }

    /// Returns an error of an output, if there was one.
    fn last_error(&self) -> Option<String> {
        self.outputs.iter().find_map(|output| output.queue().last_error())
    }

    /// Waits until [`flush`](Self::flush) has news. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns whether an output was closed since the last flush.
    pub(super) fn has_closed_output(&self) -> bool {
        self.outputs.iter().any(|output| output.queue().is_closed())
    }

    /// Returns whether there were outputs and all are closed.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed && self.outputs.is_empty()
    }

    /// Returns the number of bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.outputs.iter().map(|output| output.queue().held()).sum()
    }

    /// Returns the sums of the run.
    pub(super) const fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }

    /// Ends the events: those of the view and of the last window, then `stop`, which counts what
    /// could not be written before it.
    pub(super) fn finish(
        mut self,
        time: Time,
        reason: StopReason,
        observed: Duration,
        observer: &mut impl FnMut(&Event),
    ) -> AuditResult {
        // Before the totals are written, so that they hold what could not be written.
        self.drain(observer);
        let unreported = self.freeze_losses(observer);
        self.close_view(time, observer);
        self.close_window(time, true, observer);
        // So that the checkpoints of the last event have every line before it.
        self.drain(observer);
        let stop = Event::from(Body::from(StopEvent {
            time,
            reason,
            duration_us: u64::try_from(observed.as_micros()).unwrap_or(u64::MAX),
            totals: self.summary.totals().clone(),
            losses: self.summary.losses(),
            checkpoints: checkpoints(&self.outputs),
        }));
        self.emit(stop, observer);
        self.drain(observer);
        let unwritten = self.unwritten();
        let unwritten_since = unwritten.saturating_sub(unreported);
        self.count_lost(LostLines { unwritten: unwritten_since, ..LostLines::default() }, observer);
        AuditResult {
            observed,
            reason,
            unwritten,
            trouble: self.last_error(),
            summary: self.summary,
        }
    }

    fn adopt(&mut self, outputs: Vec<Sink>) {
        self.closed |= !outputs.is_empty();
        for output in &outputs {
            output.queue().set_listener(&self.changed);
        }
        self.outputs = outputs;
        self.announce_origin();
    }
}

fn checkpoints(outputs: &[Sink]) -> Vec<Checkpoint> {
    outputs.iter().filter_map(|output| output.queue().checkpoint()).collect()
}

/// Returns whether an event is of one of the network namespaces, of an unknown one or of none.
pub(crate) fn is_of(networks: &[u32], event: &Event) -> bool {
    let network = match &event.body {
        Body::Request(event) => event.network.netns,
        Body::Connection(event) => event.network.netns,
        Body::Loss(_)
        | Body::Start(_)
        | Body::Stop(_)
        | Body::Tally(_)
        | Body::Rehearsal(_)
        | Body::Other => None,
    };
    network.is_none_or(|network| networks.contains(&network))
}

#[cfg(test)]
mod tests;
