//! What several test files need.

use link::Assignment;
use model::{ContainerDefinition, Desired, Family, MemoryMib, TaskDefinitionSpec, TaskOverrides};
use std::sync::Arc;

/// Task number `n` with these containers, all essential.
pub(crate) fn assignment(n: u32, containers: &[&str]) -> (Assignment, Arc<TaskDefinitionSpec>) {
    let task: model::TaskArn = format!("arn:aws:ecs:us-east-1:123456789012:task/demo/{n:08x}bbbbccccddddeeeeffff0000")
        .parse()
        .expect("an ARN");
    let container = |name: &&str| ContainerDefinition {
        name: (*name).to_owned(),
        image: "busybox".to_owned(),
        memory: Some(MemoryMib(32)),
        essential: true,
        ..ContainerDefinition::default()
    };
    let definition = TaskDefinitionSpec {
        family: Family::parse("web").expect("a family"),
        network_mode: None,
        cpu: None,
        memory: None,
        requires_compatibilities: Vec::new(),
        execution_role_arn: None,
        runtime_platform: None,
        placement_constraints: Vec::new(),
        containers: containers.iter().map(container).collect(),
    };
    let uuid = |i: usize| format!("{i:08x}-{n:04x}-4000-8000-000000000000");
    let assignment = Assignment {
        task,
        definition: "arn:aws:ecs:us-east-1:123456789012:task-definition/web:3".parse().expect("an ARN"),
        overrides: TaskOverrides::default(),
        desired: Desired::Running,
        group: "family:web".into(),
        container_ids: containers.iter().enumerate().map(|(i, name)| ((*name).into(), uuid(i).into())).collect(),
    };
    (assignment, Arc::new(definition))
}
