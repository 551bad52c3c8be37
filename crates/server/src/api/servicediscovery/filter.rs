//! Filters of lists: a name, a condition and values, all of which must hold.

use super::{invalid, not_honoured};
use crate::api::ApiError;

/// One filter, as every list of Cloud Map has them.
pub(super) struct Filter<'a> {
    pub(super) name: &'a str,
    pub(super) condition: Option<&'a str>,
    pub(super) values: &'a [String],
}

impl<'a> Filter<'a> {
    pub(super) fn new(name: Option<&'a str>, condition: Option<&'a str>, values: Option<&'a [String]>) -> Self {
        Self { name: name.unwrap_or_default(), condition, values: values.unwrap_or_default() }
    }

    /// Whether a text is what it asks for. AWS: EQ where no condition is given.
    pub(super) fn lets(&self, text: &str) -> Result<bool, ApiError> {
        match (self.condition.unwrap_or("EQ"), self.values) {
            ("EQ", [value]) => Ok(text == value),
            ("BEGINS_WITH", [value]) => Ok(text.starts_with(value.as_str())),
            ("IN", [_, ..]) => Ok(self.values.iter().any(|value| value == text)),
            ("EQ" | "BEGINS_WITH" | "IN", _) => {
                Err(invalid(format!("Wrong number of values of filter {}.", self.name)))
            }
            (other, _) => Err(invalid(format!("The condition {other} is not for filter {}.", self.name))),
        }
    }

    /// Whether milliseconds since the epoch lie between its two values, which are numbers of them too.
    pub(super) fn lets_time(&self, millis: i64) -> Result<bool, ApiError> {
        let number = |text: &String| text.parse::<i64>().map_err(|_| invalid(format!("'{text}' is no number.")));
        match (self.condition.unwrap_or("EQ"), self.values) {
            ("BETWEEN", [from, to]) => Ok((number(from)?..=number(to)?).contains(&millis)),
            (condition, _) => Err(invalid(format!("The condition {condition} is not for filter {}.", self.name))),
        }
    }

    /// That it asks for nothing but what the caller owns, which is all that there is.
    pub(super) fn lets_owner(&self) -> Result<bool, ApiError> {
        match self.values {
            [value] if value == "SELF" => Ok(true),
            [value] if value == "OTHER_ACCOUNTS" => Ok(false),
            _ => Err(not_honoured("such a filter by RESOURCE_OWNER")),
        }
    }
}

/// Those that all filters let through.
pub(super) fn select<'a, T>(
    items: impl Iterator<Item = T>,
    filters: &[Filter<'a>],
    lets: impl Fn(&T, &Filter<'a>) -> Result<bool, ApiError>,
) -> Result<Vec<T>, ApiError> {
    let mut kept = Vec::new();
    for item in items {
        let mut all = true;
        for filter in filters {
            all &= lets(&item, filter)?;
        }
        if all {
            kept.push(item);
        }
    }
    Ok(kept)
}
