//! Which charges a request is about: Cost Explorer's expressions.

use super::{
    ApiError, invalid,
    keys::{Dimension, Key},
    not_honoured,
};
use shapes::ce as aws;
use telemetry::usage::{Charge, Usage};

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Is { key: Key, values: Vec<String>, how: How },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Equals,
    Absent,
}

/// Longest list of values. AWS does not say; a bill has not so many services.
const MAX_VALUES: usize = 1_000;

impl Filter {
    pub(super) fn parse(given: &aws::Expression) -> Result<Self, ApiError> {
        if given.cost_categories.is_some() {
            return Err(not_honoured("CostCategories"));
        }
        if given.product_attributes.is_some() {
            return Err(not_honoured("ProductAttributes"));
        }
        let mut said = Vec::new();
        let several = |all: &[aws::Expression]| match all {
            [] | [_] => Err(invalid("And and Or need at least two expressions.")),
            all => all.iter().map(Self::parse).collect::<Result<Vec<_>, _>>(),
        };
        if let Some(all) = &given.and {
            said.push(Self::All(several(all)?));
        }
        if let Some(any) = &given.or {
            said.push(Self::Any(several(any)?));
        }
        if let Some(not) = &given.not {
            said.push(Self::Not(Box::new(Self::parse(not)?)));
        }
        if let Some(aws::DimensionValues { key, match_options, values }) = &given.dimensions {
            let dimension = Dimension::parse(key.as_deref().unwrap_or_default())?;
            said.push(Self::is(Key::Dimension(dimension), match_options.as_deref(), values.as_deref())?);
        }
        if let Some(aws::TagValues { key, match_options, values }) = &given.tags {
            let Some(key) = key.clone().filter(|key| !key.is_empty()) else {
                return Err(invalid("Tags need a Key."));
            };
            said.push(Self::is(Key::Tag(key), match_options.as_deref(), values.as_deref())?);
        }
        let one = if said.len() == 1 { said.pop() } else { None };
        one.ok_or_else(|| invalid("An expression has exactly one of And, Or, Not, Dimensions and Tags."))
    }

    fn is(key: Key, options: Option<&[String]>, values: Option<&[String]>) -> Result<Self, ApiError> {
        let mut how = How::Equals;
        for option in options.unwrap_or_default() {
            match option.as_str() {
                "EQUALS" | "CASE_SENSITIVE" => {}
                "ABSENT" => how = How::Absent,
                other => return Err(not_honoured(&format!("the match option {other}"))),
            }
        }
        let values = values.unwrap_or_default();
        if values.len() > MAX_VALUES {
            return Err(invalid(format!("A filter has at most {MAX_VALUES} values.")));
        }
        if how == How::Equals && values.is_empty() {
            return Err(invalid("A filter needs Values, or the match option ABSENT."));
        }
        Ok(Self::Is { key, values: values.to_vec(), how })
    }

    /// Whether it tells the charges of one usage apart.
    pub(super) fn is_of_charges(&self) -> bool {
        match self {
            Self::All(all) | Self::Any(all) => all.iter().any(Self::is_of_charges),
            Self::Not(not) => not.is_of_charges(),
            Self::Is { key, .. } => key.is_of_charges(),
        }
    }

    /// Whether a charge is of what it says.
    pub(super) fn lets(&self, usage: &Usage, charge: &Charge) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.lets(usage, charge)),
            Self::Any(any) => any.iter().any(|filter| filter.lets(usage, charge)),
            Self::Not(not) => !not.lets(usage, charge),
            Self::Is { key, values, how } => {
                let value = key.value(usage, charge);
                match how {
                    How::Absent => value.is_none(),
                    // AWS: an empty value stands for a tag that is absent.
                    How::Equals => values.iter().any(|wanted| *wanted == value.as_deref().unwrap_or_default()),
                }
            }
        }
    }
}
