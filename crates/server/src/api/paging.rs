//! Pages: bounded, and resumed by a token that says behind which item to go on.
//!
//! A token holds a name, never a position, so that a page is right whatever came or went between two calls. It is opaque
//! and good only for the list and scope it was given out for; a short digest finds the ones that are not ours. It is no
//! secret: whoever forges one sees a page that was theirs to see anyway.

use super::ApiError;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Scope;
use sha2::{Digest, Sha256};

/// Format of the tokens.
const VERSION: u8 = 1;
/// Bytes of digest: enough to find a token of another list, or a typing error.
const DIGEST_BYTES: usize = 8;

/// One list of one scope.
pub(crate) struct Pages<'a> {
    /// The operation, and how its list is ordered.
    list: &'static str,
    scope: &'a Scope,
    /// Whose things they are; empty where they are the scope's own.
    owner: String,
}

impl<'a> Pages<'a> {
    /// Pages of the list that `list` names.
    pub(crate) fn of(list: &'static str, scope: &'a Scope) -> Self {
        Self { list, scope, owner: String::new() }
    }

    /// The same of the list of one owner, such as a cluster: a place in it means nothing in another's.
    pub(crate) fn within(self, owner: &impl ToString) -> Self {
        Self { owner: owner.to_string(), ..self }
    }

    fn digest(&self, cursor: &str) -> [u8; DIGEST_BYTES] {
        let mut hash = Sha256::new();
        for part in [self.list, self.scope.account.as_str(), self.scope.region.as_str(), self.owner.as_str(), cursor] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut short = [0; DIGEST_BYTES];
        short.copy_from_slice(&hash.finalize()[..DIGEST_BYTES]);
        short
    }

    /// The cursor that a request's token holds.
    ///
    /// # Errors
    /// `InvalidParameterException`: it is no token of this list.
    pub(crate) fn cursor(&self, token: Option<&str>) -> Result<Option<String>, ApiError> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
            let (version, rest) = bytes.split_first()?;
            let (digest, cursor) = rest.split_at_checked(DIGEST_BYTES)?;
            let cursor = std::str::from_utf8(cursor).ok()?;
            (*version == VERSION && self.digest(cursor) == digest).then(|| cursor.to_owned())
        };
        read().map(Some).ok_or_else(invalid_token)
    }

    fn token(&self, cursor: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.digest(cursor));
        bytes.extend(cursor.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The first `limit` of the items behind the cursor, and the token of the next page if there is one.
    /// `cursor` names an item's place in the list.
    pub(crate) fn cut<T>(
        &self,
        items: impl Iterator<Item = T>,
        limit: usize,
        cursor: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let mut items = items.peekable();
        let page: Vec<T> = items.by_ref().take(limit).collect();
        let more = items.peek().is_some();
        let token = page.last().filter(|_| more).map(|last| self.token(&cursor(last)));
        (page, token)
    }
}

/// A token that is not ours, or a cursor in it that no longer parses.
pub(crate) fn invalid_token() -> ApiError {
    ApiError::invalid("Invalid token.")
}

/// A page's length: what was asked for, `max` when nothing was.
///
/// # Errors
/// `InvalidParameterException` outside of 1 to `max`.
pub(crate) fn limit(asked: Option<i32>, max: usize) -> Result<usize, ApiError> {
    limit_or(asked, max, max)
}

/// The same of a list whose pages are shorter than they could be when nothing was asked for.
///
/// # Errors
/// `InvalidParameterException` outside of 1 to `max`.
pub(crate) fn limit_or(asked: Option<i32>, otherwise: usize, max: usize) -> Result<usize, ApiError> {
    let Some(asked) = asked else { return Ok(otherwise) };
    let fits = usize::try_from(asked).ok().filter(|asked| (1..=max).contains(asked));
    fits.ok_or_else(|| ApiError::invalid(format!("maxResults should be between 1 and {max}, inclusive.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AccountId, Region};

    fn scope(region: &str) -> Scope {
        Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse(region).unwrap() }
    }

    #[test]
    fn pages_cover_the_list_once_and_tokens_fit_only_their_own() {
        let (here, there) = (scope("us-east-1"), scope("eu-west-1"));
        let pages = Pages::of("ListThings", &here);
        let all: Vec<String> = (0..7).map(|n| format!("thing-{n}")).collect();
        let (mut seen, mut token): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let after = pages.cursor(token.as_deref()).unwrap();
            let rest = all.iter().filter(|name| after.as_ref().is_none_or(|after| *name > after)).cloned();
            let (page, next) = pages.cut(rest, 3, Clone::clone);
            seen.extend(page);
            if let Some(next) = &next {
                assert!(Pages::of("ListThings", &there).cursor(Some(next)).is_err());
                assert!(Pages::of("ListOthers", &here).cursor(Some(next)).is_err());
                assert!(Pages::of("ListThings", &here).within(&"a").cursor(Some(next)).is_err());
                assert!(pages.cursor(Some(&next[1..])).is_err());
            }
            match next {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all);
        let full = pages.cut(all.iter(), 7, |name| (*name).clone());
        assert_eq!((full.0.len(), full.1), (7, None));
        assert!(pages.cursor(Some("rubbish")).is_err());
        let (a, b) = (Pages::of("ListThings", &here).within(&"a"), Pages::of("ListThings", &here).within(&"b"));
        let token = a.cut(all.iter(), 3, |name| (*name).clone()).1;
        assert_eq!(a.cursor(token.as_deref()).ok(), Some(Some("thing-2".to_owned())));
        assert!(b.cursor(token.as_deref()).is_err());
    }

    #[test]
    fn limits_are_checked() {
        for (asked, want) in
            [(None, Some(100)), (Some(0), None), (Some(1), Some(1)), (Some(101), None), (Some(-1), None)]
        {
            assert_eq!(limit(asked, 100).ok(), want, "{asked:?}");
        }
    }
}
