//! Signature version 4, both sides: verifying what a client signed, and signing for our own client.
//!
//! Pure: the time is an argument and so is the key. A verifier must sign exactly the headers the client signed, which is
//! why this is not borrowed from an SDK's signer, which chooses them itself. Absent on purpose: SigV4A and chunked
//! (`STREAMING-`) payloads, which none of our services use.

mod canonical;
mod key;
mod refusal;
mod scope;
mod sign;
mod verify;

#[cfg(test)]
mod tests;

pub use key::SigningKey;
pub use refusal::Refusal;
pub use scope::Scope;
pub use sign::{Credentials, presign, sign};
pub use verify::Presented;

/// The one algorithm we speak.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The payload hash of clients that do not hash their payload.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// How far a client's clock may be from ours.
// AWS: five minutes either way for everything but S3.
const MAX_SKEW_SECONDS: i64 = 5 * 60;
