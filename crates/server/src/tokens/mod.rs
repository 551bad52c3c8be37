//! Temporary credentials: made here, known again by their session token, and kept nowhere (docs/decisions/0031).
//!
//! The token is everything that has to be known of a session, sealed with a key of this server and bound to its access key:
//! nobody can read it, change it, or present it with another key. What a session may do is not in it but asked when it does
//! something, so that a role that is gone, or was changed, counts at once.

mod keys;
mod session;

pub use keys::TokenKeysError;
pub(crate) use session::{Of, RoleSession, Session};

use crate::vault::cipher;
use effects::Effects;
use keys::Keys;
use model::{AccountId, Timestamp, vault::Plain};
use std::{path::Path, time::Duration};

/// How temporary access keys begin.
const PREFIX: &str = "ASIA";
/// AWS's letters in access keys: RFC 4648's for 32.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// How a token begins that this version understands.
const FORM: &str = "LSs1";
/// The longest token that is looked at: a session policy of 2,048 characters that JSON's escapes have made six times as long, and
/// base64 a third longer.
const MAX_TOKEN: usize = 20_000;
/// The longest life of any session: GetSessionToken's for users.
pub(crate) const LONGEST: Duration = Duration::from_secs(36 * 3600);

/// What somebody is given to sign with.
pub(crate) struct Issued {
    pub(crate) access_key: String,
    pub(crate) secret: Plain,
    pub(crate) token: Plain,
    pub(crate) expires: Timestamp,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Untrue {
    /// It is none of ours, or another key's, or was changed.
    Unknown,
    /// It was ours and is over.
    Expired,
}

/// Seals and opens session tokens.
pub struct Tokens {
    keys: Keys,
}

/// What a token is bound to.
fn context(access_key: &str) -> String {
    format!("longshore session {access_key}")
}

impl Tokens {
    /// With the keys of the data directory, made now if there are none.
    ///
    /// # Errors
    /// They cannot be read, understood or written.
    pub fn open(dir: &Path, effects: &Effects) -> Result<Self, TokenKeysError> {
        Ok(Self { keys: Keys::open(dir, effects)? })
    }

    /// Credentials for a session that begins now and lasts so long.
    pub(crate) fn issue(&self, account: &AccountId, of: Of, life: Duration, effects: &Effects) -> (Issued, Session) {
        let now = effects.now();
        let expires = now.plus_millis(i64::try_from(life.min(LONGEST).as_millis()).unwrap_or(0));
        let access_key = access_key(account, effects.bytes::<5>());
        // The alphabet has a power of two letters, so that taking a byte's low bits is fair.
        let secret: String = effects.bytes::<40>().iter().map(|b| char::from(BASE64[usize::from(b & 63)])).collect();
        let secret = Plain::from(secret);
        let session = Session { account: account.clone(), of, secret: secret.clone(), issued: now, expires };
        let (id, key) = self.keys.current(effects);
        let sealed = cipher::seal(&key, &context(&access_key), &session.write(), effects);
        let token = Plain::from(format!("{FORM}{id}{sealed}"));
        (Issued { access_key, secret, token, expires }, session)
    }

    /// Whose session it is.
    pub(crate) fn look(&self, access_key: &str, token: &str, now: Timestamp) -> Result<Session, Untrue> {
        let session = self.unseal(access_key, token).ok_or(Untrue::Unknown)?;
        if session.expires <= now { Err(Untrue::Expired) } else { Ok(session) }
    }

    fn unseal(&self, access_key: &str, token: &str) -> Option<Session> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (id, sealed) = token.strip_prefix(FORM)?.split_at_checked(keys::ID)?;
        let key = self.keys.find(id)?;
        Session::read(&cipher::open(&key, &context(access_key), sealed)?)
    }
}

/// `ASIA` and the account's number among chance, as AWS hides it there: clients of GetAccessKeyInfo's kind read it without asking.
fn access_key(account: &AccountId, chance: [u8; 5]) -> String {
    let number = account.as_str().parse::<u128>().unwrap_or(0);
    let random = chance.iter().fold(0u128, |all, byte| all << 8 | u128::from(*byte));
    // Of 80 bits: one that is set, 40 of the account, 39 of chance.
    let bits = 1 << 79 | (number & 0xff_ffff_ffff) << 39 | random & 0x7f_ffff_ffff;
    let letter = |at: u32| char::from(LETTERS[usize::try_from(bits >> (75 - 5 * at) & 31).expect("five bits")]);
    PREFIX.chars().chain((0..16).map(letter)).collect()
}

/// Whether an access key can be one of a session.
pub(crate) fn is_temporary(access_key: &str) -> bool {
    access_key.starts_with(PREFIX)
}

/// The account that stands in a temporary access key.
pub(crate) fn account_in(access_key: &str) -> Option<AccountId> {
    let letters = access_key.strip_prefix(PREFIX).filter(|letters| letters.len() == 16)?;
    let bits = letters.bytes().try_fold(0u128, |all, letter| {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        Some(all << 5 | u128::try_from(value).ok()?)
    })?;
    AccountId::parse(format!("{:012}", bits >> 39 & 0xff_ffff_ffff)).ok()
}

const CALM: &str = "nothing panics while it holds the keys";

#[cfg(test)]
mod tests;
