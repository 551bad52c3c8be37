//! From what was decided about a service to the one command that makes it so: ids and time are stamped here.

use crate::context::Context;
use model::{
    DeploymentId, RevisionImage, Service, ServiceDeploymentId, ServiceEvent, ServiceRevision, ServiceRevisionArn,
    TaskDefinition, Timestamp,
};
use scheduler::service::{
    Told,
    deploy::{Begun, NewDeployment, Turned},
    task_sets::Changed,
};
use state::{Basis, ServiceChange};

/// The ids of a deployment to come.
pub(super) fn new_deployment(ctx: &Context) -> NewDeployment {
    let id = ServiceDeploymentId::parse(ctx.effects.alphanumeric21()).expect("21 letters and digits");
    NewDeployment { id: DeploymentId::of(ctx.effects.random()), service_deployment: id }
}

/// A change of the record alone.
pub(super) fn record(ctx: &Context, on: Basis, service: Service, told: Vec<Told>, at: Timestamp) -> ServiceChange {
    let event =
        |told: Told| ServiceEvent { id: ctx.effects.uuid().into(), at, name: told.name, message: told.message.into() };
    ServiceChange {
        on,
        service,
        revisions: Vec::new(),
        deployments: Vec::new(),
        events: told.into_iter().map(event).collect(),
        start: Vec::new(),
        stop: Vec::new(),
        at,
    }
}

/// A deployment begins: its revision is written down, its story opened, and the story before it closed.
pub(super) fn begun(
    ctx: &Context,
    on: Basis,
    begun: Begun,
    definition: &TaskDefinition,
    now: Timestamp,
) -> ServiceChange {
    let images = definition.spec.containers.iter().map(|container| RevisionImage {
        container: container.name.as_str().into(),
        image: container.image.as_str().into(),
        digest: None,
    });
    let revision = ServiceRevision {
        arn: ServiceRevisionArn { service: begun.service.arn.clone(), id: begun.story.target.id },
        created_at: now,
        spec: begun.spec,
        images: images.collect(),
    };
    let deployments = begun.superseded.into_iter().chain([begun.story]).collect();
    let change = record(ctx, on, begun.service, begun.events, now);
    ServiceChange { revisions: vec![revision], deployments, ..change }
}

/// A service's controller has changed its task sets.
pub(super) fn changed(ctx: &Context, on: Basis, changed: Changed, now: Timestamp) -> ServiceChange {
    record(ctx, on, changed.service, changed.events, now)
}

/// A deployment turns back or ends.
pub(super) fn turned(ctx: &Context, on: Basis, turned: Turned, now: Timestamp) -> ServiceChange {
    let change = record(ctx, on, turned.service, turned.events, now);
    ServiceChange { deployments: vec![turned.story], ..change }
}
