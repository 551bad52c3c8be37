//! Errors that say what to do next: the message of an error, and the advice that goes with it.
//!
//! Whoever knows best attaches [`Advice`] where the error arises; for kinds of errors that need no more than their own text
//! there is general advice. Advice is one line below the message, and under the original's name it is not given.

use std::{fmt, io};
use wire::WireError;

/// What to do next. Attached as an anyhow context; never part of the message.
#[derive(Debug, Clone)]
pub(crate) struct Advice(String);

impl Advice {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The message: the error and its causes, without advice.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let advice = error.downcast_ref::<Advice>().map(Advice::to_string);
    let mut told: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some libraries repeat their source in their own message.
        if Some(&cause) != advice.as_ref() && !told.last().is_some_and(|last| last.ends_with(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

/// The advice, if there is any to give.
pub(crate) fn next(error: &anyhow::Error) -> Option<String> {
    if let Some(advice) = error.downcast_ref::<Advice>() {
        return Some(advice.to_string());
    }
    if let Some(refused) = error.downcast_ref::<WireError>() {
        return of_code(&refused.code).map(str::to_owned);
    }
    error.chain().find_map(|cause| of_io(cause.downcast_ref::<io::Error>()?.kind())).map(str::to_owned)
}

/// The same advice with `--region` in its commands, where they would otherwise act elsewhere.
pub(crate) fn in_region(text: &str, region: Option<&str>) -> String {
    let Some(region) = region else { return text.to_owned() };
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
        // How many words name the operation.
        let verbs = match (word(at).trim_start_matches(['`', '(']), word(at + 1)) {
            ("aws", _) | ("longshore", "service") => 2,
            // It serves the region of its token.
            ("longshore", "agent" | "agent`") => continue,
            ("longshore", _) => 1,
            (_, _) => continue,
        };
        let Some(last) = words.get_mut(at + verbs) else { continue };
        let verb = last.trim_end_matches(['`', ',']).len();
        last.insert_str(verb, &format!(" --region {region}"));
    }
    words.join(" ")
}

fn of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "AuthFailure" => {
            "These are not this server's credentials, or the clocks differ. On the server's machine: eval \"$(longshore env)\"; \
             elsewhere set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to what that prints"
        }
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            "Get new credentials, or set this machine's clock: the server takes signatures of the last minutes only"
        }
        "ClusterNotFoundException" => "`longshore status` lists the clusters; `longshore up --cluster NAME` makes one",
        "ServiceNotFoundException" | "ServiceNotActiveException" => {
            "`aws ecs list-services --cluster NAME` lists the services; `longshore compose service up` makes one of a compose file"
        }
        "AccessDeniedException" | "UnauthorizedOperation" => "Ask with the root credentials: eval \"$(longshore env)\"",
        _ => return None,
    })
}

fn of_io(kind: io::ErrorKind) -> Option<&'static str> {
    if kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded {
        return Some("The disk is full: `df -h` tells which. Make room there, then do it again; nothing is half-done");
    }
    if kind == io::ErrorKind::PermissionDenied {
        return Some(
            "Do it as the user whom that belongs to; a server with local instances, and its files, are root's",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn advice_is_apart_from_the_message_wherever_it_was_attached() {
        let inner = || anyhow::Error::new(WireError::new("ClusterNotFoundException", "Cluster not found."));
        let advised = inner().context(Advice::new("longshore up")).context("while asking");
        assert_eq!(message(&advised), "while asking: ClusterNotFoundException: Cluster not found.");
        assert_eq!(next(&advised).as_deref(), Some("longshore up"));
        assert!(advised.downcast_ref::<WireError>().is_some(), "a refusal is still known by its code");
        assert!(next(&inner()).unwrap().contains("longshore status"));
        assert_eq!(next(&anyhow!("anything")), None);
    }

    #[test]
    fn commands_name_the_region_where_they_must() {
        for (text, want) in [
            ("aws ec2 allocate-address", "aws ec2 allocate-address --region r"),
            ("or this: aws ecs stop-task --task t", "or this: aws ecs stop-task --region r --task t"),
            ("longshore service status web --watch", "longshore service status --region r web --watch"),
            ("longshore ps --cluster a, and stop some", "longshore ps --region r --cluster a, and stop some"),
            ("`longshore status` tells", "`longshore status --region r` tells"),
            ("start `longshore agent` there", "start `longshore agent` there"),
            ("start `longshore agent --fargate` there", "start `longshore agent --fargate` there"),
            ("(longshore ps --all tells)", "(longshore ps --region r --all tells)"),
            ("mend it and deploy again", "mend it and deploy again"),
            ("give it more memory: aws", "give it more memory: aws"),
        ] {
            assert_eq!(in_region(text, Some("r")), want);
            assert_eq!(in_region(text, None), text);
        }
    }

    #[test]
    fn the_operating_systems_refusals_are_advised_on() {
        let failed = |kind| Err::<(), _>(io::Error::from(kind)).context("cannot write x").unwrap_err();
        for (kind, part) in [
            (io::ErrorKind::StorageFull, Some("df -h")),
            (io::ErrorKind::PermissionDenied, Some("root")),
            (io::ErrorKind::NotFound, None),
        ] {
            let advice = next(&failed(kind));
            assert_eq!(advice.is_some(), part.is_some(), "{kind}");
            assert!(part.is_none_or(|part| advice.unwrap().contains(part)), "{kind}");
        }
        assert!(message(&failed(io::ErrorKind::StorageFull)).starts_with("cannot write x: "));
    }
}
