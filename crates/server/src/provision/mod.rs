//! What the containers of a task are given when it starts: secrets, variables of files, credentials of registries. Found when the
//! agent asks, told it over its session, and kept nowhere.
//!
//! Errors are the task's stop reason, in AWS's words as far as they say what happened here; none holds a value.

mod file_systems;
mod files;
mod rights;
mod secrets;

use crate::{api::vaults, context::Context, vault::Content};
use link::{Login, Provided, Provision};
use model::{
    ContainerDefinition, ContainerSecret, Firelens, RouterConfig, Scope, Task, TaskDefinitionSpec, vault::Plain,
};
use serde::Deserialize;
use state::Snapshot;

pub use files::Bucket;

use rights::Rights;

/// Names and values of all containers of a task together: what a process can be given as its environment is half of that, and in JSON,
/// where a control character takes six bytes, it still fits a frame of the link.
const MAX_BYTES: usize = 4 << 20;

/// What the containers of a task are given.
///
/// # Errors
/// Why the task cannot start.
pub(crate) async fn of(ctx: &Context, snapshot: &Snapshot, task: &Task) -> Result<Provision, String> {
    let Some(definition) = snapshot.task_definition(&task.definition) else { return Ok(Provision::default()) };
    let mut spec = TaskDefinitionSpec::clone(&definition.spec);
    spec.containers = spec.containers_with(&task.overrides);
    let rights = Rights::of(snapshot, task, &spec, ctx.effects.now())?;
    rights.may_log(task, &spec)?;
    let mut provision = Provision::default();
    let mut bytes = 0;
    for container in spec.containers.iter().filter(|container| container.needs_provision()) {
        let provided = one(ctx, snapshot, &task.arn.cluster.scope, &rights, container).await?;
        let pairs = provided.secrets.iter().chain(&provided.log_options).map(|(name, value)| (name, value));
        let given = provided.files.iter().chain(pairs);
        bytes += provided.router_config.as_ref().map_or(0, |text| text.reveal().len());
        bytes += given.map(|(name, value)| name.len() + value.reveal().len()).sum::<usize>();
        if bytes > MAX_BYTES {
            let text = "the values of the task's secrets and environment files are too long together";
            return Err(format!("ResourceInitializationError: {text}"));
        }
        provision.containers.insert(container.name.clone(), provided);
    }
    file_systems::tell(&ctx.config, spec.efs_volumes(), &mut provision);
    Ok(provision)
}

/// What is still told of a task that has stopped: the secret options of its log drivers, since what is left of its output is sent on
/// by an agent that may be another process by now.
///
/// # Errors
/// Why that cannot be.
pub(crate) fn of_stopped(ctx: &Context, snapshot: &Snapshot, task: &Task) -> Result<Provision, String> {
    let mut provision = Provision { logs_only: true, ..Provision::default() };
    let Some(definition) = snapshot.task_definition(&task.definition) else { return Ok(provision) };
    let rights = Rights::of(snapshot, task, &definition.spec, ctx.effects.now())?;
    for container in &definition.spec.containers {
        let log_options = log_options(ctx, snapshot, &task.arn.cluster.scope, &rights, container)?;
        if !log_options.is_empty() {
            provision.containers.insert(container.name.clone(), Provided { log_options, ..Provided::default() });
        }
    }
    Ok(provision)
}

