//! Bytes made from examples: cut, doubled, crossed, with bits, numbers and marks changed. Seeded, so that what was found is found again.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Longest that is made: more than any example, and little enough to be quick.
const MAX_BYTES: usize = 8 << 10;
/// Changes of one example at most; more than a few leave nothing that a parser follows.
const CHANGES: usize = 6;
/// What parsers treat apart.
const MARKS: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "0",
    "9223372036854775808",
    "1e999",
    "\u{0}",
    "\u{fffd}",
    "\\ud800",
    "%00",
    "%",
    "&",
    "=",
    ".1",
    "+",
    "../",
    "arn:aws:ecs:::",
    "${",
    "*",
    "?",
    "(",
    ")",
    "==",
    "=~",
    "&&",
    "!",
    "\n",
];

/// Without end.
pub struct Mutations {
    examples: Vec<Vec<u8>>,
    random: SmallRng,
}

impl Mutations {
    /// Of `examples`, which are some.
    pub fn new(examples: Vec<Vec<u8>>, seed: u64) -> Self {
        assert!(!examples.is_empty(), "nothing can be made of nothing");
        Self { examples, random: SmallRng::seed_from_u64(seed) }
    }

    fn example(&mut self) -> Vec<u8> {
        let which = self.random.random_range(0..self.examples.len());
        self.examples[which].clone()
    }

    /// Somewhere in `bytes`, its end included.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.random.random_range(0..=bytes.len())
    }

    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.place(bytes);
        let longest = (bytes.len() - from).min(64);
        from..from + self.random.random_range(0..=longest)
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.random.random_range(0..7) {
            0 if !bytes.is_empty() => {
                let at = self.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << self.random.random_range(0..8);
            }
            1 => {
                let part = self.part(bytes);
                bytes.drain(part);
            }
            2 => {
                let part = self.part(bytes);
                let (copy, at) = (bytes[part].to_vec(), self.place(bytes));
                bytes.splice(at..at, copy);
            }
            3 => {
                let other = self.example();
                let (part, at) = (self.part(&other), self.place(bytes));
                bytes.splice(at..at, other[part].iter().copied());
            }
            4 => {
                let at = self.place(bytes);
                bytes.truncate(at);
            }
            _ => {
                let mark = MARKS[self.random.random_range(0..MARKS.len())];
                let (at, over) = (self.place(bytes), self.random.random_range(0..=mark.len()));
                let end = (at + over).min(bytes.len());
                bytes.splice(at..end, mark.bytes());
            }
        }
        bytes.truncate(MAX_BYTES);
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.example();
        for _ in 0..self.random.random_range(1..=CHANGES) {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}
