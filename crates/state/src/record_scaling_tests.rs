//! The stored form of launch templates, Auto Scaling groups and their capacity providers, and of what they say of others.

use super::{Record, definition_arn, machine, scope, tags, task};
use model::{
    Activity, ActivityKind, AutoScalingGroup, AutoScalingProvider, AwsvpcConfiguration, CapacityProvider, Desired,
    GroupMember, GroupTag, InstanceProfile, LaunchTemplate, LaunchTemplateData, LaunchTemplateVersion, ManagedScaling,
    Phase, PlacementConstraint, PlacementStrategy, TemplateChoice, TemplateMetadata, TemplateTags, TerminationPolicy,
    Timestamp, VersionChoice, Waiting, network::SubnetId,
};
use std::collections::BTreeMap;

fn template() -> Record {
    let set = |text: &str| Some(text.to_owned());
    let data = LaunchTemplateData {
        image_id: set("ami-1"),
        instance_type: set("t3.small"),
        key_name: set("ada"),
        user_data: set("IyEvYmluL3NoCg=="),
        security_group_ids: vec!["sg-1".to_owned()],
        security_groups: vec!["default".to_owned()],
        metadata_options: Some(TemplateMetadata {
            enabled: Some(true),
            tokens_required: Some(true),
            hop_limit: Some(2),
        }),
        instance_profile: Some(InstanceProfile { arn: None, name: set("ecsInstanceRole") }),
        tag_specifications: vec![TemplateTags { resource_type: "instance".to_owned(), tags: tags() }],
    };
    let by = "arn:aws:iam::123456789012:root";
    let version = |number, description: Option<String>, data| LaunchTemplateVersion {
        number,
        client_token: description.as_ref().map(|_| "t2".to_owned()),
        description,
        data,
        created_at: Timestamp(3),
        created_by: by.to_owned(),
    };
    Record::LaunchTemplate(
        LaunchTemplate {
            scope: scope(),
            id: "lt-00000000000000001".to_owned(),
            name: "web".to_owned(),
            default_version: 1,
            versions: vec![
                version(1, None, LaunchTemplateData::default()),
                version(2, Some("larger".to_owned()), data),
            ],
            client_token: Some("t".to_owned()),
            tags: tags(),
            created_at: Timestamp(2),
            created_by: by.to_owned(),
        }
        .into(),
    )
}

fn group() -> Record {
    let activity = |kind, ended_at, failure: Option<&str>| Activity {
        id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".to_owned(),
        kind,
        instance: "i-00000000000000001".to_owned(),
        cause: "At 1970-01-01T00:00:00Z an instance was started.".to_owned(),
        started_at: Timestamp(4),
        ended_at,
        failure: failure.map(str::to_owned),
    };
    Record::AutoScalingGroup(
        AutoScalingGroup {
            scope: scope(),
            name: "web".to_owned(),
            id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".to_owned(),
            version: 3,
            template: TemplateChoice {
                id: "lt-00000000000000001".to_owned(),
                name: "web".to_owned(),
                version: VersionChoice::Number(2),
            },
            min: 1,
            max: 5,
            desired: 2,
            subnets: vec!["subnet-1".to_owned(), "subnet-2".to_owned()],
            health_check_grace: 60,
            termination_policies: vec![TerminationPolicy::OldestInstance, TerminationPolicy::Default],
            protects_new: true,
            tags: BTreeMap::from([("a".to_owned(), GroupTag { value: "b".to_owned(), propagate: true })]),
            activities: vec![
                activity(ActivityKind::Launch, Some(Timestamp(5)), Some("no room")),
                activity(ActivityKind::Terminate, None, None),
            ],
            deleting: true,
            created_at: Timestamp(3),
        }
        .into(),
    )
}

fn provider() -> Record {
    Record::CapacityProvider(
        AutoScalingProvider {
            scope: scope(),
            name: "spare".into(),
            group: "web".to_owned(),
            group_arn: "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:u:autoScalingGroupName/web"
                .to_owned(),
            managed_scaling: ManagedScaling {
                enabled: true,
                target_capacity: 80,
                min_step: 2,
                max_step: 10,
                warmup: 60,
            },
            protects_tasks: true,
            drains: false,
            deleted: true,
            updated: true,
            tags: tags(),
            created_at: Timestamp(4),
        }
        .into(),
    )
}

pub(super) fn examples() -> Vec<Record> {
    vec![template(), group(), provider()]
}

/// A machine of a group.
pub(super) fn grouped_machine() -> Record {
    let Record::Machine(mut machine) = machine() else { unreachable!() };
    std::sync::Arc::make_mut(&mut machine).group = Some(Box::new(GroupMember {
        name: "web".to_owned(),
        template_id: "lt-00000000000000001".to_owned(),
        template_name: "web".to_owned(),
        template_version: 2,
        protected: true,
        draining_since: Some(Timestamp(9)),
    }));
    Record::Machine(machine)
}

/// A task that waits for an instance of its capacity provider.
pub(super) fn waiting_task() -> Record {
    let Record::Task(mut task) = task() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut task);
    own.definition = definition_arn();
    own.container_instance = None;
    own.availability_zone = None;
    own.capacity_provider = Some(CapacityProvider::named("spare"));
    own.waiting = Some(Box::new(Waiting {
        constraints: vec![PlacementConstraint { kind: "distinctInstance".into(), expression: None }],
        strategy: vec![PlacementStrategy { kind: "binpack".into(), field: Some("memory".into()) }],
        network: Some(
            AwsvpcConfiguration {
                subnets: vec![SubnetId::parse("subnet-000000000000000b1").unwrap()],
                security_groups: Vec::new(),
                assign_public_ip: true,
            }
            .into(),
        ),
    }));
    (own.desired, own.phase) = (Desired::Running, Phase::Pending);
    Record::Task(task)
}
