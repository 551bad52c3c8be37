//! The cluster query language: which container instances an expression means.
//!
//! `parse` turns text into a checked tree once, with everything that can be wrong with it said by position; `matches`
//! then walks the tree per instance and allocates nothing. Source: "Create expressions to define container instances
//! for Amazon ECS tasks" in the ECS developer guide; where that is silent, docs/decisions/0004-placement.md decides.

mod parse;
mod value;

#[cfg(test)]
mod tests;

use model::Timestamp;
use regex::Regex;
use std::{cmp::Ordering, fmt};

/// Characters of one expression. Source: `PlacementConstraint$expression`.
pub const MAX_LENGTH: usize = 2000;
/// Levels of parentheses and negations: far above what people write, far below what a thread's stack bears.
pub const MAX_NESTING: usize = 32;
/// Bytes one compiled pattern may take. Ordinary patterns take a few thousand; `(.{1000}){1000}` is refused.
pub const MAX_PATTERN_BYTES: usize = 256 << 10;

/// What an expression can ask of a container instance.
pub trait Subject {
    /// Whether the agent's session is up.
    fn agent_connected(&self) -> bool;
    /// The agent's version, empty if it told none.
    fn agent_version(&self) -> &str;
    /// `None` if the instance lacks the attribute, `Some(None)` if it has it without a value.
    fn attribute(&self, name: &str) -> Option<Option<&str>>;
    /// The machine under it.
    fn ec2_instance_id(&self) -> Option<&str>;
    /// When it registered.
    fn registered_at(&self) -> Timestamp;
    /// How many of its tasks are RUNNING.
    fn running_tasks(&self) -> u32;
    /// Whether any group that has a live task here passes `test`.
    fn any_group(&self, test: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// Why a text is no expression. The server wraps it into `InvalidParameterException`. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpression {
    /// Longer than [`MAX_LENGTH`].
    #[error("it has {0} characters, at most {MAX_LENGTH} are allowed")]
    TooLong(usize),
    /// Nested deeper than [`MAX_NESTING`].
    #[error("it is nested deeper than {MAX_NESTING} levels at position {0}")]
    TooDeep(usize),
    /// Something else stands where the grammar wants `expected`.
    #[error("expected {expected} at position {position}, found {found}")]
    Unexpected {
        /// What the grammar allows there.
        expected: &'static str,
        /// Where.
        position: usize,
        /// What stands there.
        found: String,
    },
    /// An operator the subject does not know.
    #[error("{subject} does not take the operator at position {position}, it takes {allowed}")]
    Operator {
        /// The subject.
        subject: &'static str,
        /// Where the operator stands.
        position: usize,
        /// Those that it takes.
        allowed: &'static str,
    },
    /// A pattern that does not compile or is too large.
    #[error("the pattern at position {position} is not valid: {why}")]
    Pattern {
        /// Where the pattern stands.
        position: usize,
        /// What the pattern compiler says.
        why: String,
    },
}

/// A parsed expression. Parsing costs microseconds (patterns are compiled), matching far less: keep it if you can.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Box<str>,
    root: Node,
    asks_groups: bool,
}

#[derive(Debug, Clone)]
enum Node {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Test { test: Test, negated: bool },
}

#[derive(Debug, Clone)]
enum Test {
    AgentConnected(TextTest),
    AgentVersion(Comparison, String),
    Attribute(String, TextTest),
    Ec2InstanceId(TextTest),
    /// Seconds since the epoch.
    RegisteredAt(Comparison, i64),
    RunningTasksCount(Comparison, u64),
    TaskGroup(TextTest),
}

#[derive(Debug, Clone)]
enum TextTest {
    Exists,
    Compare(Comparison, String),
    OneOf(Vec<String>),
    Matches(Regex),
}

/// The negative operators are these, negated: an instance that lacks the attribute passes `!=`, `!in` and `!~`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

impl Expression {
    /// Reads an expression.
    pub fn parse(source: &str) -> Result<Self, InvalidExpression> {
        let root = parse::expression(source)?;
        let asks_groups = root.asks_groups();
        Ok(Self { source: source.into(), root, asks_groups })
    }
    /// Whether the instance is meant.
    pub fn matches(&self, instance: &(impl Subject + ?Sized)) -> bool {
        self.root.matches(instance)
    }
    /// Whether the answer can change when a task is placed: only `task:group` sees tasks that do not run yet.
    pub(crate) fn asks_groups(&self) -> bool {
        self.asks_groups
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Node {
    fn matches(&self, instance: &(impl Subject + ?Sized)) -> bool {
        match self {
            Self::Or(any) => any.iter().any(|n| n.matches(instance)),
            Self::And(all) => all.iter().all(|n| n.matches(instance)),
            Self::Not(inner) => !inner.matches(instance),
            Self::Test { test, negated } => test.passes(instance) != *negated,
        }
    }
    fn asks_groups(&self) -> bool {
        match self {
            Self::Or(nodes) | Self::And(nodes) => nodes.iter().any(Self::asks_groups),
            Self::Not(inner) => inner.asks_groups(),
            Self::Test { test, .. } => matches!(test, Test::TaskGroup(_)),
        }
    }
}

impl Test {
    fn passes(&self, instance: &(impl Subject + ?Sized)) -> bool {
        match self {
            Self::AgentConnected(test) => test.passes(if instance.agent_connected() { "true" } else { "false" }),
            Self::AgentVersion(comparison, than) => {
                let version = instance.agent_version();
                !version.is_empty() && comparison.holds(value::compare_versions(version, than))
            }
            Self::Attribute(name, TextTest::Exists) => instance.attribute(name).is_some(),
            Self::Attribute(name, test) => instance.attribute(name).flatten().is_some_and(|v| test.passes(v)),
            Self::Ec2InstanceId(test) => instance.ec2_instance_id().is_some_and(|id| test.passes(id)),
            Self::RegisteredAt(comparison, than) => {
                comparison.holds(instance.registered_at().0.div_euclid(1000).cmp(than))
            }
            Self::RunningTasksCount(comparison, than) => {
                comparison.holds(u64::from(instance.running_tasks()).cmp(than))
            }
            Self::TaskGroup(test) => instance.any_group(&mut |group| test.passes(group)),
        }
    }
}

impl TextTest {
    fn passes(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Compare(Comparison::Equal, to) => text == to,
            Self::Compare(comparison, than) => comparison.holds(value::compare_texts(text, than)),
            Self::OneOf(any) => any.iter().any(|a| a == text),
            Self::Matches(pattern) => pattern.is_match(text),
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessEqual => ordering.is_le(),
        }
    }
}
