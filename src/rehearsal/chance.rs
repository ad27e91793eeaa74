//! Chance that repeats: the same seed and the same question give the same answer.

/// Scrambles 64 bits (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
pub(super) const fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// White noise in -1..1 that depends on nothing but its arguments.
#[inline]
pub(super) fn noise(seed: u64, index: u64) -> f32 {
    (scramble(seed ^ index) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}

/// A number in 0..1 that depends on nothing but its arguments.
#[inline]
pub(super) fn share(seed: u64, index: u64) -> f32 {
    f32::midpoint(noise(seed, index), 1.0)
}

/// A sequence of chances.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(scramble(seed))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        scramble(self.0)
    }

    /// Evenly in `from..to`.
    pub(super) fn between(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * ((self.bits() >> 40) as f32 / (1_u32 << 24) as f32)
    }

    pub(super) fn happens(&mut self, probability: f32) -> bool {
        self.between(0.0, 1.0) < probability
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.bits() % count.max(1) as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Waiting time to the next of events that come `rate` times a second, in seconds.
    pub(super) fn wait(&mut self, rate: f32) -> f32 {
        -(1.0 - self.between(0.0, 1.0)).max(1e-6).ln() / rate.max(1e-6)
    }
}
