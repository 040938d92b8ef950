//! Ends of the service: claims, until the caller acknowledges one.

use super::{Responses, State};
use crate::segment::Timestamp;

/// The ends that are remembered until the caller acknowledges one of them.
const MAX_ENDS: usize = 4;

impl Responses {
    /// Takes the service's end as a claim, which holds once the caller acknowledges it.
    pub(in super::super) fn claim_end(&mut self, position: u64, time: Timestamp) {
        let end = position.saturating_add(1);
        if self.acknowledged.is_some_and(|acknowledged| end < acknowledged)
            || self.is_read(position)
            || self.ends.iter().any(|&(end, _)| end == position)
        {
            return;
        }
        if self.ends.len() == MAX_ENDS {
            self.ends.remove(0);
        }
        self.ends.push((position, time));
        self.confirm_end();
    }

    /// Looks for the end that the caller acknowledged. One where a byte of data stands is none:
    /// that byte is what the acknowledgement is for.
    pub(super) fn confirm_end(&mut self) {
        let Some(acknowledged) = self.acknowledged else { return };
        self.ends.retain(|(end, _)| end.saturating_add(1) >= acknowledged);
        let confirmed = self.ends.iter().find(|(end, _)| end.saturating_add(1) == acknowledged);
        if let Some(&(end, _)) = confirmed
            && !self.stream.holds(end)
            && !self.is_read(end)
        {
            self.fin = Some(end);
        }
    }

    /// Returns whether a byte of data at a position was read or passed over.
    fn is_read(&self, position: u64) -> bool {
        match self.state {
            State::Head(..) | State::Chunked(_) => self.next().is_some_and(|next| position < next),
            State::UntilClose | State::Resync => false,
        }
    }

    /// Forgets an end where bytes that were not read stood: whoever sends another request has not
    /// seen it.
    pub(in super::super) fn mark_end_uncertain(&mut self) -> bool {
        let is_doubtful = matches!(self.state, State::UntilClose | State::Resync);
        if is_doubtful {
            self.fin = None;
        }
        is_doubtful
    }

    /// Returns whether the caller acknowledged an end of the service.
    pub(in super::super) fn is_finishing(&self) -> bool {
        self.fin.is_some()
    }

    /// Returns whether the service has finished, and all that it sent was seen or passed over.
    pub(in super::super) fn finished(&self) -> bool {
        self.fin.is_some_and(|fin| match self.state {
            State::UntilClose | State::Resync => true,
            State::Head(..) | State::Chunked(_) => self.next().is_none_or(|next| next >= fin),
        })
    }
}
