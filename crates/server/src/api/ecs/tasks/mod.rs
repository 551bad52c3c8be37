//! Tasks: RunTask, StartTask, StopTask, DescribeTasks, ListTasks.

mod query;
mod render;
mod request;
mod run;
mod stop;

pub(crate) use query::{describe, list};
pub(crate) use render::task as rendered;

pub(crate) use request::{Intent, Launch};
pub(crate) use run::{candidates, run_task, start_task, view};
pub(crate) use stop::stop;

use crate::api::honoured::{Row, row};

/// What the task operations honour.
pub(crate) const HONOURED: &[Row] = &[
    row(
        "RunTask",
        &[
            "capacityProviderStrategy.*",
            "clientToken",
            "cluster",
            "count",
            "enableECSManagedTags",
            "enableExecuteCommand",
            "group",
            "launchType",
            "networkConfiguration.*",
            "overrides.containerOverrides.name",
            "overrides.containerOverrides.command",
            "overrides.containerOverrides.environment.*",
            "overrides.containerOverrides.environmentFiles.*",
            "overrides.containerOverrides.cpu",
            "overrides.containerOverrides.memory",
            "overrides.containerOverrides.memoryReservation",
            "overrides.containerOverrides.resourceRequirements.type",
            "overrides.containerOverrides.resourceRequirements.value",
            "overrides.cpu",
            "overrides.ephemeralStorage.sizeInGiB",
            "overrides.memory",
            "overrides.executionRoleArn",
            "overrides.taskRoleArn",
            "placementConstraints.*",
            "placementStrategy.*",
            "platformVersion",
            "propagateTags",
            // AWS: "only used by Amazon ECS", and shown nowhere: there is nothing to honour.
            "referenceId",
            "startedBy",
            "tags.*",
            "taskDefinition",
            "volumeConfigurations.managedEBSVolume.encrypted",
            "volumeConfigurations.managedEBSVolume.filesystemType",
            "volumeConfigurations.managedEBSVolume.roleArn",
            "volumeConfigurations.managedEBSVolume.sizeInGiB",
            "volumeConfigurations.managedEBSVolume.terminationPolicy.deleteOnTermination",
            "volumeConfigurations.managedEBSVolume.volumeType",
            "volumeConfigurations.name",
        ],
    ),
    row(
        "StartTask",
        &[
            "cluster",
            "containerInstances",
            "enableECSManagedTags",
            "enableExecuteCommand",
            "group",
            "networkConfiguration.*",
            "overrides.containerOverrides.name",
            "overrides.containerOverrides.command",
            "overrides.containerOverrides.environment.*",
            "overrides.containerOverrides.environmentFiles.*",
            "overrides.containerOverrides.cpu",
            "overrides.containerOverrides.memory",
            "overrides.containerOverrides.memoryReservation",
            "overrides.containerOverrides.resourceRequirements.type",
            "overrides.containerOverrides.resourceRequirements.value",
            "overrides.cpu",
            "overrides.memory",
            "overrides.executionRoleArn",
            "overrides.taskRoleArn",
            "propagateTags",
            "referenceId",
            "startedBy",
            "tags.*",
            "taskDefinition",
            "volumeConfigurations.managedEBSVolume.encrypted",
            "volumeConfigurations.managedEBSVolume.filesystemType",
            "volumeConfigurations.managedEBSVolume.roleArn",
            "volumeConfigurations.managedEBSVolume.sizeInGiB",
            "volumeConfigurations.managedEBSVolume.terminationPolicy.deleteOnTermination",
            "volumeConfigurations.managedEBSVolume.volumeType",
            "volumeConfigurations.name",
        ],
    ),
    row("StopTask", &["cluster", "reason", "task"]),
    row("DescribeTasks", &["cluster", "include", "tasks"]),
    row(
        "ListTasks",
        &[
            "cluster",
            "containerInstance",
            "desiredStatus",
            "family",
            "launchType",
            "maxResults",
            "nextToken",
            "serviceName",
            "startedBy",
        ],
    ),
];
