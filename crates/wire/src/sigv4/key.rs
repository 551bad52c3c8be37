//! The day's signing key of a secret for one region and service. Deriving it takes four HMACs, verifying one: cache it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::Scope;

/// A derived signing key. It signs for one day, region and service only.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// Derives the key of a secret for a scope's day, region and service.
    pub fn derive(secret: &str, scope: &Scope) -> Self {
        let day = hmac(format!("AWS4{secret}").as_bytes(), scope.date.as_bytes());
        let region = hmac(&day, scope.region.as_bytes());
        let service = hmac(&region, scope.service.as_bytes());
        Self(hmac(&service, b"aws4_request"))
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        hmac(&self.0, text)
    }
}

/// Says nothing: a key does not belong into a log.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
