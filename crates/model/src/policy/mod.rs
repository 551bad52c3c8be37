//! Policy documents: who may do what to which resource, and under which conditions. Source: the IAM user guide, "Grammar of the
//! IAM JSON policy language" and "Policy evaluation logic".
//!
//! A [`Document`] is parsed strictly, because a statement that was misread is worse than one refused. [`decide`] answers what
//! policies say of a request: an explicit deny wins, and what nothing allows is denied. Reading an unknown condition operator,
//! or a value that its operator cannot compare, is an error when the policy is put, so that evaluating never fails.
//! Deliberately absent: policies of resources, boundaries and organisations.

mod condition;
mod json;
mod keys;
mod moment;
mod parse;
mod pattern;
mod trust;

pub use condition::Condition;
pub use keys::Keys;
pub use parse::{Kind, Malformed};
pub use trust::{Presenter, Trusted};

use pattern::Pattern;

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    statements: Vec<Statement>,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // AWS's words.
pub enum Effect {
    Allow,
    Deny,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    /// In documents of trust only.
    principals: Option<Listed<Principal>>,
    /// In small letters: the case of actions does not matter.
    actions: Listed<Pattern>,
    /// In documents of identities only.
    resources: Option<Listed<Pattern>>,
    conditions: Vec<Condition>,
}

/// What a statement lists: these, or all but these.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed<T> {
    except: bool,
    items: Vec<T>,
}

/// Whom a document of trust names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Principal {
    Everyone,
    /// An account by its number.
    Account(String),
    /// A user, a role or a session by its ARN.
    Arn(String),
    Service(String),
    Federated(String),
}

impl<T> Listed<T> {
    fn holds(&self, matches: impl Fn(&T) -> bool) -> bool {
        self.items.iter().any(matches) != self.except
    }
}

/// What is asked of policies.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `service:Operation`.
    pub action: &'a str,
    /// What it is about.
    pub resource: Resource<'a>,
    /// What is known of the request.
    pub keys: &'a Keys,
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Something with an ARN.
    Arn(&'a str),
    /// Nothing: policies that allow it say `*`.
    None,
    /// Something of a service that is not known here more exactly. Only `*` allows it, and whatever denies something of that
    /// service denies it.
    Some {
        /// The service, as ARNs name it.
        service: &'a str,
    },
}

impl<'a> From<&'a str> for Resource<'a> {
    fn from(text: &'a str) -> Self {
        if text == "*" { Self::None } else { Self::Arn(text) }
    }
}

/// Why a request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A statement denies it.
    Explicit,
    /// No statement allows it.
    NotAllowed,
}

/// What the policies of an identity say of a request.
///
/// # Errors
/// It is denied.
pub fn decide<'a>(documents: impl IntoIterator<Item = &'a Document>, request: &Request<'_>) -> Result<(), Denial> {
    let mut verdict = Err(Denial::NotAllowed);
    for statement in documents.into_iter().flat_map(|document| &document.statements) {
        if verdict.is_ok() && statement.effect == Effect::Allow || !statement.concerns(request) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return Err(Denial::Explicit),
            Effect::Allow => verdict = Ok(()),
        }
    }
    verdict
}

impl Statement {
    fn concerns(&self, request: &Request<'_>) -> bool {
        let Some(resources) = &self.resources else { return false };
        let matches = |text: &str| resources.holds(|pattern| pattern.matches(text, request.keys));
        let holds = match (request.resource, self.effect) {
            (Resource::Arn(arn), _) => matches(arn),
            (Resource::None, _) | (Resource::Some { .. }, Effect::Allow) => matches("*"),
            (Resource::Some { service }, Effect::Deny) => {
                resources.except || resources.items.iter().any(|pattern| pattern.may_be_of(service, request.keys))
            }
        };
        holds && self.is_about(request.action, request.keys)
    }

    fn is_about(&self, action: &str, keys: &Keys) -> bool {
        let action = action.to_ascii_lowercase();
        self.actions.holds(|pattern| pattern.matches(&action, keys))
            && self.conditions.iter().all(|condition| condition.holds(keys))
    }
}

#[cfg(test)]
mod tests;
