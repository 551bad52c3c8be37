//! AWS's wire: JSON 1.x, query and ec2 protocols, SigV4, error envelopes; the server's side and the client's.
//!
//! Between bytes and typed structures stands one canonical form, a [`serde_json::Value`] whose member names are the
//! model's, whose timestamps are numbers of epoch seconds and whose blobs are base64. The static tables of
//! [`schema`] drive everything: coercing what came in, validating it, naming what it carries, writing answers.
//! Absent on purpose: any knowledge of a particular service, any I/O, any clock (time is an argument).

pub mod client;
pub mod data_channel;
mod error;
mod form;
mod json;
mod pattern;
mod present;
mod protocol;
mod route;
mod scalar;
pub mod schema;
pub mod sigv4;
mod typed;
mod validate;
mod xml;

pub use error::WireError;
pub use present::present;
pub use protocol::{Reply, decode, encode, encode_error};
pub use route::{Routed, guess_protocol, route};
pub use scalar::{Blob, Timestamp};
pub use typed::{Canonical, NoOutput, Request, Slot, Structure, deserialize, from_value, serialize, to_value};
pub use validate::{Violation, validate, validation_error};

/// Deepest nesting a request or answer may have. ECS's deepest shape is about a dozen levels; the bound keeps a hostile
/// body from exhausting the stack, and is well under the 128 at which the JSON parser stops by itself.
pub(crate) const MAX_DEPTH: usize = 48;
