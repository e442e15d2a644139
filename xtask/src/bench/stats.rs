//! What a series of times comes to. Medians and quartiles: a start is disturbed often, and only ever for the worse.

use serde::{Deserialize, Serialize};

/// A series of times in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Summary {
    /// The least.
    pub min_us: f64,
    /// A quarter of all times is less.
    pub p25_us: f64,
    /// Half of all times is less.
    pub median_us: f64,
    /// Three quarters of all times are less.
    pub p75_us: f64,
}

impl Summary {
    /// Of a series that need not be sorted; None if it is empty.
    pub fn of(times: &[f64]) -> Option<Self> {
        if times.is_empty() {
            return None;
        }
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        // To the nanosecond: no clock tells more.
        let at = |share: f64| (quantile(&sorted, share) * 1e3).round() / 1e3;
        Some(Self { min_us: at(0.0), p25_us: at(0.25), median_us: at(0.5), p75_us: at(0.75) })
    }

    /// The median, and half the distance between the quartiles in per cent of it.
    pub fn text(&self) -> String {
        let spread = (self.p75_us - self.p25_us) / 2.0 / self.median_us * 100.0;
        format!("{} ±{spread:.0} %", crate::ui::micros(self.median_us))
    }
}

/// How the median of one series compares to that of another.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ratio {
    /// The quotient of the medians.
    pub ratio: f64,
    /// The lower end of the interval that holds it with a probability of 95 %.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Ratio {
    /// Of series that are not empty; the interval by drawing new series from them (percentile bootstrap).
    pub fn of(times: &[f64], reference: &[f64]) -> Option<Self> {
        if times.is_empty() || reference.is_empty() {
            return None;
        }
        let ratio = median(times.to_vec()) / median(reference.to_vec());
        let mut draw = drawing();
        Some(Self::within(ratio, || draw(times) / draw(reference)))
    }

    /// Of series whose members were measured together, two by two: the median of their quotients. What slows both of a pair
    /// does not count. None if there are none.
    pub fn paired(times: &[f64], reference: &[f64]) -> Option<Self> {
        let quotients: Vec<f64> =
            times.iter().zip(reference).map(|(time, reference)| time / reference).collect();
        if quotients.is_empty() {
            return None;
        }
        let mut draw = drawing();
        Some(Self::within(median(quotients.clone()), || draw(&quotients)))
    }

    fn within(ratio: f64, draw: impl FnMut() -> f64) -> Self {
        const DRAWS: usize = 400;
        let mut ratios: Vec<f64> = std::iter::repeat_with(draw).take(DRAWS).collect();
        ratios.sort_by(f64::total_cmp);
        Self { ratio, low: quantile(&ratios, 0.025), high: quantile(&ratios, 0.975) }
    }

    /// The ratio, and the wider half of the interval.
    pub fn text(&self) -> String {
        format!("{:.3} ±{:.3}", self.ratio, (self.high - self.ratio).max(self.ratio - self.low))
    }
}

/// The median of a series that is drawn from another. The generator is our own and always starts alike (xorshift): the same times
/// give the same interval.
fn drawing() -> impl FnMut(&[f64]) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |series| {
        let drawn = series.iter().map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            series[(state % series.len() as u64) as usize]
        });
        median(drawn.collect())
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    quantile(&times, 0.5)
}

/// Of a sorted series that is not empty; between two neighbours, in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::{Ratio, Summary};

    #[test]
    fn a_ratio_lies_in_its_interval() {
        let reference: Vec<f64> = (0..100).map(|number| 100.0 + f64::from(number % 7)).collect();
        let times: Vec<f64> = reference.iter().map(|time| time / 2.0).collect();
        let ratio = Ratio::of(&times, &reference).unwrap();
        assert!((ratio.ratio - 0.5).abs() < 1e-9 && ratio.low <= 0.5 && ratio.high >= 0.5, "{ratio:?}");
        assert!(ratio.high - ratio.low < 0.05, "{ratio:?}");
        assert!(Ratio::of(&[], &reference).is_none());
    }

    #[test]
    fn what_slows_a_pair_does_not_count() {
        let reference: Vec<f64> = (0..20).map(|number| if number % 2 == 0 { 100.0 } else { 170.0 }).collect();
        let times: Vec<f64> = reference.iter().map(|time| time * 1.01).collect();
        let ratio = Ratio::paired(&times, &reference).unwrap();
        assert!((ratio.ratio - 1.01).abs() < 1e-9 && ratio.high - ratio.low < 1e-9, "{ratio:?}");
        assert!(Ratio::paired(&[], &reference).is_none());
    }

    #[test]
    fn quartiles_lie_between_neighbours() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            (summary.min_us, summary.p25_us, summary.median_us, summary.p75_us),
            (1.0, 1.75, 2.5, 3.25)
        );
        assert!(Summary::of(&[]).is_none());
    }
}
