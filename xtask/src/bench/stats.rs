//! What a series of times comes to. Medians and quartiles: a start is disturbed often, and only ever for the worse.

use serde::Serialize;

/// A series of times in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
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
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            let between = sorted[below] + (sorted[above] - sorted[below]) * place.fract();
            // To the nanosecond: no clock tells more.
            (between * 1e3).round() / 1e3
        };
        if sorted.is_empty() {
            return None;
        }
        Some(Self { min_us: at(0.0), p25_us: at(0.25), median_us: at(0.5), p75_us: at(0.75) })
    }

    /// The median, and half the distance between the quartiles in per cent of it.
    pub fn text(&self) -> String {
        let spread = (self.p75_us - self.p25_us) / 2.0 / self.median_us * 100.0;
        format!("{} ±{spread:.0} %", crate::ui::micros(self.median_us))
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

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
