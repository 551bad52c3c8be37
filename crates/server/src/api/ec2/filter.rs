//! EC2's filters: all of them must hold, any value of one suffices, `*` and `?` stand for other characters.

use super::invalid;
use crate::api::ApiError;
use model::Tags;
use shapes::ec2::Filter;

/// Keeps the items for which every filter holds. `values` gives an item's values for a filter's name, or `None` if that
/// name is not known here: it is then refused by name, since a filter ignored would show what was not asked for.
pub(super) fn keep<T>(
    items: impl IntoIterator<Item = T>,
    filters: Option<&[Filter]>,
    values: impl Fn(&T, &str) -> Option<Vec<String>>,
) -> Result<Vec<T>, ApiError> {
    let filters = filters.unwrap_or_default();
    let mut kept = Vec::new();
    for item in items {
        let mut holds = true;
        for filter in filters {
            let name = filter.name.as_deref().unwrap_or_default();
            let has = values(&item, name).ok_or_else(|| unknown(name))?;
            let wanted = filter.values.as_deref().unwrap_or_default();
            holds &= wanted.iter().any(|wanted| has.iter().any(|has| matches(wanted, has)));
        }
        if holds {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// Keeps the items for which every filter holds, where all names that are known are listed: `tag-key` and `tag:*` among them for
/// what carries tags.
pub(super) fn select<T>(
    items: impl IntoIterator<Item = T>,
    filters: Option<&[Filter]>,
    names: &[&str],
    values: impl Fn(&T, &str) -> Vec<String>,
) -> Result<Vec<T>, ApiError> {
    known(filters, names)?;
    keep(items, filters, |item, name| Some(values(item, name)))
}

/// What a filter by tags looks at.
pub(super) fn of_tags(tags: &Tags, name: &str) -> Vec<String> {
    match name.strip_prefix("tag:") {
        Some(key) => tags.0.get(key).cloned().into_iter().collect(),
        None if name == "tag-key" => tags.0.keys().cloned().collect(),
        None => Vec::new(),
    }
}

/// The refusal of a filter, also where there is nothing to be filtered.
pub(super) fn known(filters: Option<&[Filter]>, names: &[&str]) -> Result<(), ApiError> {
    let named = filters.unwrap_or_default().iter().map(|filter| filter.name.as_deref().unwrap_or_default());
    for name in named {
        if !(names.contains(&name) || names.contains(&"tag:*") && name.starts_with("tag:")) {
            return Err(unknown(name));
        }
    }
    Ok(())
}

fn unknown(name: &str) -> ApiError {
    invalid(format!("The filter '{name}' is invalid, or Longshore does not honour it yet; see docs/coverage.md."))
}

/// Whether a text is what a filter's value means.
fn matches(pattern: &str, text: &str) -> bool {
    // Where the last star was, and how far into the text it has reached: enough to go back to, since stars are greedy.
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => {
                let Some((at, reached)) = star else { return false };
                star = Some((at, reached + 1));
                p = at + 1;
                t = reached + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_match_with_stars_and_question_marks() {
        for (pattern, text, want) in [
            ("running", "running", true),
            ("run*", "running", true),
            ("*ing", "running", true),
            ("r?nning", "running", true),
            ("r*n*g", "running", true),
            ("run", "running", false),
            ("*x*", "running", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn all_filters_must_hold_and_unknown_ones_are_refused() {
        let filter = |name: &str, values: &[&str]| Filter {
            name: Some(name.to_owned()),
            values: Some(values.iter().map(|&v| v.to_owned()).collect()),
        };
        let values = |n: &u32, name: &str| match name {
            "number" => Some(vec![n.to_string()]),
            "parity" => Some(vec![if n.is_multiple_of(2) { "even" } else { "odd" }.to_owned()]),
            _ => None,
        };
        let keep = |filters: &[Filter]| keep(1..=6, Some(filters), values);
        assert_eq!(keep(&[filter("parity", &["even"]), filter("number", &["1", "2", "4"])]).unwrap(), [2, 4]);
        assert_eq!(keep(&[filter("colour", &["red"])]).unwrap_err().code, "InvalidParameterValue");
        assert!(known(Some(&[filter("tag:Name", &["x"])]), &["tag:*"]).is_ok());
        assert!(known(Some(&[filter("colour", &["x"])]), &["number"]).is_err());
    }
}
