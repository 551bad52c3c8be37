//! Chance from a seed: no entropy, no dependency, the same numbers on every machine.

/// SplitMix64, by Steele, Lea and Flood (OOPSLA 2014): a counter and a mixing function.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0; the bias of 2^-32 or less does not matter here.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let wide = u128::from(self.next()) * limit as u128;
        (wide >> 64) as usize
    }

    /// An exponentially distributed wait, mean 2^32.
    ///
    /// An instance that is chosen by the smallest clock and then waits this long again is chosen, each time, as if by
    /// a fair draw among all: such waits have no memory. So an ordered structure can hold chance as its last key.
    pub(super) fn wait(&mut self) -> u64 {
        let within = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-within.ln() * (1u64 << 32) as f64) as u64
    }
}
