//! Upkeep of secrets: wraps values and the secrets of access keys by the newest key, and deletes secrets whose time to be restored is over.
//!
//! Both are commits like any other, and bounded. A server that is killed goes on where it was: the older key is in the file until
//! nothing names it.

use crate::{context::Context, vault::KeysError};
use model::{
    AccountId, Scope, iam,
    vault::{Edit, Value},
};
use state::{Command, CommitError, IamChange, VaultChange};
use std::{collections::BTreeMap, time::Duration};

/// Between two looks at the file of keys: one `stat`.
const EVERY: Duration = Duration::from_secs(2);
/// Looks between two at what is to be deleted: AWS says that it is not at once.
const DELETE_EVERY: u32 = 15;
/// Values that one commit wraps anew: some MiB at most, if all are as long as values may be.
const BATCH: usize = 50;

/// Runs until shutdown.
pub(crate) async fn run(ctx: Context) {
    report_unknown(&ctx);
    let mut looks = 0u32;
    loop {
        if let Err(error) = look(&ctx).await {
            tracing::error!(error = &error as &dyn std::error::Error, "secrets cannot be wrapped by the newest key");
        }
        if looks.is_multiple_of(DELETE_EVERY) {
            delete(&ctx).await;
        }
        looks = looks.wrapping_add(1);
        if !ctx.effects.sleep_unless_stopped(EVERY).await {
            return;
        }
    }
}

/// Values that nobody can open are not found out about when a task needs them.
fn report_unknown(ctx: &Context) {
    let snapshot = ctx.store.snapshot();
    let mut unknown: BTreeMap<&str, usize> = BTreeMap::new();
    for value in snapshot.vaults().flat_map(|(_, vault)| vault.values()) {
        if !ctx.vault.knows(&value.sealed.key) {
            *unknown.entry(&value.sealed.key).or_default() += 1;
        }
    }
    for access_key in snapshot.directories().flat_map(|(_, directory)| directory.access_keys()) {
        if !ctx.vault.knows(&access_key.secret.key) {
            *unknown.entry(&access_key.secret.key).or_default() += 1;
        }
    }
    for (key, values) in unknown {
        tracing::error!(key, values, "secrets are sealed with a key that is not in the file of keys; put that back");
    }
}

/// Wraps what older keys wrap, and then drops those keys.
async fn look(ctx: &Context) -> Result<(), KeysError> {
    ctx.vault.refresh()?;
    if !ctx.vault.has_old_keys() {
        return Ok(());
    }
    let settled = ctx.vault.is_settled();
    // Behind all that is waiting to be written, and was sealed by an older key: this changes nothing itself.
    if ctx.store.commit(Command::ForgetTasks { tasks: Vec::new() }).await.is_err() {
        return Ok(());
    }
    let snapshot = ctx.store.snapshot();
    let mut left = !settled;
    for (scope, vault) in snapshot.vaults() {
        let old = vault.values().filter(|value| value.sealed.key != ctx.vault.current());
        let old: Vec<Value> = old.map(|value| Value::clone(value)).collect();
        for batch in old.chunks(BATCH) {
            left |= !wrap(ctx, scope, batch).await;
        }
    }
    for (account, directory) in snapshot.directories() {
        let old = directory.access_keys().filter(|key| key.secret.key != ctx.vault.current());
        let old: Vec<iam::AccessKey> = old.map(|key| iam::AccessKey::clone(key)).collect();
        for batch in old.chunks(BATCH) {
            left |= !wrap_keys(ctx, account, batch).await;
        }
    }
    if left {
        return Ok(());
    }
    tracing::info!(key = ctx.vault.current(), "all secrets are wrapped by the newest key; the older ones go");
    ctx.vault.forget_old(&ctx.effects)
}

/// True if all of them are wrapped by the newest key, or can never be.
async fn wrap(ctx: &Context, scope: &Scope, values: &[Value]) -> bool {
    let changed = change(ctx, scope, |edit| {
        for value in values {
            // What was replaced or deleted meanwhile is left alone.
            if edit.vault().value(&value.key()).is_some_and(|now| **now == *value)
                && let Ok(Some(wrapped)) = ctx.vault.rewrap(value, &ctx.effects)
            {
                edit.put(wrapped);
            }
        }
    });
    changed.await
}

/// The same of access keys' secrets.
async fn wrap_keys(ctx: &Context, account: &AccountId, keys: &[iam::AccessKey]) -> bool {
    let directory = ctx.store.snapshot().directory(account).map(|known| (**known).clone()).unwrap_or_default();
    let on = directory.version;
    let mut edit = iam::Edit::new(directory);
    for key in keys {
        if edit.directory().access_key(&key.id).is_some_and(|now| **now == *key)
            && let Ok(Some(wrapped)) = ctx.vault.rewrap_key(key, &ctx.effects)
        {
            edit.put(wrapped);
        }
    }
    let Some((put, remove)) = edit.finish() else { return true };
    let change = IamChange { account: account.clone(), on, put, remove };
    settled(ctx.store.commit(Command::ChangeIam(Box::new(change))).await)
}

fn settled<T>(result: Result<T, CommitError>) -> bool {
    match result {
        Ok(_) => true,
        Err(CommitError::Rejected(_)) => false,
        Err(error) => {
            tracing::warn!(%error, "secrets cannot be kept up; it is tried again");
            false
        }
    }
}

async fn delete(ctx: &Context) {
    let (snapshot, now) = (ctx.store.snapshot(), ctx.effects.now());
    for (scope, vault) in snapshot.vaults() {
        let due = |at: Option<model::Timestamp>| at.is_some_and(|at| at <= now);
        if vault.secrets().any(|secret| due(secret.delete_at)) {
            let done = change(ctx, scope, |edit| {
                let gone: Vec<_> = edit.vault().secrets().filter(|s| due(s.delete_at)).cloned().collect();
                gone.iter().for_each(|secret| edit.remove_secret(secret));
            });
            done.await;
        }
    }
}

/// One commit; one that is refused waits for the next look. True if it was not.
async fn change(ctx: &Context, scope: &Scope, decide: impl FnOnce(&mut Edit)) -> bool {
    let vault = ctx.store.snapshot().vault(scope).map(|vault| (**vault).clone()).unwrap_or_default();
    let on = vault.version;
    let mut edit = Edit::new(vault);
    decide(&mut edit);
    let Some((put, remove)) = edit.finish() else { return true };
    let change = VaultChange { scope: scope.clone(), on, put, remove };
    settled(ctx.store.commit(Command::ChangeVault(Box::new(change))).await)
}
