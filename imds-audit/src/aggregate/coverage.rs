//! Spans of time that were audited, and the gaps between them.

use crate::event::Time;

/// The number of spans above which neighbours are joined.
const MAX_SPANS: usize = 4096;

/// A span of time, from its first moment to the moment behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The first moment.
    pub from: Time,
    /// The moment behind the last.
    pub to: Time,
}

impl Span {
    /// Returns the length, in whole seconds, rounded up.
    pub(crate) fn seconds(self) -> u64 {
        let nanoseconds = self.to.0.as_nanosecond().saturating_sub(self.from.0.as_nanosecond());
        u64::try_from(nanoseconds.max(0)).map_or(u64::MAX, |length| length.div_ceil(1_000_000_000))
    }

    /// Returns whether the other span lies within this one.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    /// Returns whether the spans have a moment in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// Spans that were audited.
///
/// Keeps at most 4 096 spans apart; beyond that it keeps the widest gaps only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    spans: Vec<Span>,
}

impl Coverage {
    /// Adds a span. One that ends before it begins is left out.
    pub(crate) fn add(&mut self, span: Span) {
        if span.to < span.from {
            return;
        }
        match self.spans.last_mut() {
            Some(last) if last.to == span.from => last.to = span.to,
            _ => self.spans.push(span),
        }
        if self.spans.len() >= MAX_SPANS * 2 {
            self.join();
        }
    }

    /// Adds the spans of another coverage.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.spans.iter().for_each(|span| self.add(*span));
    }

    /// Returns the span from the first moment to the last.
    pub(crate) fn hull(&self) -> Option<Span> {
        let from = self.spans.iter().map(|span| span.from).min()?;
        let to = self.spans.iter().map(|span| span.to).max()?;
        Some(Span { from, to })
    }

    /// Returns the spans within `window` that are not covered, in their order.
    pub(crate) fn gaps(&self, window: Span) -> Vec<Span> {
        let mut spans = self.spans.clone();
        spans.sort_unstable();
        let (mut reached, mut gaps) = (window.from, Vec::new());
        for span in spans {
            if span.from >= window.to {
                break;
            }
            if span.from > reached {
                gaps.push(Span { from: reached, to: span.from });
            }
            reached = reached.max(span.to);
        }
        if reached < window.to {
            gaps.push(Span { from: reached, to: window.to });
        }
        gaps
    }

    /// Joins spans until the bound holds: first those that touch, then across the shortest gaps.
    fn join(&mut self) {
        self.spans.sort_unstable();
        let mut joined: Vec<Span> = Vec::with_capacity(self.spans.len());
        for span in self.spans.drain(..) {
            match joined.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => joined.push(span),
            }
        }
        if joined.len() > MAX_SPANS {
            let gap = |pair: &[Span]| match pair {
                [a, b] => Span { from: a.to, to: b.from }.seconds(),
                _ => 0,
            };
            let mut gaps: Vec<u64> = joined.windows(2).map(gap).collect();
            gaps.sort_unstable_by(|a, b| b.cmp(a));
            let shortest = gaps.get(MAX_SPANS / 2).copied().unwrap_or(0);
            for span in joined {
                match self.spans.last_mut() {
                    Some(last) if gap(&[*last, span]) <= shortest => last.to = span.to,
                    _ => self.spans.push(span),
                }
            }
        } else {
            self.spans = joined;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        let time = |second| Time(jiff::Timestamp::from_second(second).unwrap());
        Span { from: time(from), to: time(to) }
    }

    fn coverage(spans: &[(i64, i64)]) -> Coverage {
        let mut coverage = Coverage::default();
        spans.iter().for_each(|&(from, to)| coverage.add(span(from, to)));
        coverage
    }

    #[test]
    fn gaps_are_found_in_whatever_order_spans_come() {
        let window = span(0, 100);
        assert_eq!(coverage(&[(0, 100)]).gaps(window), []);
        assert_eq!(coverage(&[(50, 100), (0, 50)]).gaps(window), []);
        assert_eq!(
            coverage(&[(60, 90), (10, 40), (20, 50)]).gaps(window),
            [span(0, 10), span(50, 60), span(90, 100)]
        );
        assert_eq!(coverage(&[]).gaps(window), [window]);
        assert_eq!(coverage(&[(-50, 150)]).gaps(window), []);
        assert_eq!(coverage(&[(200, 300)]).gaps(window), [window]);
    }

    #[test]
    fn many_spans_are_bounded_and_keep_the_widest_gap() {
        let mut spans: Vec<_> = (0..20_000).map(|number| (number * 10, number * 10 + 9)).collect();
        spans.remove(10_000);
        let coverage = coverage(&spans);
        assert!(coverage.spans.len() <= MAX_SPANS * 2);
        let gaps = coverage.gaps(span(0, 199_999));
        assert!(gaps.contains(&span(99_999, 100_010)), "{gaps:?}");
    }
}
