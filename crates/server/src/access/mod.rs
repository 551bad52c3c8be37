//! Whether a caller may do what he asks: one place, for every request of anybody but the account's root.
//!
//! An operation is one or more questions ([`Ask`]): an action, what it is about, and what is known of that. The tables that make
//! questions of inputs are one file per service. Policies are read from the directory as it is at the moment; what they say is
//! the model's to judge (`model::policy`).

mod bounds;
mod discovery;
mod documents;
mod ec2;
mod ecs;
mod iam;
mod input;
mod keys;
mod logs;
mod pass;
mod secrets;

pub(crate) use documents::{Documents, read_policies};
pub(crate) use keys::of_anybody as known_of_anybody;

use documents::Rights;

use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{
    Tags,
    policy::{Denial, Document, Keys, Request, Resource, decide},
};
use serde_json::Value;
use state::Snapshot;
use std::sync::Arc;
use wire::schema::{Operation, Protocol, Service};

/// One question to policies.
#[derive(Debug, Clone, PartialEq)]
struct Ask {
    /// `service:Operation`.
    action: String,
    about: About,
    /// The tags of what it is about.
    tags: Option<Tags>,
    /// What else is known of it, by condition key.
    keys: Vec<Known>,
    /// What is known of all that a request asks.
    common: Arc<[Known]>,
}

/// A condition key and its values.
type Known = (String, Vec<String>);

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    /// Nothing, as AWS has it.
    Nothing,
    /// Something of a service that is not looked up here.
    Something(&'static str),
    /// A resource, under every ARN that policies name it by. The first is the one that refusals tell.
    Resource(Vec<String>),
}

impl Ask {
    fn new(action: impl Into<String>, about: About) -> Self {
        Self { action: action.into(), about, tags: None, keys: Vec::new(), common: Arc::default() }
    }

    fn of(action: &str, arn: impl Into<String>) -> Self {
        Self::new(action, About::Resource(vec![arn.into()]))
    }

    fn tagged(self, tags: Option<&Tags>) -> Self {
        Self { tags: tags.cloned(), ..self }
    }

    fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.keys.push((key.to_owned(), vec![value.into()]));
        self
    }

    fn told(&self) -> &str {
        match &self.about {
            About::Nothing | About::Something(_) => "*",
            About::Resource(arns) => arns.first().map_or("*", String::as_str),
        }
    }
}

/// Refuses what the caller's policies do not allow.
///
/// # Errors
/// AWS's, in its words.
pub(crate) fn authorize(
    ctx: &Context,
    caller: &Caller,
    service: &'static Service,
    operation: &'static Operation,
    input: &Value,
) -> Result<(), ApiError> {
    if caller.identity.is_root() {
        return Ok(());
    }
    bounds::of_input(service.protocol, input)?;
    bounds::of_tags(service.protocol, &keys::request_tags(input))?;
    let snapshot = ctx.store.snapshot();
    let asked = asks(&snapshot, caller, (service, operation), input);
    if asked.is_empty() {
        return Ok(());
    }
    bounds::of_asks(service.protocol, &asked)?;
    let documents = ctx.credentials.documents.of(&snapshot, caller);
    let known = keys::of_request(caller, ctx.effects.now(), input);
    for ask in &asked {
        if let Err(denial) = judge_all(documents.as_ref(), ask, &known) {
            tracing::info!(principal = caller.principal, action = ask.action, resource = ask.told(), "not authorized");
            return Err(refusal(caller, service.protocol, ask, denial));
        }
    }
    Ok(())
}

/// What a caller's policies say of one thing that he does on the way.
pub(crate) struct Verdicts {
    /// Those of the user or the role. Nothing denies root anything.
    pub(crate) own: Result<(), Denial>,
    /// Those of his session, which cut down what his own let him do.
    pub(crate) session: Result<(), Denial>,
}

/// What a caller's policies say of something that a request does beside what it was asked for, with the tags of what it is about.
pub(crate) fn verdicts(
    ctx: &Context,
    snapshot: &Snapshot,
    caller: &Caller,
    (action, arn, tags): (&str, &str, Option<&Tags>),
    known: &Keys,
) -> Verdicts {
    if caller.identity.is_root() {
        return Verdicts { own: Ok(()), session: Ok(()) };
    }
    let rights = ctx.credentials.documents.of(snapshot, caller);
    verdicts_of(rights.as_ref(), &Ask::of(action, arn).tagged(tags), known)
}

/// What is known of a caller's request, without what it says.
pub(crate) fn known(ctx: &Context, caller: &Caller) -> Keys {
    keys::of_request(caller, ctx.effects.now(), &Value::Null)
}

