//! Client tokens: a request that comes again is recognised by its token, and must say the same.

use super::invalid;
use crate::api::ApiError;
use model::Creation;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wire::Structure;

/// Characters of a token. Source: the model's documentation.
const MAX_TOKEN: usize = 64;

/// By what a request is recognised. `without` takes the token out of it.
pub(super) fn creation<T: Structure + Clone>(
    token: Option<&str>,
    request: &T,
    without: impl Fn(&mut T),
) -> Result<Creation, ApiError> {
    let token = token.filter(|token| !token.is_empty());
    if token.is_some_and(|token| token.len() > MAX_TOKEN || !token.bytes().all(|b| (33..=126).contains(&b))) {
        return Err(invalid("A client token has up to 64 ASCII characters between 33 and 126."));
    }
    let mut said = request.clone();
    without(&mut said);
    let digest = Sha256::digest(wire::to_value(&said).to_string());
    Ok(Creation { token: token.map(Arc::from), request_sha256: hex::encode(digest).into() })
}
