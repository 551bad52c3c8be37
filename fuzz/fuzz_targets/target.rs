//! One program for all targets: `HOSTILE_TARGET` says which.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<&hostile::Target> = LazyLock::new(|| {
    let name = std::env::var("HOSTILE_TARGET").expect("HOSTILE_TARGET names a target: use scripts/fuzz");
    hostile::target(&name).unwrap_or_else(|| panic!("there is no target {name}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.read)(data));