/// What documents say of one thing.
///
/// # Errors
/// It is denied.
pub(crate) fn judge_one(
    documents: &[Document],
    (action, arns, tags): (&str, &[&str], Option<&Tags>),
    known: &Keys,
) -> Result<(), Denial> {
    let about = About::Resource(arns.iter().map(|arn| (*arn).to_owned()).collect());
    judge(documents, &Ask::new(action, about).tagged(tags), known)
}

fn judge_all(rights: Option<&Rights>, ask: &Ask, known: &Keys) -> Result<(), Denial> {
    verdicts_of(rights, ask, known).together()
}

fn verdicts_of(rights: Option<&Rights>, ask: &Ask, known: &Keys) -> Verdicts {
    // A policy that was put and can no longer be read may have been one that denies.
    let Some(rights) = rights else { return Verdicts { own: Err(Denial::Explicit), session: Ok(()) } };
    let of = |documents| judge(documents, ask, known);
    Verdicts { own: of(rights.own()), session: rights.session().map_or(Ok(()), of) }
}

impl Verdicts {
    /// Whether one of them denies it in so many words, which nothing else makes good.
    pub(crate) fn is_explicit(&self) -> bool {
        [self.own, self.session].contains(&Err(Denial::Explicit))
    }

    /// Both have to allow it.
    fn together(&self) -> Result<(), Denial> {
        if self.is_explicit() { Err(Denial::Explicit) } else { self.own.and(self.session) }
    }
}

fn judge(documents: &[Document], ask: &Ask, known: &Keys) -> Result<(), Denial> {
    let mut keys = known.clone();
    for (key, values) in ask.keys.iter().chain(ask.common.iter()) {
        match values.as_slice() {
            [value] => keys.set(key, value.as_str()),
            values => keys.set_all(key, values.iter().cloned()),
        }
    }
    let service = ask.action.split(':').next().unwrap_or_default();
    for (key, value) in ask.tags.iter().flat_map(|tags| &tags.0) {
        keys.set(&format!("aws:ResourceTag/{key}"), value.as_str());
        keys.set(&format!("{service}:ResourceTag/{key}"), value.as_str());
    }
    let resource = match &ask.about {
        About::Nothing => Resource::None,
        About::Something(service) => Resource::Some { service },
        About::Resource(arns) => Resource::Arns(arns),
    };
    decide(documents, &Request { action: &ask.action, resource, keys: &keys })
}

/// The questions of a request; none where AWS asks nobody.
fn asks(
    snapshot: &Snapshot,
    caller: &Caller,
    (service, operation): (&'static Service, &'static Operation),
    input: &Value,
) -> Vec<Ask> {
    let action = format!("{}:{}", service.signing_name, operation.name);
    let found = match service.name {
        "ecs" => ecs::asks(snapshot, caller, operation, &action, input),
        "logs" => logs::asks(caller, &action, operation.name, input),
        "secretsmanager" => secrets::of_secrets(snapshot, caller, &action, operation.name, input),
        "ssm" => secrets::of_parameters(snapshot, caller, &action, operation.name, input),
        "servicediscovery" => discovery::asks(snapshot, caller, &action, operation.name, input),
        "iam" => iam::asks(snapshot, caller, &action, operation.name, input),
        "ec2" => ec2::asks(snapshot, caller, &action, operation.name, input),
        "autoscaling" => vec![Ask::new(&*action, About::Something("autoscaling"))],
        // AWS: anybody may ask who he is, whatever his policies say, and have credentials that end. Of a role its trust has a say.
        "sts" if ["AssumeRole", "GetCallerIdentity", "GetSessionToken"].contains(&operation.name) => return Vec::new(),
        _ => Vec::new(),
    };
    let mut found = if found.is_empty() { vec![Ask::new(action, About::Nothing)] } else { found };
    found.extend(pass::asks(snapshot, caller, (service.name, operation.name), input));
    found
}

fn refusal(caller: &Caller, protocol: Protocol, ask: &Ask, denial: Denial) -> ApiError {
    let Ask { action, .. } = ask;
    let why = match denial {
        Denial::Explicit => "with an explicit deny in an identity-based policy".to_owned(),
        Denial::NotAllowed => format!("because no identity-based policy allows the {action} action"),
    };
    let text =
        format!("User: {} is not authorized to perform: {action} on resource: {} {why}", caller.principal, ask.told());
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => ApiError::new("AccessDeniedException", text),
        Protocol::AwsQuery => ApiError::new("AccessDenied", text).with_status(403),
        Protocol::Ec2Query => {
            let text = format!("You are not authorized to perform this operation. {text}");
            ApiError::new("UnauthorizedOperation", text).with_status(403)
        }
    }
}

#[cfg(test)]
mod tests;
