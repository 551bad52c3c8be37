//! Pages of IAM's lists: `Marker` and `MaxItems`, the same in all of them.

use crate::{
    api::{ApiError, paging::Pages},
    context::Caller,
};
use model::{Region, Scope};

/// Items of a page of which nobody said how long it shall be. Source: the API reference.
const USUAL: usize = 100;
/// The longest that one may be.
const MAX: usize = 1_000;

/// One page.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) is_truncated: Option<bool>,
    pub(super) marker: Option<String>,
}

/// The page behind a marker. `items` are in the order of their `name`s, which differ.
pub(super) fn cut<T>(
    caller: &Caller,
    (list, owner): (&'static str, &str),
    items: impl Iterator<Item = T>,
    (marker, max): (Option<&String>, Option<i32>),
    name: impl Fn(&T) -> String,
) -> Result<Page<T>, ApiError> {
    // The same for every region: an account has one IAM.
    let region = Region::parse("aws-global").expect("it is a name of that form");
    let scope = Scope { account: caller.account().clone(), region };
    let pages = Pages::of(list, &scope).within(&owner);
    let after = pages.cursor(marker.map(String::as_str));
    let after = after.map_err(|_| ApiError::new("ValidationError", "Invalid Marker."))?;
    // The model lets nothing else than 1 to that come this far.
    let limit = max.and_then(|max| usize::try_from(max).ok()).unwrap_or(USUAL).clamp(1, MAX);
    let rest = items.filter(|item| after.as_ref().is_none_or(|after| name(item) > *after));
    let (items, marker) = pages.cut(rest, limit, &name);
    Ok(Page { items, is_truncated: Some(marker.is_some()), marker })
}
