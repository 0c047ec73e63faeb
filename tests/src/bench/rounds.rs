//! Contenders in turn: A B A B, so that what changes on the machine meanwhile changes both.

/// Runs each contender once for a warm-up that does not count, then all in turn, this many rounds.
/// What they came to comes back by contender, in the order of the rounds.
pub async fn in_turn<T, const N: usize>(
    rounds: usize,
    contenders: [&str; N],
    mut run: impl AsyncFnMut(&str) -> anyhow::Result<T>,
) -> anyhow::Result<[Vec<T>; N]> {
    for name in contenders {
        eprintln!("bench: {name}, warm-up");
        run(name).await?;
    }
    let mut results: [Vec<T>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for round in 1..=rounds {
        for (name, results) in contenders.into_iter().zip(&mut results) {
            eprintln!("bench: {name}, round {round} of {rounds}");
            results.push(run(name).await?);
        }
    }
    Ok(results)
}

/// The middle of these values, the mean of both middles of an even number; NaN of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).median
}

/// Middle and ends of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these values; NaN throughout if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(low, high), min: *min, max: *max }
    }

    /// Of one contender's value over another's of the same round: what a round does to both falls
    /// out.
    pub fn of_ratios(values: &[f64], floors: &[f64]) -> Self {
        Self::of(values.iter().zip(floors).map(|(value, floor)| value / floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        // The machine was half as fast in the second round.
        let ratios = Spread::of_ratios(&[80.0, 40.0], &[100.0, 50.0]);
        assert_eq!(ratios, Spread { median: 0.8, min: 0.8, max: 0.8 });
    }

    #[tokio::test]
    async fn contenders_take_turns_after_a_warm_up() {
        let mut calls = Vec::new();
        let results = in_turn(2, ["a", "b"], async |name| {
            calls.push(name.to_owned());
            Ok(calls.len())
        });
        assert_eq!(results.await.unwrap(), [vec![3, 5], vec![4, 6]]);
        assert_eq!(calls, ["a", "b", "a", "b", "a", "b"]);
    }
}
