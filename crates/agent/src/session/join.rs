//! Joining: a token is turned into a certificate, once.

use super::{Backoff, LinkTrouble, PATIENCE, tls};
use crate::identity::{IdentityError, IdentityStore, Joined};
use effects::Effects;
use link::{JoinAnswer, JoinRequest};
use model::ClusterName;
use std::str::FromStr;

/// A join token: `activation id:activation code:SHA-256 of the CA's certificate in hexadecimal`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    code: String,
    ca_sha256: [u8; 32],
}

/// A text that is not a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the join token is not complete; it has the form id:code:fingerprint, as `longshore token create` prints it")]
pub struct InvalidToken;

impl FromStr for JoinToken {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let parts: Vec<_> = text.trim().split(':').collect();
        let [id, code, ca] = parts[..] else { return Err(InvalidToken) };
        let ca_sha256 = hex::decode(ca).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidToken)?;
        if id.is_empty() || code.is_empty() {
            return Err(InvalidToken);
        }
        Ok(Self { id: id.to_owned(), code: code.to_owned(), ca_sha256 })
    }
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JoinToken({}, …)", self.id)
    }
}

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server said no, in words that say what to do.
    #[error("the server does not let this machine in: {0}")]
    Refused(String),
    /// Its key or certificate cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The process stops.
    #[error("stopped before the machine had joined")]
    Stopped,
}

/// Asks until the server answers: a machine and its server may start in any order.
pub(crate) async fn join(
    server: &str,
    token: &JoinToken,
    cluster: Option<&ClusterName>,
    store: &IdentityStore,
    effects: &Effects,
) -> Result<(), JoinError> {
    let request = JoinRequest {
        activation_id: token.id.clone(),
        activation_code: token.code.clone(),
        cluster: cluster.cloned(),
        // The key is durable before it is sent.
        csr_pem: store.request()?,
    };
    let mut backoff = Backoff::default();
    loop {
        match ask(server, token, &request, effects).await {
            Ok(JoinAnswer::Joined { certificate_pem, ca_pem }) => {
                store.keep(&Joined { certificate_pem, ca_pem })?;
                return Ok(());
            }
            Ok(JoinAnswer::Refused(refusal)) if refusal.retry => {
                tracing::warn!(reason = refusal.message, "the server cannot let this machine in now; asking again");
            }
            Ok(JoinAnswer::Refused(refusal)) => return Err(JoinError::Refused(refusal.message)),
            Err(error) => {
                let error = crate::real::chain(&error);
                tracing::warn!(server, error, "the server could not be asked to let this machine in; asking again");
            }
        }
        if !effects.sleep_unless_stopped(backoff.next(effects)).await {
            return Err(JoinError::Stopped);
        }
    }
}

/// Asks once, with the key the server knows.
pub(super) async fn join_again(
    server: &str,
    token: &JoinToken,
    store: &IdentityStore,
    effects: &Effects,
) -> Result<(), LinkTrouble> {
    let request = JoinRequest {
        activation_id: token.id.clone(),
        activation_code: token.code.clone(),
        cluster: None,
        csr_pem: store.request()?,
    };
    match ask(server, token, &request, effects).await? {
        JoinAnswer::Joined { certificate_pem, ca_pem } => Ok(store.keep(&Joined { certificate_pem, ca_pem })?),
        JoinAnswer::Refused(refusal) => Err(LinkTrouble::Refused(refusal.message)),
    }
}

async fn ask(
    server: &str,
    token: &JoinToken,
    request: &JoinRequest,
    effects: &Effects,
) -> Result<JoinAnswer, LinkTrouble> {
    let stream = tls::dial(server, tls::join_config(token.ca_sha256)?, effects).await?;
    let mut framed = link::framed(stream);
    framed.send(request).await?;
    Ok(tls::within(effects, PATIENCE, framed.receive()).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_whole_or_not_at_all() {
        let ca = "ab".repeat(32);
        let whole = format!(" id:code:{ca}\n");
        assert!(whole.parse::<JoinToken>().is_ok());
        assert!(!format!("{:?}", whole.parse::<JoinToken>().unwrap()).contains("code"));
        for bad in
            ["", "id:code", &format!("id:code:{ca}:x"), "id:code:abcd", &format!(":code:{ca}"), &format!("id::{ca}")]
        {
            assert_eq!(bad.parse::<JoinToken>(), Err(InvalidToken), "{bad}");
        }
    }
}
