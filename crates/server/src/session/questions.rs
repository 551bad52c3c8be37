//! What agents ask on behalf of their tasks. Nothing here decides: a task's wish is the API's operation.

use crate::{api::ecs::services, context::Context, provision, roles};
use link::{Answer, Identity, Question};

/// Answers a question of an instance, which its certificate names, about one of its tasks; of others it learns nothing.
pub(super) async fn answer(ctx: &Context, asks: &Identity, question: Question) -> Answer {
    let (snapshot, instance) = (ctx.store.snapshot(), &asks.container_instance);
    let Some(about) = question.task() else { return roles::of_instance(ctx, &snapshot, asks) };
    let task = snapshot.task(about).filter(|task| task.instance_arn().as_ref() == Some(instance));
    let Some(task) = task.cloned() else {
        let message = "The task is not one of this container instance.".to_owned();
        return Answer::Refused { status: 404, code: "ResourceNotFoundException".into(), message };
    };
    match question {
        Question::Tags { .. } => Answer::Tags {
            task: task.tags.clone(),
            container_instance: snapshot.instance(instance).map(|row| row.instance.tags.clone()).unwrap_or_default(),
        },
        Question::Protection { .. } => services::protection_of(ctx, &snapshot, &task),
        Question::Credentials { .. } => roles::of_task(ctx, &snapshot, &task),
        Question::InstanceCredentials {} => roles::of_instance(ctx, &snapshot, asks),
        Question::Provision { .. } if !task.holds_resources() => match provision::of_stopped(ctx, &snapshot, &task) {
            Ok(provision) => Answer::Provision(provision),
            Err(reason) => Answer::Unprovided { reason },
        },
        Question::Provision { .. } => match provision::of(ctx, &snapshot, &task).await {
            Ok(provision) => Answer::Provision(provision),
            Err(reason) => Answer::Unprovided { reason },
        },
        Question::Secrets { .. } => match provision::secrets_as_files(ctx, &snapshot, &task) {
            Ok(provision) => Answer::Provision(provision),
            Err(reason) => Answer::Unprovided { reason },
        },
        Question::Protect { enabled, minutes, .. } => services::protect(ctx, &snapshot, &task, enabled, minutes).await,
    }
}
