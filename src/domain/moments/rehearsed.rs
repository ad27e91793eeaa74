//! Synthetic chat and sound for the tests: seeded, so that every run hears the same.

/// A small deterministic generator (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Loudness over its usual (LU) with speech and a burst of 2 to 6 seconds every minute or so; and
/// the seconds at which the bursts begin.
pub(crate) fn loudness_with_bursts(dice: &mut Dice, seconds: usize) -> (Vec<f64>, Vec<usize>) {
    let mut loudness: Vec<f64> = (0..seconds).map(|_| 5.0 * dice.share() * dice.share()).collect();
    let mut bursts = Vec::new();
    let mut at = 40 + dice.below(40) as usize;
    while at + 60 < seconds {
        let length = 2 + dice.below(5) as usize;
        for lu in &mut loudness[at..at + length] {
            *lu = 8.0 + 6.0 * dice.share();
        }
        bursts.push(at);
        at += 25 + dice.below(90) as usize;
    }
    (loudness, bursts)
}

/// Reactions of each second: talk, and to most bursts an answer `lag_s` later that fades.
pub(crate) fn reactions_to(
    dice: &mut Dice,
    bursts: &[usize],
    lag_s: u32,
    seconds: usize,
) -> Vec<f64> {
    let mut reactions: Vec<f64> = (0..seconds).map(|_| 2.0 * dice.share()).collect();
    for &burst in bursts {
        if dice.share() < 0.3 {
            continue;
        }
        for after in 0..15 {
            if let Some(reaction) = reactions.get_mut(burst + lag_s as usize + after) {
                *reaction += 10.0 * (-(after as f64) / 4.0).exp() * (0.5 + dice.share());
            }
        }
    }
    reactions.iter().map(|reaction| reaction.ln_1p()).collect()
}
