//! What agents ask on behalf of their tasks. Nothing here decides: a task's wish is the API's operation.

use crate::{api::ecs::services, context::Context};
use link::{Answer, Question};
use model::ContainerInstanceArn;

/// Answers a question of an instance about one of its tasks; of others it learns nothing.
pub(super) async fn answer(ctx: &Context, instance: &ContainerInstanceArn, question: Question) -> Answer {
    let snapshot = ctx.store.snapshot();
    let task = snapshot
        .task(question.task())
        .filter(|task| task.container_instance == instance.id && task.arn.cluster == instance.cluster);
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
        Question::Protect { enabled, minutes, .. } => services::protect(ctx, &snapshot, &task, enabled, minutes).await,
    }
}
