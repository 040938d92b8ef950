//! Response on its way from the service to a caller.

use super::framing::{Framing, MAX_HEAD};
use crate::flow::{Body, Expectation, HeadParser, Kind, Progress, RequestHead};

/// A response on its way: where its header blocks and its body end.
pub(super) struct Response {
    state: State,
    expectation: Expectation,
}

enum State {
    Head(HeadParser),
    Body(Framing),
}

impl Response {
    /// Begins the response to a request.
    pub(super) fn new(request: &RequestHead) -> Self {
        Self {
            state: State::Head(HeadParser::new(Kind::Response, MAX_HEAD)),
            expectation: Expectation::of(request),
        }
    }

    /// Returns whether it has ended.
    pub(super) fn is_done(&self) -> bool {
        matches!(&self.state, State::Body(framing) if framing.is_done())
    }

    /// Returns whether no end can be found in it: it is no HTTP, or changes to another protocol.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.state, State::Body(Framing::Opaque))
    }

    /// Returns how many of the bytes belong to the response. They are passed on in one piece: a
    /// caller that got its header block alone would wake up twice.
    pub(super) fn take_all(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let count = if self.is_done() { 0 } else { self.take(rest) };
            if count == 0 {
                break;
            }
            taken += count;
        }
        taken
    }

    /// Returns how many of the bytes belong to the response: at least one, up to the end of a header
    /// block, or of the body.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let State::Head(parser) = &mut self.state else {
            let State::Body(framing) = &mut self.state else { return bytes.len() };
            return framing.take(bytes);
        };
        match parser.push(bytes) {
            Progress::More => bytes.len(),
            Progress::Complete(used) => {
                self.head_read();
                used
            }
            Progress::Invalid | Progress::TooLong => {
                self.state = State::Body(Framing::Opaque);
                bytes.len()
            }
        }
    }

    fn head_read(&mut self) {
        let next = State::Head(HeadParser::new(Kind::Response, MAX_HEAD));
        let State::Head(parser) = std::mem::replace(&mut self.state, next) else { return };
        let Some(head) = parser.into_response(true) else {
            self.state = State::Body(Framing::Opaque);
            return;
        };
        // After an interim response (RFC 9110, section 15.2) another header block follows.
        if !(100..=199).contains(&head.status()) || head.status() == 101 {
            let body = Body::of_response(&head, self.expectation);
            self.state = State::Body(Framing::new(body));
        }
    }
}
