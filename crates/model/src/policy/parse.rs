//! Reading policy documents, as strictly as IAM does when one is put.

use super::{
    Condition, Document, Effect, Listed, Principal, Statement,
    json::Json,
    pattern::{Pattern, Reading},
};

/// What a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An inline policy of a user or a role.
    Inline,
    /// A version of a managed policy.
    Managed,
    /// A role's `AssumeRolePolicyDocument`.
    Trust,
}

/// Why a text is no policy, in IAM's words. The code is `MalformedPolicyDocument`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The texts say it.
pub enum Malformed {
    #[error("Syntax errors in policy.")]
    Syntax,
    #[error("This policy contains invalid Json")]
    InvalidJson,
    #[error("Policy document must be version 2012-10-17 or greater.")]
    OldVersion,
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    SameSid,
    #[error("Policy statement must contain actions.")]
    NoActions,
    #[error("Policy statement must contain resources.")]
    NoResources,
    #[error("Policy document should not specify a principal.")]
    ForeignPrincipal,
    #[error("Has prohibited field {0}")]
    Prohibited(&'static str),
    #[error("Missing required field {0}")]
    Missing(&'static str),
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    NoVendor,
    #[error("Actions/Condition can contain only one colon.")]
    Colons,
    #[error("Vendor {0} is not valid")]
    Vendor(String),
    #[error("Resource {0} must be in ARN format or \"*\".")]
    Resource(String),
    #[error("Partition \"{0}\" is not valid for resource \"{1}\".")]
    Partition(String, String),
    #[error("AssumeRole policy may only specify STS AssumeRole actions.")]
    NotAssume,
    #[error("Invalid principal in policy: {0}")]
    Principal(String),
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// It is not one that IAM takes.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        // AWS: CreateRole and UpdateAssumeRolePolicy say it in words of their own.
        let not_json = if kind == Kind::Trust { Malformed::InvalidJson } else { Malformed::Syntax };
        let json = Json::read(text).ok_or(not_json)?;
        let members = json.object().ok_or(Malformed::Syntax)?;
        if members.iter().any(|(name, _)| !["Version", "Id", "Statement"].contains(&name.as_str())) {
            return Err(Malformed::Syntax);
        }
        let version = member(members, "Version").map(|version| version.text().ok_or(Malformed::Syntax)).transpose()?;
        let variables = match version {
            Some("2012-10-17") => true,
            None | Some("2008-10-17") => false,
            Some(_) => return Err(Malformed::Syntax),
        };
        if member(members, "Id").is_some_and(|id| id.text().is_none()) {
            return Err(Malformed::Syntax);
        }
        let statements = member(members, "Statement").ok_or(Malformed::Syntax)?;
        // AWS: only managed policies must be of the newer version.
        if kind == Kind::Managed && !variables {
            return Err(Malformed::OldVersion);
        }
        let statements = statements.each();
        if statements.is_empty() {
            return Err(Malformed::Syntax);
        }
        same_sids(statements)?;
        let statements = statements.iter().map(|json| statement(json, kind, variables));
        Ok(Self { statements: statements.collect::<Result<_, _>>()? })
    }
}

fn member<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn same_sids(statements: &[Json]) -> Result<(), Malformed> {
    let mut seen = Vec::new();
    for sid in statements.iter().filter_map(|json| member(json.object()?, "Sid")) {
        let sid = sid.text().ok_or(Malformed::Syntax)?;
        if !sid.is_empty() && seen.contains(&sid) {
            return Err(Malformed::SameSid);
        }
        seen.push(sid);
    }
    Ok(())
}

const MEMBERS: [&str; 9] =
    ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"];

fn statement(json: &Json, kind: Kind, variables: bool) -> Result<Statement, Malformed> {
    let members = json.object().ok_or(Malformed::Syntax)?;
    if members.iter().any(|(name, _)| !MEMBERS.contains(&name.as_str())) {
        return Err(Malformed::Syntax);
    }
    let effect = match member(members, "Effect") {
        None if kind == Kind::Trust => return Err(Malformed::Missing("Effect")),
        None => return Err(Malformed::Syntax),
        Some(effect) => match effect.text() {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            Some(_) | None => return Err(Malformed::Syntax),
        },
    };
    let actions = listed(members, "Action", "NotAction", texts)?.ok_or(Malformed::NoActions)?;
    let resources = listed(members, "Resource", "NotResource", texts)?;
    let principals = listed(members, "Principal", "NotPrincipal", principals)?;
    if actions.items.is_empty() {
        return Err(Malformed::NoActions);
    }
    actions.items.iter().try_for_each(|action| check_action(action, kind))?;
    let resources = match (kind, resources) {
        (Kind::Trust, None) => None,
        (Kind::Trust, Some(_)) => return Err(Malformed::Prohibited("Resource")),
        (Kind::Inline | Kind::Managed, given) => {
            let given = given.filter(|given| !given.items.is_empty()).ok_or(Malformed::NoResources)?;
            given.items.iter().try_for_each(|resource| check_resource(resource))?;
            Some(patterns(&given, variables)?)
        }
    };
    match (kind, &principals) {
        (Kind::Trust, None) => return Err(Malformed::Missing("Principal")),
        (Kind::Inline | Kind::Managed, Some(_)) => return Err(Malformed::ForeignPrincipal),
        (Kind::Trust, Some(_)) | (Kind::Inline | Kind::Managed, None) => {}
    }
    let conditions = match member(members, "Condition") {
        None => Vec::new(),
        Some(json) => conditions(json, variables)?,
    };
    let lower =
        Listed { except: actions.except, items: actions.items.iter().map(|a| a.to_ascii_lowercase()).collect() };
    Ok(Statement { effect, principals, actions: patterns(&lower, false)?, resources, conditions })
}

/// What a statement lists under a name or under the name for all others; both at once are an error.
fn listed<T>(
    members: &[(String, Json)],
    name: &str,
    other: &str,
    read: impl Fn(&Json) -> Result<Vec<T>, Malformed>,
) -> Result<Option<Listed<T>>, Malformed> {
    match (member(members, name), member(members, other)) {
        (None, None) => Ok(None),
        (Some(json), None) => Ok(Some(Listed { except: false, items: read(json)? })),
        (None, Some(json)) => Ok(Some(Listed { except: true, items: read(json)? })),
        (Some(_), Some(_)) => Err(Malformed::Syntax),
    }
}

fn texts(json: &Json) -> Result<Vec<String>, Malformed> {
    json.each().iter().map(|item| item.text().map(str::to_owned).ok_or(Malformed::Syntax)).collect()
}

fn patterns(given: &Listed<String>, variables: bool) -> Result<Listed<Pattern>, Malformed> {
    let read = |text: &String| Pattern::read(text, Reading { wildcards: true, variables }).ok_or(Malformed::Syntax);
    Ok(Listed { except: given.except, items: given.items.iter().map(read).collect::<Result<_, _>>()? })
}

fn check_action(action: &str, kind: Kind) -> Result<(), Malformed> {
    let vendor = match action.split_once(':') {
        _ if action == "*" && kind != Kind::Trust => return Ok(()),
        None if action == "*" => return Err(Malformed::NotAssume),
        None => return Err(Malformed::NoVendor),
        Some((_, name)) if name.contains(':') => return Err(Malformed::Colons),
        Some((vendor, _)) => vendor,
    };
    if vendor != "*" && !vendor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        return Err(Malformed::Vendor(vendor.to_owned()));
    }
    // AWS: a role's trust is about nothing but becoming it.
    let of_sts = vendor.eq_ignore_ascii_case("sts");
    if kind == Kind::Trust && !of_sts { Err(Malformed::NotAssume) } else { Ok(()) }
}

