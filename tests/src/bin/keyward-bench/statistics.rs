//! The middle and the spread of a few figures.

use std::fmt;

use serde::Serialize;

/// Median and quartiles: with a handful of slices on a shared machine the extremes are accidents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
}

/// How many times `other` is in `ours`, which count bytes, or keys.
#[expect(clippy::cast_precision_loss, reason = "exact up to eight petabytes")]
pub fn ratio(ours: u64, other: u64) -> f64 {
    ours as f64 / other as f64
}

impl Spread {
    /// The spread of `figures`, or zeros where there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quarter(&sorted, 2),
            lower_quartile: quarter(&sorted, 1),
            upper_quartile: quarter(&sorted, 3),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, lower_quartile, upper_quartile } = self;
        write!(f, "{median:.2} [{lower_quartile:.2}–{upper_quartile:.2}]")
    }
}

/// The value a number of quarters of the way along `sorted`, between two where it falls between.
fn quarter(sorted: &[f64], quarters: usize) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let (at, rest) = (last * quarters / 4, last * quarters % 4);
    let beyond = [0.0, 0.25, 0.5, 0.75][rest];
    let next = sorted[(at + 1).min(last)];
    sorted[at] + (next - sorted[at]) * beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(figures: &[f64]) -> [f64; 3] {
        let spread = Spread::of(figures.iter().copied());
        [spread.lower_quartile, spread.median, spread.upper_quartile]
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these figures are exact in binary")]
    fn quartiles_fall_on_values_or_between_them() {
        assert_eq!(spread(&[]), [0.0, 0.0, 0.0]);
        assert_eq!(spread(&[7.0]), [7.0, 7.0, 7.0]);
        assert_eq!(spread(&[5.0, 1.0, 2.0, 4.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), [1.75, 2.5, 3.25]);
    }
}
