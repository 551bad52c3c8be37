//! Every target over its examples and some thousands of what is made of them. `scripts/fuzz` goes on from there.

use hostile::{Mutations, TARGETS};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Of each target. All of them take seconds together.
const TRIES: usize = 3_000;

#[test]
#[allow(clippy::disallowed_methods)] // The variable is the tester's.
fn no_bytes_break_who_reads_them() {
    // Another one each day would find more, and fail on changes that are not to blame; that is what `scripts/fuzz` is for.
    let seed = std::env::var("HOSTILE_SEED").map_or(1, |text| text.parse().expect("a number"));
    for target in TARGETS {
        let examples = (target.examples)();
        assert!(!examples.is_empty(), "{} has no example", target.name);
        let made = Mutations::new(examples.clone(), seed).take(TRIES);
        for bytes in examples.into_iter().chain(made) {
            let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(&bytes)));
            assert!(outcome.is_ok(), "{} with seed {seed} broke on {:?}", target.name, String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn the_same_seed_makes_the_same() {
    let of = |seed| Mutations::new(vec![b"{\"a\":[1,2]}".to_vec()], seed).take(50).collect::<Vec<_>>();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}