/// What the containers of a running task have as files, as it is now. A container of which that cannot be had is left out, and its
/// files stay as they are: those of the others follow all the same.
///
/// # Errors
/// Why that cannot be had of any.
pub(crate) fn secrets_as_files(ctx: &Context, snapshot: &Snapshot, task: &Task) -> Result<Provision, String> {
    let mut provision = Provision::default();
    let Some(definition) = snapshot.task_definition(&task.definition).filter(|_| task.holds_resources()) else {
        return Ok(provision);
    };
    let rights = Rights::of(snapshot, task, &definition.spec, ctx.effects.now())?;
    let (mut bytes, mut first) = (0, None);
    for container in definition.spec.containers.iter().filter(|container| container.secret_files().is_some()) {
        let found = secrets_of(ctx, snapshot, &task.arn.cluster.scope, &rights, container).and_then(|secrets| {
            let more = secrets.iter().map(|(name, value)| name.len() + value.reveal().len()).sum::<usize>();
            if bytes + more > MAX_BYTES {
                return Err(failed("the values of the task's secrets are too long together"));
            }
            bytes += more;
            Ok(secrets)
        });
        match found {
            Ok(secrets) => {
                let provided = Provided { secrets, ..Provided::default() };
                provision.containers.insert(container.name.clone(), provided);
            }
            Err(why) => {
                tracing::warn!(task = %task.arn, container = container.name, why, "a container's files keep the secrets they have");
                first = first.or(Some(why));
            }
        }
    }
    match first {
        Some(why) if provision.containers.is_empty() => Err(why),
        Some(_) | None => Ok(provision),
    }
}

fn secrets_of(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    rights: &Rights<'_>,
    container: &ContainerDefinition,
) -> Result<Vec<(String, Plain)>, String> {
    let one = |secret: &ContainerSecret| {
        Ok((secret.name.clone(), secrets::value(ctx, snapshot, scope, rights, &secret.value_from)?))
    };
    container.secrets.iter().map(one).collect()
}

fn log_options(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    rights: &Rights<'_>,
    container: &ContainerDefinition,
) -> Result<Vec<(String, Plain)>, String> {
    let secrets = container.log_configuration.iter().flat_map(|log| &log.secret_options);
    let one = |secret: &ContainerSecret| {
        Ok((secret.name.clone(), secrets::value(ctx, snapshot, scope, rights, &secret.value_from)?))
    };
    secrets.map(one).collect()
}

async fn one(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    rights: &Rights<'_>,
    container: &ContainerDefinition,
) -> Result<Provided, String> {
    let login = container.repository_credentials.as_ref();
    let login = login.map(|secret| login_of(ctx, snapshot, scope, rights, secret)).transpose()?;
    let secrets = secrets_of(ctx, snapshot, scope, rights, container)?;
    let log_options = log_options(ctx, snapshot, scope, rights, container)?;
    let router_config = match container.firelens.as_ref().and_then(Firelens::config) {
        Some(RouterConfig::S3(arn)) => Some(Plain::from(files::router_config(ctx, rights, &arn).await?)),
        Some(RouterConfig::File(_)) | None => None,
    };
    let files = files::variables(ctx, rights, &container.environment_files).await?;
    let files = files.into_iter().map(|(name, value)| (name, Plain::from(value))).collect();
    Ok(Provided { files, secrets, log_options, router_config, login })
}

/// AWS: how everything begins that went wrong with secrets.
pub(super) fn failed(what: impl std::fmt::Display) -> String {
    format!(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: {what}"
    )
}

/// The credentials that a secret holds as `{"username": ..., "password": ...}`.
fn login_of(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    rights: &Rights<'_>,
    secret: &str,
) -> Result<Login, String> {
    /// Of others it may hold as much as it likes.
    #[derive(Deserialize)]
    struct Credentials {
        username: Plain,
        password: Plain,
    }
    let auth = |why: &dyn std::fmt::Display| failed(format_args!("unable to get registry auth from asm: {why}"));
    let content = secrets::fetch(ctx, snapshot, scope, rights, (secret, None, None)).map_err(|why| auth(&why))?;
    let Content::Text(text) = content else { return Err(auth(&"the secret is binary")) };
    // serde's own words may quote what is in it.
    let read: Result<Credentials, _> = serde_json::from_str(text.reveal());
    let read = read.map_err(|_| auth(&"the secret is not JSON with a username and a password"))?;
    Ok(Login { username: read.username, password: read.password })
}

/// The scope's vault.
fn vault(snapshot: &Snapshot, scope: &Scope) -> std::sync::Arc<model::vault::Vault> {
    vaults::seen(snapshot, scope)
}
