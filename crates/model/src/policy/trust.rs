//! Whether a role's trust lets somebody become it.

use super::{Denial, Document, Effect, Keys, MAX_TEXT, Principal};

/// Who presents himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presenter<'a> {
    /// A user, a role's session or the root of an account.
    Identity {
        /// His account's number.
        account: &'a str,
        /// By which ARNs he may be named: his own, and a session also by that of its role.
        arns: &'a [&'a str],
    },
    /// A service of AWS's, such as `ecs-tasks.amazonaws.com`.
    Service(&'a str),
}

/// How a document of trust names somebody whom it trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trusted {
    /// As one of an account, which says for itself who may: his own policies have to allow it too.
    ByAccount,
    /// By name.
    ByName,
}

impl Document {
    /// Whether somebody may do `action` (`sts:AssumeRole`) by this document of trust.
    ///
    /// # Errors
    /// He may not.
    pub fn trusts(&self, presenter: Presenter<'_>, action: &str, keys: &Keys) -> Result<Trusted, Denial> {
        if keys.longest() > MAX_TEXT {
            return Err(Denial::NotAllowed);
        }
        let mut verdict = Err(Denial::NotAllowed);
        for statement in self.statements.iter().filter(|statement| statement.is_about(action, keys)) {
            let Some(listed) = &statement.principals else { continue };
            let how = listed.items.iter().filter_map(|principal| names(principal, presenter, statement.effect)).max();
            let how = if listed.except { how.is_none().then_some(Trusted::ByAccount) } else { how };
            match (how, statement.effect) {
                (None, Effect::Allow | Effect::Deny) => {}
                (Some(_), Effect::Deny) => return Err(Denial::Explicit),
                (Some(how), Effect::Allow) => verdict = Ok(verdict.map_or(how, |known: Trusted| known.max(how))),
            }
        }
        verdict
    }
}

fn names(principal: &Principal, presenter: Presenter<'_>, effect: Effect) -> Option<Trusted> {
    match (principal, presenter) {
        (Principal::Everyone, Presenter::Identity { .. }) => Some(Trusted::ByAccount),
        // To let everybody in lets no service in; to shut everybody out shuts services out too.
        (Principal::Everyone, Presenter::Service(_)) => (effect == Effect::Deny).then_some(Trusted::ByAccount),
        (Principal::Account(named), Presenter::Identity { account, .. }) => {
            (named == account).then_some(Trusted::ByAccount)
        }
        (Principal::Arn(named), Presenter::Identity { arns, .. }) => {
            arns.contains(&named.as_str()).then_some(Trusted::ByName)
        }
        (Principal::Service(named), Presenter::Service(service)) => (named == service).then_some(Trusted::ByName),
        (Principal::Account(_) | Principal::Arn(_), Presenter::Service(_))
        | (Principal::Service(_), Presenter::Identity { .. })
        | (Principal::Federated(_), Presenter::Identity { .. } | Presenter::Service(_)) => None,
    }
}
