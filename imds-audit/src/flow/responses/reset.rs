//! Judges what the caller's kernel does with a reset.

use super::{Responses, State};

/// How far behind what the caller acknowledged a reset may stand where we keep no bytes.
const MAX_IN_FLIGHT: u64 = 1 << 20;

/// What a reset of the service does to the caller's end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum ResetEffect {
    /// The caller's kernel throws it away.
    None,
    /// The caller's kernel may take it: which byte it expects next is not known.
    MayEnd,
    /// It ends the connection.
    Ends,
}

impl Responses {
    /// Returns whether the caller takes a reset at this position: it must be the next that the
    /// caller expects (RFC 9293, section 3.10.7.4, as RFC 5961, section 3.2, made it). Within a
    /// body that we pass over, or before the last bytes are acknowledged, that may be any place.
    /// `None` where nothing tells.
    pub(in super::super) fn reset_effect(&self, position: u64) -> Option<ResetEffect> {
        if self.fin.is_some_and(|end| position == end.saturating_add(1)) {
            return Some(ResetEffect::Ends);
        }
        if self.ends.iter().any(|(end, _)| position == end.saturating_add(1)) {
            return Some(ResetEffect::MayEnd);
        }
        let places = match (&self.state, self.next()) {
            (State::Head(..) | State::Chunked(_), Some(next)) => {
                let first = self.acknowledged.unwrap_or(next);
                let last = self.stream.end().unwrap_or(next).max(next).max(first);
                first..=last
            }
            _ => {
                let first = self.acknowledged?;
                first..=first.saturating_add(MAX_IN_FLIGHT)
            }
        };
        Some(match places.contains(&position) {
            true if places.start() == places.end() => ResetEffect::Ends,
            true => ResetEffect::MayEnd,
            false => ResetEffect::None,
        })
    }
}
