//! Bounds on what one caller may have written to the outputs.
//!
//! Each caller has a bucket of events for its requests and one for its connections. What exceeds
//! them is in the totals, in the counts per caller and in the summary, and is reported as a loss
//! with the reason `share`; only its own events are not written. So no caller takes the outputs
//! from the others, or the disk.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::{
    aggregate::caller,
    event::{Body, Event, Loss, LossProcess, LossUnit, Process, Time},
};

/// Request events a second that every caller may have written without limit of time.
pub(super) const REQUESTS_PER_SECOND: u64 = 2_000;
/// Request events that a caller may have written beyond that at once: five minutes' worth.
pub(super) const REQUEST_BURST: u64 = 600_000;
/// Connection events a second, of one caller and of all. Those of one process are folded.
pub(super) const CONNECTIONS_PER_SECOND: u64 = 1;
/// Connection events beyond that at once, of one caller.
pub(super) const CONNECTION_BURST: u64 = 600;
/// Connection events beyond that at once, of all callers: a caller may change its name at will.
pub(super) const ALL_CONNECTIONS_BURST: u64 = 10_000;

/// The number of callers that are told apart; the one that was silent longest makes room.
const MAX_CALLERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// How often a caller's loss is reported, in microseconds.
const REPORT_INTERVAL: u64 = 10_000_000;
/// A token is a millionth of an event, so that a microsecond at one event a second is one.
const TOKENS: u64 = 1_000_000;
/// The longest time that fills a bucket at once, in microseconds: longer is as good.
const LONGEST: u64 = 86_400_000_000;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    burst: u64,
    rate: u64,
    /// The latest time that was seen, in microseconds.
    filled: u64,
}

impl Bucket {
    const fn new(burst: u64, rate: u64, now: u64) -> Self {
        let burst = burst.saturating_mul(TOKENS);
        Self { tokens: burst, burst, rate, filled: now }
    }

    /// Takes one event's tokens. Returns whether they were there.
    fn take(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.filled).min(LONGEST);
        self.filled = self.filled.max(now);
        let more = elapsed.saturating_mul(self.rate);
        self.tokens = self.tokens.saturating_add(more).min(self.burst);
        match self.tokens.checked_sub(TOKENS) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// A caller's buckets, and what was withheld since it was last reported.
#[derive(Debug)]
struct Share {
    requests: Bucket,
    connections: Bucket,
    withheld_requests: u64,
    withheld_connections: u64,
    /// The process that was withheld last.
    process: Option<LossProcess>,
    reported: u64,
}

/// The shares of all callers.
#[derive(Debug)]
pub(super) struct CallerShares {
    callers: LruCache<String, Share>,
    all_connections: Bucket,
    /// Losses of callers that were forgotten.
    forgotten: Vec<Loss>,
    has_withheld: bool,
}

impl Default for CallerShares {
    fn default() -> Self {
        Self {
            callers: LruCache::new(MAX_CALLERS),
            all_connections: Bucket::new(ALL_CONNECTIONS_BURST, CONNECTIONS_PER_SECOND, 0),
            forgotten: Vec::new(),
            has_withheld: false,
        }
    }
}

impl CallerShares {
    /// Returns whether an event is within its caller's share. One that is not is counted.
    pub(super) fn admit(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Request(request) => {
                let now = microseconds(request.time);
                let share = self.share(&request.caller.id, now);
                if share.requests.take(now) {
                    return true;
                }
                share.withheld_requests = share.withheld_requests.saturating_add(1);
                share.process = loss_process(&request.process);
            }
            Body::Connection(event) => {
                let now = microseconds(event.time);
                let is_within_all = self.all_connections.take(now);
                let share = self.share(&caller::of(&event.process).id, now);
                if share.connections.take(now) && is_within_all {
                    return true;
                }
                let count = event.connection.count;
                share.withheld_connections = share.withheld_connections.saturating_add(count);
                share.process = loss_process(&event.process);
            }
            Body::Loss(_)
            | Body::Start(_)
            | Body::Stop(_)
            | Body::Tally(_)
            | Body::Rehearsal(_)
            | Body::Other => {
                return true;
            }
        }
        self.has_withheld = true;
        false
    }

    /// Returns what was withheld and is due to be reported; `all` of it at the end.
    pub(super) fn take_losses(&mut self, now: Time, all: bool) -> Vec<Loss> {
        if !self.has_withheld {
            return Vec::new();
        }
        let now = microseconds(now);
        let mut losses = std::mem::take(&mut self.forgotten);
        self.has_withheld = false;
        for (_, share) in &mut self.callers {
            let is_due = all || now.saturating_sub(share.reported) >= REPORT_INTERVAL;
            let has_withheld = share.withheld_requests > 0 || share.withheld_connections > 0;
            if has_withheld && is_due {
                share.reported = now;
                share.report(&mut losses);
            } else {
                self.has_withheld |= has_withheld;
            }
        }
        losses
    }