fn check_resource(resource: &str) -> Result<(), Malformed> {
    if resource == "*" {
        return Ok(());
    }
    let rest = resource.strip_prefix("arn:").ok_or_else(|| Malformed::Resource(resource.to_owned()))?;
    let (partition, _) = rest.split_once(':').ok_or_else(|| Malformed::Resource(resource.to_owned()))?;
    // One region of one partition is all that there is here; a wildcard means it too.
    if partition == "*" || partition == "aws" {
        return Ok(());
    }
    Err(Malformed::Partition(partition.to_owned(), resource.to_owned()))
}

fn conditions(json: &Json, variables: bool) -> Result<Vec<Condition>, Malformed> {
    let mut found = Vec::new();
    for (operator, keys) in json.object().ok_or(Malformed::Syntax)? {
        for (key, values) in keys.object().ok_or(Malformed::Syntax)? {
            let values: Option<Vec<&str>> = values.each().iter().map(scalar).collect();
            let values = values.filter(|values| !values.is_empty()).ok_or(Malformed::Syntax)?;
            if !key.contains(':') {
                return Err(Malformed::NoVendor);
            }
            let condition = Condition::read(operator, key, values.into_iter(), variables);
            found.push(condition.ok_or(Malformed::Syntax)?);
        }
    }
    Ok(found)
}

fn scalar(json: &Json) -> Option<&str> {
    match json {
        Json::Text(text) | Json::Scalar(text) => Some(text),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

fn principals(json: &Json) -> Result<Vec<Principal>, Malformed> {
    if json.text() == Some("*") {
        return Ok(vec![Principal::Everyone]);
    }
    let mut found = Vec::new();
    for (kind, names) in json.object().ok_or(Malformed::Syntax)? {
        for name in texts(names)? {
            let invalid = || Malformed::Principal(format!("\"{kind}\":\"{name}\""));
            found.push(match kind.as_str() {
                "AWS" => aws(&name).ok_or_else(invalid)?,
                "Service" if name.contains('.') => Principal::Service(name),
                "Federated" => Principal::Federated(name),
                _ => return Err(invalid()),
            });
        }
    }
    if found.is_empty() { Err(Malformed::Missing("Principal")) } else { Ok(found) }
}

fn aws(name: &str) -> Option<Principal> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if name == "*" {
        return Some(Principal::Everyone);
    }
    if is_account(name) {
        return Some(Principal::Account(name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match parts[..] {
        ["arn", "aws", "iam", "", account, "root"] if is_account(account) => {
            Some(Principal::Account(account.to_owned()))
        }
        // AWS: a principal is somebody, so no wildcard stands for part of one.
        ["arn", "aws", "iam" | "sts", "", account, who] if is_account(account) && !who.contains('*') => {
            let kinds = ["user/", "role/", "assumed-role/", "federated-user/"];
            kinds.iter().any(|kind| who.starts_with(kind)).then(|| Principal::Arn(name.to_owned()))
        }
        _ => None,
    }
}
