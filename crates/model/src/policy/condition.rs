//! Conditions: an operator, a key, and the values that the key's own are compared with. Source: the IAM user guide, "Condition
//! operators" and "Set operators for multivalued context keys".

use super::{
    Keys, moment,
    pattern::{Pattern, Reading},
};
use ipnet::IpNet;
use std::net::IpAddr;

/// One key of one operator of a statement's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    quantifier: Quantifier,
    operator: Operator,
    /// Without the key it holds.
    if_exists: bool,
    key: String,
    values: Vec<Operand>,
}

/// How the values of a key that has several are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Plain,
    All,
    Any,
}

/// An operator, and whether it asks for the opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operator {
    compare: Compare,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Text,
    TextIgnoringCase,
    Like,
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Bytes,
    Ip,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value of a policy in the form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Pattern(Pattern),
    Number(Number),
    Date(i64),
    Bool(bool),
    Ip(IpNet),
}

/// A decimal number as conditions write it. Compared as a float: nobody counts that far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Number(f64);
impl Eq for Number {}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (compare, negated) = match name {
            "StringEquals" => (Compare::Text, false),
            "StringNotEquals" => (Compare::Text, true),
            "StringEqualsIgnoreCase" => (Compare::TextIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Compare::TextIgnoringCase, true),
            "StringLike" => (Compare::Like, false),
            "StringNotLike" => (Compare::Like, true),
            // AWS: ArnEquals and ArnLike behave alike.
            "ArnEquals" | "ArnLike" => (Compare::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Compare::Arn, true),
            "NumericEquals" => (Compare::Number(Order::Equal), false),
            "NumericNotEquals" => (Compare::Number(Order::Equal), true),
            "NumericLessThan" => (Compare::Number(Order::Less), false),
            "NumericLessThanEquals" => (Compare::Number(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Compare::Number(Order::Greater), false),
            "NumericGreaterThanEquals" => (Compare::Number(Order::GreaterOrEqual), false),
            "DateEquals" => (Compare::Date(Order::Equal), false),
            "DateNotEquals" => (Compare::Date(Order::Equal), true),
            "DateLessThan" => (Compare::Date(Order::Less), false),
            "DateLessThanEquals" => (Compare::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Compare::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Compare::Date(Order::GreaterOrEqual), false),
            "Bool" => (Compare::Bool, false),
            "BinaryEquals" => (Compare::Bytes, false),
            "IpAddress" => (Compare::Ip, false),
            "NotIpAddress" => (Compare::Ip, true),
            "Null" => (Compare::Null, false),
            _ => return None,
        };
        Some(Self { compare, negated })
    }
}

impl Condition {
    /// Reads `ForAnyValue:StringEqualsIfExists` and what it is about. None for what is no operator, and for a value that it
    /// cannot compare.
    pub(super) fn read<'a>(
        operator: &str,
        key: &str,
        values: impl Iterator<Item = &'a str>,
        variables: bool,
    ) -> Option<Self> {
        let (quantifier, name) = match operator.split_once(':') {
            None => (Quantifier::Plain, operator),
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(_) => return None,
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let operator = Operator::parse(name)?;
        // AWS: whether a key is there cannot be asked if it is there.
        if operator.compare == Compare::Null && (if_exists || quantifier != Quantifier::Plain) {
            return None;
        }
        let values: Option<Vec<Operand>> = values.map(|value| operand(operator.compare, value, variables)).collect();
        Some(Self { quantifier, operator, if_exists, key: key.to_owned(), values: values? })
    }

    /// Whether it holds for what is known of a request.
    pub(super) fn holds(&self, keys: &Keys) -> bool {
        let values = keys.get(&self.key);
        if self.operator.compare == Compare::Null {
            return self.values.contains(&Operand::Bool(values.is_empty()));
        }
        if values.is_empty() {
            return match self.quantifier {
                // AWS: of no values all are what is asked for.
                Quantifier::All => true,
                Quantifier::Any => self.if_exists,
                Quantifier::Plain => self.if_exists || self.operator.negated,
            };
        }
        let matches = |value: &String| self.values.iter().any(|wanted| self.compares(wanted, value, keys));
        let negated = self.operator.negated;
        match self.quantifier {
            Quantifier::All => values.iter().all(|value| matches(value) != negated),
            Quantifier::Any => values.iter().any(|value| matches(value) != negated),
            Quantifier::Plain => values.iter().any(matches) != negated,
        }
    }

    fn compares(&self, wanted: &Operand, value: &str, keys: &Keys) -> bool {
        match wanted {
            Operand::Pattern(pattern) => match self.operator.compare {
                Compare::TextIgnoringCase => pattern.equals_ignoring_case(value, keys),
                Compare::Arn => pattern.matches_arn(value, keys),
                Compare::Text
                | Compare::Like
                | Compare::Bytes
                | Compare::Number(_)
                | Compare::Date(_)
                | Compare::Bool
                | Compare::Ip
                | Compare::Null => pattern.matches(value, keys),
            },
            Operand::Number(wanted) => {
                let ordering = value.trim().parse::<f64>().ok().and_then(|value| value.partial_cmp(&wanted.0));
                ordering.is_some_and(|ordering| self.is_so(ordering))
            }
            Operand::Date(wanted) => moment::read(value).is_some_and(|value| self.is_so(value.cmp(wanted))),
            Operand::Bool(wanted) => boolean(value) == Some(*wanted),
            Operand::Ip(wanted) => value.parse::<IpAddr>().is_ok_and(|value| wanted.contains(&value.to_canonical())),
        }
    }

    fn is_so(&self, ordering: std::cmp::Ordering) -> bool {
        match self.operator.compare {
            Compare::Number(order) | Compare::Date(order) => match order {
                Order::Equal => ordering.is_eq(),
                Order::Less => ordering.is_lt(),
                Order::LessOrEqual => ordering.is_le(),
                Order::Greater => ordering.is_gt(),
                Order::GreaterOrEqual => ordering.is_ge(),
            },
            Compare::Text
            | Compare::TextIgnoringCase
            | Compare::Like
            | Compare::Arn
            | Compare::Bool
            | Compare::Bytes
            | Compare::Ip
            | Compare::Null => false,
        }
    }
}

fn operand(compare: Compare, value: &str, variables: bool) -> Option<Operand> {
    let pattern = |wildcards| Pattern::read(value, Reading { wildcards, variables }).map(Operand::Pattern);
    match compare {
        Compare::Text | Compare::TextIgnoringCase => pattern(false),
        Compare::Like | Compare::Arn => pattern(true),
        Compare::Bytes => Pattern::read(value, Reading { wildcards: false, variables: false }).map(Operand::Pattern),
        Compare::Number(_) => {
            let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.map(|number| Operand::Number(Number(number)))
        }
        Compare::Date(_) => moment::read(value).map(Operand::Date),
        Compare::Bool | Compare::Null => boolean(value).map(Operand::Bool),
        Compare::Ip => network(value).map(Operand::Ip),
    }
}

fn boolean(text: &str) -> Option<bool> {
    [("true", true), ("false", false)].into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, is)| is)
}

/// A network, or one address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
