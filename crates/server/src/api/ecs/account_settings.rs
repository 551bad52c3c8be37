//! Account settings. `containerInsights` decides what new clusters start with; the others are kept and shown, because
//! clients ask for them before they do things (the ECS CLI tags only where ARNs are long).

use crate::api::ApiError;
use crate::api::honoured::{Row, row};
use crate::api::paging::{Pages, limit};
use crate::context::{Caller, Context};
use model::{AccountSetting, SettingName};
use shapes::ecs as aws;
use state::{Command, Snapshot};

pub(crate) const HONOURED: &[Row] = &[
    row("PutAccountSetting", &["name", "principalArn", "value"]),
    row("PutAccountSettingDefault", &["name", "value"]),
    row("DeleteAccountSetting", &["name", "principalArn"]),
    row("ListAccountSettings", &["effectiveSettings", "maxResults", "name", "nextToken", "principalArn", "value"]),
];

/// Settings of one page. Source: the model's documentation.
const MAX_LISTED: usize = 10;

/// What a setting is for a caller: the principal's choice, else the account's, else AWS's default.
pub(crate) fn effective(snapshot: &Snapshot, caller: &Caller, name: SettingName) -> String {
    value_for(snapshot, caller, name, principal(caller, None).as_deref())
}

fn value_for(snapshot: &Snapshot, caller: &Caller, name: SettingName, principal: Option<&str>) -> String {
    let own = principal.and_then(|principal| snapshot.setting(&caller.scope, name, Some(principal)));
    let chosen = own.or_else(|| snapshot.setting(&caller.scope, name, None));
    chosen.map_or_else(|| name.default_value().to_owned(), |setting| setting.value.clone())
}

fn root(caller: &Caller) -> String {
    format!("arn:aws:iam::{}:root", caller.account())
}

/// Whose setting is meant. AWS: what root sets or asks for is the account's default.
fn principal(caller: &Caller, given: Option<&str>) -> Option<String> {
    let meant = given.filter(|given| !given.is_empty()).unwrap_or(&caller.principal);
    (meant != root(caller)).then(|| meant.to_owned())
}

fn name(given: Option<&str>) -> Result<SettingName, ApiError> {
    let text = given.unwrap_or_default();
    SettingName::parse(text).ok_or_else(|| ApiError::invalid(format!("Invalid account setting name '{text}'.")))
}

pub(crate) async fn put(
    ctx: &Context,
    caller: &Caller,
    request: &aws::PutAccountSettingRequest,
) -> Result<aws::PutAccountSettingResponse, ApiError> {
    let principal = principal(caller, request.principal_arn.as_deref());
    let setting = choose(ctx, caller, request.name.as_deref(), request.value.as_deref(), principal).await?;
    Ok(aws::PutAccountSettingResponse { setting: Some(setting) })
}

pub(crate) async fn put_default(
    ctx: &Context,
    caller: &Caller,
    request: &aws::PutAccountSettingDefaultRequest,
) -> Result<aws::PutAccountSettingDefaultResponse, ApiError> {
    let setting = choose(ctx, caller, request.name.as_deref(), request.value.as_deref(), None).await?;
    Ok(aws::PutAccountSettingDefaultResponse { setting: Some(setting) })
}

async fn choose(
    ctx: &Context,
    caller: &Caller,
    given: Option<&str>,
    value: Option<&str>,
    principal: Option<String>,
) -> Result<aws::Setting, ApiError> {
    let name = name(given)?;
    let value = value.unwrap_or_default();
    let allowed: &[&str] = match name {
        SettingName::ServiceLongArnFormat
        | SettingName::TaskLongArnFormat
        | SettingName::ContainerInstanceLongArnFormat
        | SettingName::AwsvpcTrunking
        | SettingName::FargateFipsMode
        | SettingName::FargateEventWindows => &["enabled", "disabled"],
        SettingName::ContainerInsights => &["enabled", "disabled", "enhanced"],
        SettingName::TagResourceAuthorization => &["on", "off"],
        SettingName::FargateTaskRetirementWaitPeriod => &["0", "7", "14"],
        SettingName::DefaultLogDriverMode => &["blocking", "non-blocking"],
        SettingName::GuardDutyActivate => {
            return Err(ApiError::invalid("The account setting guardDutyActivate is read-only."));
        }
    };
    if !allowed.contains(&value) {
        let text = format!("Invalid value '{value}' for account setting {}: {}.", name.as_str(), allowed.join(", "));
        return Err(ApiError::invalid(text));
    }
    let setting = AccountSetting { name, value: value.to_owned(), principal };
    let shown = render(caller, name, setting.value.clone(), setting.principal.as_deref());
    ctx.store.commit(Command::PutAccountSetting { scope: caller.scope.clone(), setting }).await?;
    Ok(shown)
}

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeleteAccountSettingRequest,
) -> Result<aws::DeleteAccountSettingResponse, ApiError> {
    let name = name(request.name.as_deref())?;
    let principal = principal(caller, request.principal_arn.as_deref());
    let scope = caller.scope.clone();
    let committed =
        ctx.store.commit(Command::DeleteAccountSetting { scope, name, principal: principal.clone() }).await?;
    // What holds from now on, as AWS answers.
    let value = value_for(&committed.snapshot, caller, name, principal.as_deref());
    let setting = render(caller, name, value, principal.as_deref());
    Ok(aws::DeleteAccountSettingResponse { setting: Some(setting) })
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListAccountSettingsRequest,
) -> Result<aws::ListAccountSettingsResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let named = request.name.as_deref().filter(|name| !name.is_empty()).map(|given| name(Some(given))).transpose()?;
    let value = request.value.as_deref().filter(|value| !value.is_empty());
    let principal = principal(caller, request.principal_arn.as_deref());
    let pages = Pages::of("ListAccountSettings", &caller.scope);
    let after = pages.cursor(request.next_token.as_deref())?;
    let snapshot = ctx.store.snapshot();
    // A setting asked for by name is told even when nobody ever chose it: old clients take its absence for a failure.
    let effective = request.effective_settings == Some(true) || named.is_some();
    let all = SettingName::ALL.into_iter().filter(|name| named.is_none_or(|named| named == *name));
    let all = all.filter(|name| effective || snapshot.setting(&caller.scope, *name, principal.as_deref()).is_some());
    let all = all.map(|name| (name, value_for(&snapshot, caller, name, principal.as_deref())));
    let all = all.filter(|(_, is)| value.is_none_or(|value| value == is));
    let all = all.filter(|(name, _)| after.as_deref().is_none_or(|after| name.as_str() > after));
    let (page, next_token) = pages.cut(all, limit, |(name, _)| name.as_str().to_owned());
    let settings = page.into_iter().map(|(name, value)| render(caller, name, value, principal.as_deref())).collect();
    Ok(aws::ListAccountSettingsResponse { settings: Some(settings), next_token })
}

fn render(caller: &Caller, name: SettingName, value: String, principal: Option<&str>) -> aws::Setting {
    let kind = if name == SettingName::GuardDutyActivate { "aws_managed" } else { "user" };
    aws::Setting {
        name: Some(name.as_str().to_owned()),
        value: Some(value),
        principal_arn: Some(principal.map_or_else(|| root(caller), str::to_owned)),
        r#type: Some(kind.to_owned()),
    }
}
