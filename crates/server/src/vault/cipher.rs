//! AES-256-GCM with a random nonce before the text, in base64.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use effects::Effects;

/// A key. It has no `Debug`, so that nothing can print one.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Key {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).expect("the key has the cipher's length"))
    }
}

/// Seals a text, bound to what it belongs to: it opens for nothing else. A key that seals many texts draws 2^32 nonces before two
/// of them are likely enough to be the same to matter (NIST SP 800-38D).
pub(crate) fn seal(key: &Key, context: &str, plain: &[u8], effects: &Effects) -> String {
    let nonce = effects.bytes::<NONCE_LEN>();
    let mut text = plain.to_vec();
    let sealed =
        key.cipher().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text);
    sealed.expect("no value is as long as the cipher's bound of 64 GiB");
    STANDARD.encode([&nonce[..], &text].concat())
}

/// The text; none if it was not sealed by that key, for that, or was changed.
pub(crate) fn open(key: &Key, context: &str, sealed: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let plain = key.cipher().open_in_place(nonce, Aad::from(context), &mut text).ok()?;
    Some(plain.to_vec())
}
