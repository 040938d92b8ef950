//! Medians and quartiles.

/// What is said of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// A quarter of the samples lies below.
    pub low: f64,
    /// A quarter of the samples lies above.
    pub high: f64,
}

impl Spread {
    /// Summarizes samples; `None` where there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            low: quantile(&sorted, 0.25)?,
            high: quantile(&sorted, 0.75)?,
        })
    }

    /// Summarizes what a function makes of samples that were taken together: the first of one
    /// series with the first of the other, and so on. What changes slowly on the machine changes
    /// both alike, and so not their ratio.
    pub fn of_pairs(one: &[f64], other: &[f64], join: impl Fn(f64, f64) -> f64) -> Option<Self> {
        let joined: Vec<_> = one.iter().zip(other).map(|(&one, &other)| join(one, other)).collect();
        Self::of(&joined)
    }
}

/// Returns a quantile of sorted samples, between two of them by their distance (the definition 7
/// of Hyndman and Fan, which R and NumPy use).
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = part * last as f64;
    let below = place.floor() as usize;
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + (high - low) * (place - below as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.75, 2.5, 3.25));
        assert_eq!(Spread::of(&[7.0]).unwrap().high, 7.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_drift_of_both_series_leaves_their_ratio() {
        let drifting = [10.0, 20.0, 40.0];
        let half = [5.0, 10.0, 20.0];
        let ratio = Spread::of_pairs(&half, &drifting, |one, other| one / other).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (0.5, 0.5, 0.5));
    }
}
