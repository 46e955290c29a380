//! Medians and their intervals, from order statistics: no assumption about how noise is spread.

use serde::Serialize;

/// Rounds below which nothing is said about a promise.
const ENOUGH: usize = 30;

/// A median, and where the true one lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Median {
    /// The middle value.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many values.
    pub rounds: usize,
}

/// What a measurement says about a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// The whole interval is on the good side.
    Kept,
    /// The whole interval is on the bad side.
    Missed,
    /// The interval straddles the promise, or there are too few rounds to say.
    Unproven,
}

impl Median {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Median {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let at = |index: usize| sorted.get(index.min(count.saturating_sub(1))).copied();
        let middle = at(count / 2).unwrap_or(f64::NAN);
        let median = match (count % 2, count / 2) {
            (0, half) if half > 0 => (middle + at(half - 1).unwrap_or(middle)) / 2.0,
            _ => middle,
        };
        // The rank of the lower end: binomial(n, 1/2) by its normal approximation, which is within
        // a rank of exact from ten values on.
        let reach = 1.96 * (count as f64).sqrt() / 2.0;
        let low = ((count as f64) / 2.0 - reach).floor().max(0.0) as usize;
        let high = ((count as f64) / 2.0 + reach).ceil() as usize;
        Median {
            median,
            low: at(low).unwrap_or(f64::NAN),
            high: at(high).unwrap_or(f64::NAN),
            rounds: count,
        }
    }

    /// Of the ratios of values of the same round.
    pub fn of_ratios(values: &[f64], to: &[f64]) -> Median {
        let ratios: Vec<f64> = values.iter().zip(to).map(|(value, to)| value / to).collect();
        Median::of(&ratios)
    }

    /// Against a promise that says `at least`.
    pub fn at_least(self, promise: f64) -> Finding {
        if self.rounds < ENOUGH {
            Finding::Unproven
        } else if self.low >= promise {
            Finding::Kept
        } else if self.high < promise {
            Finding::Missed
        } else {
            Finding::Unproven
        }
    }

    /// Against a promise that says `at most`.
    pub fn at_most(self, promise: f64) -> Finding {
        if self.rounds < ENOUGH {
            Finding::Unproven
        } else if self.high <= promise {
            Finding::Kept
        } else if self.low > promise {
            Finding::Missed
        } else {
            Finding::Unproven
        }
    }
}

impl Finding {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Finding::Kept => "kept",
            Finding::Missed => "MISSED",
            Finding::Unproven => "unproven",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_median_and_is_that_of_the_tables() {
        let values: Vec<f64> = (1..=30).map(f64::from).collect();
        let median = Median::of(&values);
        // Thirty values: ranks 10 and 21 are the textbook's; this is never narrower.
        assert_eq!((median.median, median.low, median.high), (15.5, 10.0, 22.0));
        assert_eq!(Median::of(&[7.0]).median, 7.0);
    }

    #[test]
    fn a_promise_inside_the_interval_is_unproven() {
        let median = Median { median: 1.0, low: 0.96, high: 1.02, rounds: 30 };
        assert_eq!(median.at_least(0.97), Finding::Unproven);
        assert_eq!(median.at_least(0.95), Finding::Kept);
        assert_eq!(median.at_least(1.03), Finding::Missed);
        assert_eq!(median.at_most(0.95), Finding::Missed);
        assert_eq!(Median { rounds: 29, ..median }.at_most(2.0), Finding::Unproven);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let ratios = Median::of_ratios(&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0]);
        assert_eq!((ratios.median, ratios.low, ratios.high), (2.0, 2.0, 2.0));
    }
}
