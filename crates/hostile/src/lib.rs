//! What any bytes at all must not do to whoever reads them: each [`Target`] takes some and panics where a law is broken.
//!
//! Two run them: the suite, a bounded number of seeded mutations of each target's examples (`tests/bounded.rs`); and
//! `scripts/fuzz`, libFuzzer guided by coverage, for as long as one likes. What either finds becomes an example.

mod examples;
mod mutate;
mod parsers;
mod registering;
mod requests;

pub use mutate::Mutations;

/// Something that reads bytes of strangers.
pub struct Target {
    /// As `scripts/fuzz` calls it.
    pub name: &'static str,
    /// Takes any bytes and returns; panics where a law is broken.
    pub read: fn(&[u8]),
    /// Bytes that it takes as they are, to begin with.
    pub examples: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub static TARGETS: &[Target] = &[
    Target { name: "register_task_definition", read: registering::read, examples: examples::definitions },
    Target { name: "json_request", read: requests::json, examples: examples::json_requests },
    Target { name: "form_request", read: requests::form, examples: examples::form_requests },
    Target { name: "signature", read: requests::signature, examples: examples::signatures },
    Target { name: "data_channel", read: parsers::data_channel, examples: examples::data_channel },
    Target { name: "link_message", read: parsers::link_message, examples: examples::link_messages },
    Target { name: "cluster_query", read: parsers::cluster_query, examples: examples::cluster_queries },
    Target { name: "filter_pattern", read: parsers::filter_pattern, examples: examples::filter_patterns },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
