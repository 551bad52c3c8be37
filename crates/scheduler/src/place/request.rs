//! What is asked of placement, and how its wire forms are read.

use crate::query::{Expression, InvalidExpression};
use model::{Attribute, Reservation};
use std::{fmt, sync::Arc};

/// Strategies per task or service. Source: `RunTaskRequest$placementStrategy`.
pub const MAX_STRATEGIES: usize = 5;
/// Constraints per task, those of its definition included. Source: `RunTaskRequest$placementConstraints`.
pub const MAX_CONSTRAINTS: usize = 10;

/// A number of equal tasks that want a place.
#[derive(Debug, Clone, Copy)]
pub struct PlacementRequest<'a> {
    /// How many.
    pub count: usize,
    /// What each holds.
    pub reservation: &'a Reservation,
    /// What the instance must have, from the task definition's `requiresAttributes`.
    pub required_attributes: &'a [Attribute],
    /// The zones of the subnets that the tasks' network interfaces may be in; empty where tasks have none.
    pub zones: &'a [Arc<str>],
    /// All bind.
    pub constraints: &'a [Constraint],
    /// Best effort, in this order; beyond [`MAX_STRATEGIES`] they are not looked at. None means chance.
    pub strategy: &'a [Strategy],
    /// The tasks' group, such as `family:web` or `service:web`: what `spread` and `distinctInstance` count.
    pub group: &'a str,
}

/// A rule that an instance must meet.
#[derive(Debug, Clone)]
pub enum Constraint {
    /// No other live task of the same group is on the instance.
    DistinctInstance,
    /// The expression means the instance.
    MemberOf(Expression),
}

/// A wish about which of the possible instances to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// By chance.
    Random,
    /// Evenly over the values of a field.
    Spread(SpreadField),
    /// Where the least is left.
    Binpack(Binpack),
}

/// What tasks are spread over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpreadField {
    /// Instances; `host` means the same.
    InstanceId,
    /// The values of an attribute. Instances without it come last.
    Attribute(String),
}

/// What is packed tightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binpack {
    /// CPU units.
    Cpu,
    /// Memory.
    Memory,
}

/// A constraint or strategy that says nothing we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlacement {
    /// A type that is none.
    #[error("Invalid placement {0} type '{1}'.")]
    Type(&'static str, String),
    /// A field that the strategy does not know.
    #[error("Invalid placement strategy field '{field}' for type '{strategy}': it must be {allowed}.")]
    Field {
        /// The strategy's type.
        strategy: &'static str,
        /// The field that was given.
        field: String,
        /// What it knows.
        allowed: &'static str,
    },
    /// `memberOf` without an expression.
    #[error("The expression of a memberOf placement constraint must not be empty.")]
    NoExpression,
    /// An expression where none belongs.
    #[error("A distinctInstance placement constraint does not take an expression.")]
    ExpressionNotAllowed,
    /// An expression that does not parse.
    #[error("Invalid expression '{expression}': {why}.")]
    Expression {
        /// Its text.
        expression: String,
        /// What is wrong with it.
        why: InvalidExpression,
    },
}

impl Constraint {
    /// Reads `type` and `expression` of the wire.
    pub fn parse(kind: &str, expression: Option<&str>) -> Result<Self, InvalidPlacement> {
        match (kind, expression.filter(|e| !e.trim().is_empty())) {
            ("distinctInstance", None) => Ok(Self::DistinctInstance),
            ("distinctInstance", Some(_)) => Err(InvalidPlacement::ExpressionNotAllowed),
            ("memberOf", None) => Err(InvalidPlacement::NoExpression),
            ("memberOf", Some(text)) => Expression::parse(text)
                .map(Self::MemberOf)
                .map_err(|why| InvalidPlacement::Expression { expression: text.to_owned(), why }),
            _ => Err(InvalidPlacement::Type("constraint", kind.to_owned())),
        }
    }
}

impl Strategy {
    /// Reads `type` and `field` of the wire. AWS: `random` ignores its field; `cpu` and `memory` go in any case.
    pub fn parse(kind: &str, field: Option<&str>) -> Result<Self, InvalidPlacement> {
        let field = field.unwrap_or_default();
        let wrong = |strategy, allowed| InvalidPlacement::Field { strategy, field: field.to_owned(), allowed };
        match kind {
            "random" => Ok(Self::Random),
            "binpack" if field.eq_ignore_ascii_case("cpu") => Ok(Self::Binpack(Binpack::Cpu)),
            "binpack" if field.eq_ignore_ascii_case("memory") => Ok(Self::Binpack(Binpack::Memory)),
            "binpack" => Err(wrong("binpack", "cpu or memory")),
            "spread" if field == "instanceId" || field == "host" => Ok(Self::Spread(SpreadField::InstanceId)),
            "spread" => match field.strip_prefix("attribute:") {
                Some(name) if !name.is_empty() => Ok(Self::Spread(SpreadField::Attribute(name.to_owned()))),
                _ => Err(wrong("spread", "instanceId, host or attribute:<name>")),
            },
            _ => Err(InvalidPlacement::Type("strategy", kind.to_owned())),
        }
    }

    /// The wire's `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Spread(_) => "spread",
            Self::Binpack(_) => "binpack",
        }
    }
}

impl fmt::Display for SpreadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstanceId => f.write_str("instanceId"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
        }
    }
}
