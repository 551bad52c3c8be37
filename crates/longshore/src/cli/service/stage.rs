//! Deployments in stages (BLUE_GREEN): where one is, what it waits for, and who can let it go on. Pure.

use super::{
    facts::{Hold, Hook, Kind, Lifecycle},
    judge::Seen,
};
use crate::cli::status::{
    facts::Level,
    judge::{lasting, millis, rfc3339},
};
use jiff::Timestamp;
use shapes::ecs;

/// The stage in which old tasks go. Source: "Lifecycle stages" in the developer guide.
const CLEAN_UP: &str = "CLEAN_UP";
/// The stage in which both revisions stand for a while.
const BAKE_TIME: &str = "BAKE_TIME";

/// The stage that a deployment is in; none if it is over, or has no stages.
pub(in crate::cli) fn stage(story: &ecs::ServiceDeployment) -> Option<&str> {
    let on_its_way = matches!(
        story.status.as_deref(),
        Some("PENDING" | "IN_PROGRESS" | "STOP_REQUESTED" | "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS")
    );
    story.lifecycle_stage.as_deref().filter(|_| on_its_way)
}

/// Its hooks of that status.
fn hooks<'a>(
    story: &'a ecs::ServiceDeployment,
    status: &'a str,
) -> impl Iterator<Item = &'a ecs::DeploymentLifecycleHookDetail> {
    story.lifecycle_hook_details.iter().flatten().filter(move |hook| hook.status.as_deref() == Some(status))
}

/// The ids of the hooks that await an action of somebody's.
pub(in crate::cli) fn awaiting(story: &ecs::ServiceDeployment) -> Vec<&str> {
    let open = stage(story).into_iter().flat_map(|_| hooks(story, "AWAITING_ACTION"));
    open.filter_map(|hook| hook.hook_id.as_deref()).collect()
}

/// As it is shown.
pub(super) fn lifecycle(story: &ecs::ServiceDeployment) -> Option<Lifecycle> {
    let hook = |hook: &ecs::DeploymentLifecycleHookDetail| Hook {
        id: hook.hook_id.clone().unwrap_or_default(),
        status: hook.status.clone().unwrap_or_default(),
        target_type: hook.target_type.clone().unwrap_or_default(),
        expires_at: millis(hook.expires_at).map(rfc3339),
        timeout_action: hook.timeout_action.clone(),
    };
    let hooks = story.lifecycle_hook_details.iter().flatten().map(hook).collect();
    Some(Lifecycle { stage: stage(story)?.to_owned(), hooks })
}

/// What the deployment waits for that is no task. `proceed` is the command that lets it go on.
pub(in crate::cli) fn waits(story: &ecs::ServiceDeployment, proceed: &str, now: Timestamp) -> Vec<Hold> {
    let Some(stage) = stage(story) else { return Vec::new() };
    let several = awaiting(story).len() > 1;
    let paused = hooks(story, "AWAITING_ACTION").map(|hook| {
        let id = hook.hook_id.as_deref().unwrap_or_default();
        let which = if several { format!(" --hook {id}") } else { String::new() };
        Hold {
            level: Level::Warning,
            kind: Kind::HookAwaitsAction,
            what: format!("the deployment is paused in the stage {stage}: hook {id} awaits an action"),
            why: otherwise(hook, "nobody acts", now),
            next: Some(format!("{proceed}{which}; with --rollback it goes back instead")),
        }
    });
    // What is asked there may be a URL that holds a secret, so only the hook is named.
    let asked = hooks(story, "IN_PROGRESS").map(|hook| {
        let id = hook.hook_id.as_deref().unwrap_or_default();
        let what = format!("the deployment waits in the stage {stage} for what hook {id} decides");
        let why = otherwise(hook, "it does not", now);
        Hold { level: Level::Notice, kind: Kind::HookInProgress, what, why, next: None }
    });
    let minutes = story.deployment_configuration.as_ref().and_then(|how| how.bake_time_in_minutes);
    let baking = (stage == BAKE_TIME).then(|| Hold {
        level: Level::Notice,
        kind: Kind::Baking,
        what: match minutes {
            Some(minutes) => format!("the deployment bakes: both revisions stay for {minutes} min"),
            None => "the deployment bakes: both revisions stay".to_owned(),
        },
        why: None,
        next: None,
    });
    paused.chain(asked).chain(baking).collect()
}

/// What comes of a hook when its time is up.
fn otherwise(hook: &ecs::DeploymentLifecycleHookDetail, silence: &str, now: Timestamp) -> Option<String> {
    let left = lasting(millis(hook.expires_at)?.as_second() - now.as_second());
    let goes = if hook.timeout_action.as_deref() == Some("CONTINUE") { "on" } else { "back" };
    Some(format!("if {silence} within {left}, it goes {goes}"))
}

impl Seen<'_> {
    /// What it waits for that is no task.
    pub(super) fn stage_waits(&self) -> Vec<Hold> {
        let proceed = format!("longshore service continue {} --cluster {}", self.name(), self.cluster);
        self.story.map(|story| waits(story, &proceed, self.now)).unwrap_or_default()
    }

    /// Whether tasks of more than one revision are to stand as they do.
    pub(super) fn keeps_both(&self) -> bool {
        self.story.and_then(stage).is_some_and(|stage| stage != CLEAN_UP)
    }
}
