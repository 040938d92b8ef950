//! Redaction and bounding of the texts in an event.

use crate::redact::{self, Known};
use crate::text::bounded::{self, bound};

/// Turns bytes from outside into text without secrets and of bounded length.
///
/// It removes the secrets that the request itself carried wherever they occur, then everything
/// that redaction recognises by its name or shape.
#[derive(Clone, Copy)]
pub(super) struct Sanitizer<'a, 'k> {
    /// The secrets of the request.
    pub secrets: &'a Known<'k>,
}

impl Sanitizer<'_, '_> {
    /// Returns a text of at most `limit` bytes, and the mark of a cut.
    pub(super) fn text(&self, bytes: &[u8], limit: usize) -> String {
        bounded::text(&redact::text(&self.secrets.remove(bytes)), limit)
    }

    /// Returns the name of a process, a user, a unit and the like.
    pub(super) fn name(&self, bytes: &[u8]) -> String {
        self.text(bytes, bound::NAME)
    }

    /// Returns a file's or a cgroup's path.
    pub(super) fn path(&self, bytes: &[u8]) -> String {
        self.text(bytes, bound::FILE)
    }

    /// Returns arguments of at most `limit` bytes together, and whether some were cut.
    pub(super) fn arguments(&self, args: &[&[u8]], limit: usize) -> (Vec<String>, bool) {
        let count = args.len().min(bound::ARGUMENT_COUNT);
        let known: Vec<_> = args.iter().take(count).map(|arg| self.secrets.remove(arg)).collect();
        let mut left = limit;
        let mut texts = Vec::with_capacity(count);
        let mut cut = count < args.len();
        for argument in redact::arguments(known.iter().map(AsRef::as_ref)) {
            if left == 0 {
                cut = true;
                break;
            }
            let text = bounded::text(&argument, left);
            cut |= text.len() > left;
            // An empty argument counts too, so that the bound holds for their number.
            left = left.saturating_sub(text.len().max(1));
            texts.push(text);
        }
        (texts, cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_long_arguments_stay_within_the_bound() {
        let long = vec![b'a'; 4096];
        let args: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 1000).collect();
        let secrets = Known::default();
        let (texts, cut) = Sanitizer { secrets: &secrets }.arguments(&args, bound::ARGUMENTS);
        let total: usize = texts.iter().map(String::len).sum();
        assert!(cut && total <= bound::ARGUMENTS + 8, "{total}");
    }
}
