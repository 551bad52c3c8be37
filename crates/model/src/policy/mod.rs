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

/// Bytes of the longest text that policies are asked about, an ARN or a condition key's value: as many as the longest ARN of AWS's
/// has. Matching takes as many steps as text and pattern have multiplied, and the text is the caller's.
pub const MAX_TEXT: usize = 2_048;

impl Request<'_> {
    /// Whether something of it is longer than what is matched. Nothing allows that.
    fn is_too_long(&self) -> bool {
        let resource = match self.resource {
            Resource::Arn(arn) => arn.len() > MAX_TEXT,
            Resource::Arns(arns) => arns.iter().any(|arn| arn.len() > MAX_TEXT),
            Resource::None | Resource::Some { .. } => false,
        };
        resource || self.action.len() > MAX_TEXT || self.keys.longest() > MAX_TEXT
    }
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Something with an ARN.
    Arn(&'a str),
    /// Something that has several ARNs. Whoever names one of them names it.
    Arns(&'a [String]),
    /// Nothing: policies that allow it say `*`.
    None,
    /// Something of a service that is not known here more exactly. Only `*` allows it, since "all but this" may mean just this
    /// one, and whatever denies something of that service denies it.
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
    if request.is_too_long() {
        return Err(Denial::NotAllowed);
    }
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
        // What is cheap and seldom so comes first.
        self.names_action(request.action, request.keys)
            && self.names_resource(request)
            && self.conditions.iter().all(|condition| condition.holds(request.keys))
    }

    fn names_resource(&self, request: &Request<'_>) -> bool {
        let Some(resources) = &self.resources else { return false };
        let lists = |text: &str| resources.items.iter().any(|pattern| pattern.matches(text, request.keys));
        match (request.resource, self.effect) {
            (Resource::Arn(arn), _) => lists(arn) != resources.except,
            (Resource::Arns(arns), _) => arns.iter().any(|arn| lists(arn)) != resources.except,
            (Resource::None, _) => lists("*") != resources.except,
            (Resource::Some { .. }, Effect::Allow) => !resources.except && lists("*"),
            (Resource::Some { service }, Effect::Deny) => {
                resources.except || resources.items.iter().any(|pattern| pattern.may_be_of(service, request.keys))
            }
        }
    }

    fn is_about(&self, action: &str, keys: &Keys) -> bool {
        self.names_action(action, keys) && self.conditions.iter().all(|condition| condition.holds(keys))
    }

    fn names_action(&self, action: &str, keys: &Keys) -> bool {
        let action = action.to_ascii_lowercase();
        self.actions.holds(|pattern| pattern.matches(&action, keys))
    }
}

#[cfg(test)]
mod tests;
