//! AssumeRole: whoever a role's trust lets in has its rights for a while.

use super::{denied, shown};
use crate::{
    access,
    api::ApiError,
    context::{Caller, Context},
    identity::Identity,
    tokens::{Of, RoleSession},
};
use model::{
    AccountId,
    iam::{Directory, Role},
    policy::{Document, Keys, Kind, Presenter, Trusted},
};
use shapes::sts as aws;
use state::Snapshot;
use std::{sync::Arc, time::Duration};

/// How long credentials hold without a word. Source: the model's documentation.
const USUAL: u64 = 3600;
/// The longest session of a role that was assumed by another role's session.
const CHAINED: u64 = 3600;
/// Characters of all session policies together, and how many managed ones. Source: the model's documentation.
const MAX_POLICY: usize = 2048;
const MAX_POLICY_ARNS: usize = 10;

pub(super) fn assume_role(
    ctx: &Context,
    caller: &Caller,
    request: aws::AssumeRoleRequest,
) -> Result<aws::AssumeRoleResponse, ApiError> {
    let wanted = Wanted::parse(caller, request)?;
    let snapshot = ctx.store.snapshot();
    let directory = snapshot.directory(&wanted.account);
    // AWS: that there is no such role is not told.
    let refused = || {
        denied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            caller.principal, wanted.role_arn
        ))
    };
    let directory = directory.ok_or_else(refused)?;
    let role = directory.role_by_arn(&wanted.role_arn).ok_or_else(refused)?;
    for action in wanted.actions() {
        if !may((ctx, &snapshot, caller), role, action, &wanted) {
            return Err(refused());
        }
    }
    let life = wanted.life(caller, role)?;
    wanted.check_policies(directory)?;
    let session = RoleSession {
        role: role.name.clone(),
        id: role.id.clone(),
        name: wanted.session,
        policy: wanted.policy,
        policy_arns: wanted.policy_arns,
        source_identity: wanted.source_identity.clone(),
    };
    let (arn, id) = (session.arn(&role.account), session.user_id());
    let plain =
        session.policy.as_deref().map_or(0, str::len) + session.policy_arns.iter().map(String::len).sum::<usize>();
    let (issued, _) = ctx.tokens.issue(&role.account, Of::Role(session), life, &ctx.effects);
    Ok(aws::AssumeRoleResponse {
        credentials: Some(shown(issued)),
        assumed_role_user: Some(aws::AssumedRoleUser { arn: Some(arn), assumed_role_id: Some(id) }),
        // AWS: in percent of what fits; there it is packed.
        packed_policy_size: (plain > 0)
            .then(|| i32::try_from(plain.div_ceil(MAX_POLICY / 100).min(100)).unwrap_or(100)),
        source_identity: wanted.source_identity,
        ..Default::default()
    })
}

/// What is asked for.
struct Wanted {
    account: AccountId,
    role_arn: String,
    session: String,
    external_id: Option<String>,
    seconds: Option<u64>,
    policy: Option<String>,
    policy_arns: Vec<String>,
    source_identity: Option<String>,
}

