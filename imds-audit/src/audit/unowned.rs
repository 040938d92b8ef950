//! Queue of observations whose connection's owner is still being looked for.

use std::collections::{BTreeMap, VecDeque};

use crate::flow::{Exchange, FlowEvent, WaitingRequest};
use crate::segment::ConnectionId;

/// The largest number of bytes held, about; beyond it the oldest observation goes out without an
/// owner.
const CAPACITY: usize = 8 << 20;

/// The connections whose owner is awaited, and the observations on them.
#[derive(Debug, Default)]
pub(super) struct UnownedEvents {
    /// The places of a connection's observations in their order, oldest first.
    awaited: BTreeMap<ConnectionId, VecDeque<u64>>,
    /// By their order.
    events: BTreeMap<u64, FlowEvent>,
    next: u64,
    weight: usize,
}

impl UnownedEvents {
    /// Holds the observations on a connection from now on.
    pub(super) fn hold(&mut self, connection: ConnectionId) {
        self.awaited.entry(connection).or_default();
    }

    /// Returns whether the owner of a connection is awaited.
    pub(super) fn awaits(&self, connection: ConnectionId) -> bool {
        self.awaited.contains_key(&connection)
    }

    /// Takes an observation. Returns it if nothing is awaited for it, or else the oldest ones where
    /// there are too many.
    pub(super) fn push(&mut self, event: FlowEvent) -> impl Iterator<Item = FlowEvent> + use<> {
        let passing = match self.awaited.get_mut(&connection_of(&event)) {
            Some(places) => {
                places.push_back(self.next);
                self.weight += weight(&event);
                self.events.insert(self.next, event);
                self.next += 1;
                None
            }
            None => Some(event),
        };
        let mut overflowing = Vec::new();
        while self.weight > CAPACITY
            && let Some((_, event)) = self.events.pop_first()
        {
            self.weight -= weight(&event);
            // The oldest of all is the oldest of its connection.
            if let Some(places) = self.awaited.get_mut(&connection_of(&event)) {
                places.pop_front();
            }
            overflowing.push(event);
        }
        passing.into_iter().chain(overflowing)
    }

    /// Returns the observations on a connection whose owner is now known, or never will be.
    pub(super) fn release(&mut self, connection: ConnectionId) -> Vec<FlowEvent> {
        let places = self.awaited.remove(&connection).unwrap_or_default();
        let ready: Vec<FlowEvent> =
            places.into_iter().filter_map(|place| self.events.remove(&place)).collect();
        self.weight -= ready.iter().map(weight).sum::<usize>();
        ready
    }

    /// Returns everything that is held.
    pub(super) fn release_all(&mut self) -> Vec<FlowEvent> {
        self.awaited.clear();
        self.weight = 0;
        std::mem::take(&mut self.events).into_values().collect()
    }
}

fn weight(event: &FlowEvent) -> usize {
    size_of::<FlowEvent>() + event.heap_size()
}

/// Returns the connection of an observation.
fn connection_of(event: &FlowEvent) -> ConnectionId {
    match event {
        FlowEvent::RequestWaiting(WaitingRequest { connection, .. })
        | FlowEvent::Exchange(Exchange { connection, .. }) => *connection,
        FlowEvent::IdleConnection(idle) => idle.connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture;
    use crate::flow::{ConnectResult, IdleConnection};
    use crate::segment::Timestamp;

    fn idle(connection: u64, opened: u64) -> FlowEvent {
        FlowEvent::IdleConnection(IdleConnection {
            connection: ConnectionId(connection),
            ends: fixture::ends(),
            opened: Timestamp(opened),
            ended: Timestamp(opened),
            result: ConnectResult::Accepted,
        })
    }

    fn times(events: &[FlowEvent]) -> Vec<u64> {
        let time = |event: &FlowEvent| match event {
            FlowEvent::IdleConnection(idle) => idle.opened.0,
            _ => unreachable!(),
        };
        events.iter().map(time).collect()
    }

    #[test]
    fn what_waits_for_an_owner_goes_out_in_its_order_once_that_is_known() {
        let mut events = UnownedEvents::default();
        events.hold(ConnectionId(1));
        events.hold(ConnectionId(2));
        assert_eq!(times(&events.push(idle(3, 1)).collect::<Vec<_>>()), [1]);
        for (connection, time) in [(1, 2), (2, 3), (1, 4)] {
            assert!(events.push(idle(connection, time)).next().is_none());
        }
        assert_eq!(times(&events.release(ConnectionId(1))), [2, 4]);
        assert!(!events.awaits(ConnectionId(1)) && events.awaits(ConnectionId(2)));
        assert_eq!(times(&events.push(idle(1, 5)).collect::<Vec<_>>()), [5]);
        assert_eq!(times(&events.release_all()), [3]);
        assert_eq!(events.weight, 0);
    }

    #[test]
    fn too_many_go_out_without_an_owner() {
        let mut events = UnownedEvents::default();
        events.hold(ConnectionId(1));
        let fit = CAPACITY / weight(&idle(1, 0));
        for number in 0..fit {
            assert!(events.push(idle(1, number as u64)).next().is_none());
        }
        assert_eq!(times(&events.push(idle(1, 9)).collect::<Vec<_>>()), [0]);
    }
}