    fn share(&mut self, id: &str, now: u64) -> &mut Share {
        if !self.callers.contains(id)
            && self.callers.len() >= MAX_CALLERS.get()
            && let Some((_, mut share)) = self.callers.pop_lru()
        {
            share.report(&mut self.forgotten);
        }
        self.callers.get_or_insert_mut_ref(id, || Share {
            requests: Bucket::new(REQUEST_BURST, REQUESTS_PER_SECOND, now),
            connections: Bucket::new(CONNECTION_BURST, CONNECTIONS_PER_SECOND, now),
            withheld_requests: 0,
            withheld_connections: 0,
            process: None,
            reported: 0,
        })
    }
}

impl Share {
    fn report(&mut self, losses: &mut Vec<Loss>) {
        for (what, count) in [
            (LossUnit::Requests, std::mem::take(&mut self.withheld_requests)),
            (LossUnit::Connections, std::mem::take(&mut self.withheld_connections)),
        ] {
            if count > 0 {
                let process = self.process.clone();
                losses.push(Loss { reason: "share".into(), what, count, process });
            }
        }
    }
}

fn loss_process(process: &Process) -> Option<LossProcess> {
    process.pid.map(|pid| LossProcess { pid, name: process.name.clone() })
}

/// Returns microseconds since 1970; 0 before.
fn microseconds(time: Time) -> u64 {
    u64::try_from(time.0.as_microsecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{
        Caller, Connection, ConnectionEvent, ConnectionFate, RequestEvent, tests::example,
        tests::process,
    };

    const START: i64 = 1_795_309_323_000_000;

    fn time(microsecond: u64) -> Time {
        Time(jiff::Timestamp::from_microsecond(START + microsecond as i64).unwrap())
    }

    fn request(caller: &str, microsecond: u64) -> Event {
        let caller = Arc::new(Caller { id: caller.to_owned(), ..Caller::default() });
        Event::from(RequestEvent { time: time(microsecond), caller, ..example() })
    }

    fn connection(name: &str, microsecond: u64, count: u64) -> Event {
        Event::from(ConnectionEvent {
            time: time(microsecond),
            connection: Connection {
                endpoint: "169.254.169.254:80".to_owned(),
                fate: ConnectionFate::Unanswered,
                duration_us: None,
                count,
                last: None,
            },
            network: example().network,
            process: Arc::new(Process {
                unit: Some(format!("{name}.service")),
                cgroup: None,
                ..process(&[name])
            }),
        })
    }

    fn sum(losses: &[Loss], what: LossUnit) -> u64 {
        losses.iter().filter(|loss| loss.what == what).map(|loss| loss.count).sum()
    }

    #[test]
    fn a_thousand_requests_a_second_pass_for_ever_whatever_the_burst() {
        let mut bucket = Bucket::new(2, REQUESTS_PER_SECOND, 0);
        assert!((0..100_000).all(|number| bucket.take(number * 1_000)));
    }

    #[test]
    fn a_caller_that_floods_is_counted_and_takes_nothing_from_the_others() {
        const REQUESTS: u64 = REQUEST_BURST + 50_000;
        let mut shares = CallerShares::default();
        let (mut written, mut withheld) = (0, 0);
        let mut flood = request("flood", 0);
        for number in 0..REQUESTS {
            let microsecond = number * 10;
            if let Body::Request(request) = &mut flood.body {
                request.time = time(microsecond);
            }
            written += u64::from(shares.admit(&flood));
            if number % 100 == 0 {
                assert!(shares.admit(&request("ordinary", microsecond)));
                withheld += sum(&shares.take_losses(time(microsecond), false), LossUnit::Requests);
            }
        }
        let last = shares.take_losses(time(REQUESTS * 10), true);
        assert_eq!(last[0].reason, "share");
        assert_eq!(last[0].process.as_ref().unwrap().name.as_deref(), Some("curl"));
        withheld += sum(&last, LossUnit::Requests);
        assert_eq!(written + withheld, REQUESTS);
        let most = REQUEST_BURST + REQUESTS * 10 * REQUESTS_PER_SECOND / TOKENS;
        assert!((most - 1..=most + 1).contains(&written), "{written}");
    }

    #[test]
    fn callers_that_change_their_names_are_bounded_together_and_each_connection_is_counted() {
        let mut shares = CallerShares::default();
        let (mut written, mut lost) = (0, 0);
        for number in 0..30_000_u64 {
            let event = connection(&format!("x{}", number % 5_000), number, 3);
            written += u64::from(shares.admit(&event));
            lost += sum(&shares.take_losses(time(number), false), LossUnit::Connections);
        }
        lost += sum(&shares.take_losses(time(30_000), true), LossUnit::Connections);
        assert_eq!(3 * written + lost, 90_000);
        assert_eq!(written, ALL_CONNECTIONS_BURST);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_tokens() {
        let mut bucket = Bucket::new(1, 1, 100 * TOKENS);
        assert!(bucket.take(100 * TOKENS));
        assert!(!bucket.take(0));
        assert!(!bucket.take(100 * TOKENS));
        assert!(bucket.take(101 * TOKENS));
    }
}
