//! Where a burst of messages begins and culminates, from the messages of each second.

/// A burst begins where the smoothed rate is this much of the way from the usual to the peak.
const RISE: f64 = 0.3;
/// Walks back at most this many seconds.
const WALK_S: usize = 40;
const SMOOTH_S: usize = 5;

/// Indices of the seconds in which a burst begins and culminates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) first: usize,
    pub(crate) peak: usize,
}

/// The burst whose peak lies in `peak_from..peak_to` of `rates` (messages of each second);
/// `usual` is the mean rate before it.
pub(crate) fn burst(rates: &[f64], peak_from: usize, peak_to: usize, usual: f64) -> Option<Burst> {
    let rates = smooth(&smooth(rates));
    let within = rates.get(peak_from..peak_to.min(rates.len()))?;
    let mut peak = 0;
    for (index, rate) in within.iter().enumerate() {
        if *rate > within[peak] {
            peak = index;
        }
    }
    let top = *within.get(peak)?;
    let peak = peak_from + peak;
    let foot = usual + RISE * (top - usual).max(0.0);
    let mut first = peak;
    while first > 0 && peak - first < WALK_S && rates[first - 1] >= foot {
        first -= 1;
    }
    Some(Burst { first, peak })
}

fn smooth(rates: &[f64]) -> Vec<f64> {
    let half = SMOOTH_S / 2;
    (0..rates.len())
        .map(|at| {
            let near = &rates[at.saturating_sub(half)..(at + half + 1).min(rates.len())];
            near.iter().sum::<f64>() / near.len() as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::onset::burst;

    #[test]
    fn a_burst_begins_where_the_rate_leaves_the_usual() {
        let mut rates = vec![1.0; 100];
        rates[60..70].fill(20.0);
        let found = burst(&rates, 50, 80, 1.0).unwrap();
        assert!(found.first.abs_diff(59) <= 2, "{found:?}");
        assert!(found.peak.abs_diff(64) <= 2, "{found:?}");
        assert_eq!(burst(&[], 0, 30, 1.0), None);
    }
}
