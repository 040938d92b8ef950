//! Folding of connections without a request, per process and minute.
//!
//! A process that only connects costs one event a minute, however often it does. Conservation:
//! the connections that went in are the sum of the counts that came out.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use imds_audit_ebpf::ProcessKey;

use crate::event::ConnectionEvent;
use crate::flow::ConnectResult;
use crate::segment::Timestamp;

/// How long connections are folded.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// The number of open windows; beyond it the oldest one ends early.
const MAX_WINDOWS: usize = 256;

/// The connections that are folded into one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FoldKey {
    /// The process; `None` where it is not known.
    pub process: Option<ProcessKey>,
    /// The service's address and port.
    pub endpoint: SocketAddr,
    /// The result of the attempt to connect.
    pub result: ConnectResult,
    /// The network namespace.
    pub netns: Option<u32>,
}

/// The open windows. Each begins with a connection that is reported at once.
#[derive(Debug, Default)]
pub(super) struct ConnectionFolder {
    windows: HashMap<FoldKey, Option<ConnectionEvent>>,
    /// The ends of the windows, in order: all are of one length.
    ends: VecDeque<(Timestamp, FoldKey)>,
    /// Events of windows that ended.
    ready: VecDeque<ConnectionEvent>,
}

impl ConnectionFolder {
    /// Adds a connection that ended, or was given up, at `now`.
    pub(super) fn add(&mut self, key: FoldKey, event: ConnectionEvent, now: Timestamp) {
        self.handle_timeout(now);
        if let Some(folded) = self.windows.get_mut(&key) {
            match folded {
                Some(folded) => merge(folded, event),
                None => *folded = Some(event),
            }
            return;
        }
        if self.windows.len() >= MAX_WINDOWS
            && let Some((_, oldest)) = self.ends.pop_front()
        {
            self.ready.extend(self.windows.remove(&oldest).flatten());
        }
        self.ready.push_back(event);
        self.open(key, now);
    }

    /// Ends the windows that are due. One in which connections were folded is followed by
    /// another.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(&(end, key)) = self.ends.front().filter(|(end, _)| *end <= now) {
            self.ends.pop_front();
            if let Some(folded) = self.windows.remove(&key).flatten() {
                self.ready.push_back(folded);
                self.open(key, end.max(now));
            }
        }
    }

    /// Ends all windows.
    pub(super) fn finish(&mut self) {
        while let Some((_, key)) = self.ends.pop_front() {
            self.ready.extend(self.windows.remove(&key).flatten());
        }
    }

    /// Returns the next event.
    pub(super) fn poll_event(&mut self) -> Option<ConnectionEvent> {
        self.ready.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.ends.front().map(|(end, _)| *end)
    }

    fn open(&mut self, key: FoldKey, now: Timestamp) {
        let length = u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX);
        self.windows.insert(key, None);
        self.ends.push_back((Timestamp(now.0.saturating_add(length)), key));
    }
}

/// Adds a connection to one of the same window.
fn merge(folded: &mut ConnectionEvent, event: ConnectionEvent) {
    let connection = &mut folded.connection;
    connection.count = connection.count.saturating_add(event.connection.count);
    connection.last = Some(connection.last.unwrap_or(folded.time).max(event.time));
    connection.duration_us = None;
    folded.time = folded.time.min(event.time);
    folded.network.source = None;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::audit::fixture::CLOCK;
    use crate::event::{Connection, ConnectionFate, tests};
    use crate::property::costly;

    const SECOND: u64 = 1_000_000_000;

    fn key(pid: u32) -> FoldKey {
        FoldKey {
            process: Some(ProcessKey { pid, start_time: 1, exec_id: 1 }),
            endpoint: "169.254.169.254:80".parse().unwrap(),
            result: ConnectResult::Unanswered,
            netns: None,
        }
    }

    fn event(nanoseconds: u64) -> ConnectionEvent {
        ConnectionEvent {
            time: CLOCK.time(Timestamp(nanoseconds)),
            connection: Connection {
                endpoint: "169.254.169.254:80".to_owned(),
                fate: ConnectionFate::Unanswered,
                duration_us: Some(7),
                count: 1,
                last: None,
            },
            network: tests::example().network,
            process: Arc::new(tests::process(&["x"])),
        }
    }

    fn counts(folder: &mut ConnectionFolder) -> Vec<u64> {
        std::iter::from_fn(|| folder.poll_event()).map(|event| event.connection.count).collect()
    }

    #[test]
    fn the_first_connection_is_reported_at_once_and_the_others_of_a_minute_together() {
        let mut folder = ConnectionFolder::default();
        let add = |folder: &mut ConnectionFolder, second: u64| {
            folder.add(key(1), event(second * SECOND), Timestamp(second * SECOND));
        };
        add(&mut folder, 0);
        assert_eq!(counts(&mut folder), [1]);
        for second in 1..31 {
            add(&mut folder, second);
        }
        assert!(counts(&mut folder).is_empty());
        assert_eq!(folder.next_deadline(), Some(Timestamp(60 * SECOND)));
        folder.handle_timeout(Timestamp(60 * SECOND));
        let folded = folder.poll_event().unwrap();
        assert_eq!(folded.connection.count, 30);
        assert_eq!(folded.time, CLOCK.time(Timestamp(SECOND)));
        assert_eq!(folded.connection.last, Some(CLOCK.time(Timestamp(30 * SECOND))));
        assert_eq!((folded.connection.duration_us, folded.network.source), (None, None));
        // It goes on: still one event a minute.
        add(&mut folder, 90);
        assert!(counts(&mut folder).is_empty());
        folder.handle_timeout(Timestamp(120 * SECOND));
        assert_eq!(counts(&mut folder), [1]);
        // A minute without any ends it.
        folder.handle_timeout(Timestamp(180 * SECOND));
        assert_eq!((counts(&mut folder), folder.next_deadline()), (vec![], None));
        add(&mut folder, 200);
        assert_eq!(counts(&mut folder), [1]);
    }

    proptest! {
        #![proptest_config(costly(64))]

        #[test]
        fn what_goes_in_comes_out(
            steps in prop::collection::vec((0..400_u32, 0..20_u64, 1..9_u64), 0..600),
        ) {
            let mut folder = ConnectionFolder::default();
            let (mut time, mut sum, mut came) = (0, 0, 0);
            for (pid, seconds, times) in steps {
                time += seconds * SECOND;
                for _ in 0..times {
                    folder.add(key(pid), event(time), Timestamp(time));
                }
                sum += times;
                prop_assert!(folder.windows.len() <= MAX_WINDOWS);
                prop_assert_eq!(folder.windows.len(), folder.ends.len());
                came += counts(&mut folder).iter().sum::<u64>();
            }
            folder.finish();
            came += counts(&mut folder).iter().sum::<u64>();
            prop_assert_eq!(came, sum);
            prop_assert!(folder.windows.is_empty());
        }
    }
}