impl Wanted {
    fn parse(caller: &Caller, request: aws::AssumeRoleRequest) -> Result<Self, ApiError> {
        let role_arn = request.role_arn.unwrap_or_default();
        let invalid = || ApiError::new("ValidationError", format!("{role_arn} is invalid"));
        let account = role_arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
        let account = account.and_then(|(account, name)| AccountId::parse(account).ok().filter(|_| !name.is_empty()));
        let account = account.ok_or_else(invalid)?;
        let before = match &caller.identity {
            Identity::Role(session) => session.session.source_identity.clone(),
            Identity::Root | Identity::User(_) => None,
        };
        // AWS: once it is said, it stays.
        if let (Some(before), Some(now)) = (&before, &request.source_identity)
            && before != now
        {
            return Err(denied("The source identity of a session cannot be changed by assuming another role"));
        }
        let policy_arns = request.policy_arns.unwrap_or_default().into_iter().filter_map(|one| one.arn);
        Ok(Self {
            account,
            role_arn,
            session: request.role_session_name.unwrap_or_default(),
            external_id: request.external_id,
            seconds: request.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()),
            policy: request.policy.filter(|policy| !policy.is_empty()),
            policy_arns: policy_arns.collect(),
            source_identity: before.or(request.source_identity),
        })
    }

    /// What has to be allowed. Source: the IAM user guide, "Monitor and control actions taken with assumed roles".
    fn actions(&self) -> impl Iterator<Item = &'static str> {
        let says = self.source_identity.is_some().then_some("sts:SetSourceIdentity");
        std::iter::once("sts:AssumeRole").chain(says)
    }

    /// What conditions may ask of it.
    fn describe(&self, keys: &mut Keys) {
        keys.set("sts:RoleSessionName", self.session.as_str());
        if let Some(id) = &self.external_id {
            keys.set("sts:ExternalId", id.as_str());
        }
        if let Some(identity) = &self.source_identity {
            keys.set("sts:SourceIdentity", identity.as_str());
        }
    }

    fn life(&self, caller: &Caller, role: &Role) -> Result<Duration, ApiError> {
        let most = u64::from(role.max_session_seconds);
        let chained = matches!(caller.identity, Identity::Role(_));
        match self.seconds {
            Some(asked) if chained && asked > CHAINED => Err(ApiError::new(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            )),
            Some(asked) if asked > most => Err(ApiError::new(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )),
            asked => Ok(Duration::from_secs(asked.unwrap_or(USUAL))),
        }
    }

    /// Policies of a session are read as those of a role are.
    fn check_policies(&self, directory: &Directory) -> Result<(), ApiError> {
        if let Some(policy) = &self.policy {
            let read = Document::parse(policy, Kind::Managed);
            read.map_err(|why| ApiError::new("MalformedPolicyDocument", why.to_string()))?;
        }
        let whole = self.policy.as_deref().map_or(0, |policy| policy.chars().count())
            + self.policy_arns.iter().map(String::len).sum::<usize>();
        if whole > MAX_POLICY {
            let text = format!("Packed size of session policies is over 100%: they may have {MAX_POLICY} characters.");
            return Err(ApiError::new("PackedPolicyTooLarge", text));
        }
        if self.policy_arns.len() > MAX_POLICY_ARNS {
            let text = format!("A session may have {MAX_POLICY_ARNS} managed session policies.");
            return Err(ApiError::new("ValidationError", text));
        }
        match self.policy_arns.iter().find(|arn| model::iam::document_of(directory, arn).is_none()) {
            // AWS: unsure of the words.
            Some(arn) => {
                Err(ApiError::new("ValidationError", format!("Policy {arn} does not exist or is not attachable.")))
            }
            None => Ok(()),
        }
    }
}

/// Whether the role's trust and, where that leaves it to him, the caller's own policies let him.
fn may(
    (ctx, snapshot, caller): (&Context, &Snapshot, &Caller),
    role: &Arc<Role>,
    action: &str,
    wanted: &Wanted,
) -> bool {
    let mut keys = access::known(ctx, caller);
    wanted.describe(&mut keys);
    for (key, value) in &role.tags.0 {
        keys.set(&format!("iam:ResourceTag/{key}"), value.as_str());
        keys.set(&format!("aws:ResourceTag/{key}"), value.as_str());
    }
    let Ok(trust) = Document::parse(&role.trust, Kind::Trust) else { return false };
    let trusts = |arns: &[&str]| {
        let presenter = Presenter::Identity { account: caller.account().as_str(), arns };
        trust.trusts(presenter, action, &keys)
    };
    let arns = caller.identity.trusted_arns(caller.account());
    let Ok(how) = trusts(&arns.iter().map(String::as_str).collect::<Vec<_>>()) else { return false };
    let own = access::verdicts(ctx, snapshot, caller, (action, &wanted.role_arn, Some(&role.tags)), &keys);
    if own.is_explicit() {
        return false;
    }
    // One of the same account who is named needs no policy of his own. Source: the IAM user guide, "Determining whether a request is
    // allowed or denied within an account": that a role is named does not lift what cuts down its session, only that the
    // session is.
    let named = how == Trusted::ByName && *caller.account() == role.account;
    let session_named = named && trusts(&[&caller.principal]) == Ok(Trusted::ByName);
    (named || own.own.is_ok()) && (session_named || own.session.is_ok())
}
