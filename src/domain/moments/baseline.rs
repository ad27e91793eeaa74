//! How far above its usual level a count is, in log units.

/// A count's usual level: a running mean of ln(1+x) that becomes an exponential one.
///
/// Ten minutes, because short baselines reward lulls and punish the second highlight of a streak.
#[derive(Debug, Clone, Default)]
pub(crate) struct Baseline {
    usual: f64,
    ticks: u32,
}

impl Baseline {
    /// The excess of `count` in log units (its exponential reads « 3.1 × the usual »), then learns
    /// it. The first tick has no excess. `tau_ticks` is the memory.
    pub(crate) fn excess(&mut self, count: u32, tau_ticks: u32) -> f64 {
        let level = f64::from(count).ln_1p();
        self.ticks = (self.ticks + 1).min(tau_ticks);
        let before = if self.ticks == 1 { level } else { self.usual };
        self.usual = before + (level - before) / f64::from(self.ticks);
        level - before
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::baseline::Baseline;

    #[test]
    fn excess_reads_as_a_multiple_of_the_usual() {
        let mut baseline = Baseline::default();
        for _ in 0..1_000 {
            assert!(baseline.excess(9, 600).abs() < 1e-9);
        }
        assert!((baseline.excess(39, 600).exp() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_lasting_rise_becomes_the_usual() {
        let mut baseline = Baseline::default();
        for _ in 0..600 {
            baseline.excess(10, 600);
        }
        let first = baseline.excess(100, 600);
        let last = (0..1_800).map(|_| baseline.excess(100, 600)).last().unwrap();
        assert!(last < first / 10.0);
    }
}
