//! ECS's nouns and laws, as closed types.
//!
//! Everything inside Longshore speaks these types; the all-optional strings of AWS's wire are turned into them once,
//! in `server::api`, and back once. This crate holds no I/O, no clock, no randomness, no logging and no wire type:
//! time, ids and chance are arguments. What is stored and what crosses to an agent is made of these types, so each
//! of them has a stable serde form.

pub mod account;
pub mod activation;
pub mod arn;
pub mod attachment;
pub mod attribute;
pub mod auto_scaling_group;
pub mod auto_scaling_provider;
pub mod capacity_provider;
pub mod cluster;
pub mod connect;
pub mod container_instance;
pub mod container_options;
pub mod container_order;
pub mod container_secrets;
pub mod definition_rules;
pub mod discovery;
mod efs;
pub mod fargate;
pub mod gpu;
pub mod health;
pub mod iam;
pub mod instance_type;
pub mod launch_template;
pub mod lifecycle;
pub mod logging;
pub mod machine;
pub mod managed_volume;
pub mod measured;
pub mod names;
pub mod network;
pub mod policy;
pub mod resources;
pub mod secret_files;
pub mod service;
pub mod service_record;
pub mod sharing;
pub mod strategy;
pub mod tags;
pub mod task;
pub mod task_definition;
pub mod task_set;
pub mod time;
mod tmpfs;
pub mod vault;
pub mod volumes;
pub mod vpc;
pub mod words;

pub use account::{AccountSetting, SettingName};
pub use activation::{Activation, Registration};
pub use arn::{
    ArnError, ClusterArn, ContainerArn, ContainerInstanceArn, DeploymentId, Scope, ServiceArn, ServiceDeploymentArn,
    ServiceRevisionArn, TaskArn, TaskDefinitionArn, TaskSetArn,
};
pub use attachment::{Attachment, AttachmentState, AwsvpcConfiguration};
pub use attribute::{Attribute, Attributes};
pub use auto_scaling_group::{
    Activity, ActivityKind, AutoScalingGroup, GroupMember, GroupTag, MAX_ACTIVITIES, TerminationPolicy,
};
pub use auto_scaling_provider::{AutoScalingProvider, MAX_TARGET_CAPACITY, ManagedScaling};
pub use capacity_provider::{
    CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, InvalidCapacityStrategy,
    MAX_CAPACITY_PROVIDERS, provider_name,
};
pub use cluster::{Cluster, ClusterStatus, ExecLogging};
pub use connect::{ClientAlias, ConnectPort, ServiceConnect, Unconnectable};
pub use container_instance::{AgentInfo, ContainerInstance, InstanceStatus, WireguardKey};
pub use container_options::{Device, DevicePermission, ExtraHost, Link, RestartPolicy, SecurityOption, SystemControl};
pub use container_order::{ContainerDependency, DependencyCondition};
pub use container_secrets::ContainerSecret;
pub use definition_rules::InvalidDefinition;
pub use efs::{AccessPoint, EfsVolume, Export, FileSystem, is_access_point_id, is_file_system_id};
pub use fargate::{CpuArchitecture, Platform, PlatformVersion, Pool};
pub use gpu::GpuId;
pub use health::{Health, HealthCheck, HealthStatus};
pub use launch_template::{
    InstanceProfile, LaunchTemplate, LaunchTemplateData, LaunchTemplateVersion, TemplateChoice, TemplateMetadata,
    TemplateTags, VersionChoice,
};
pub use lifecycle::{ContainerObservation, ObservedStatus, TaskObservation};
pub use logging::{Firelens, FirelensType, LogConfiguration, LogDriver, LogMode, RouterConfig};
pub use machine::{Machine, MachineProfile, MachineState, MetadataOptions, Run};
pub use managed_volume::{Filesystem, MANAGED_GIB, ManagedVolume, UnfitVolume, VolumeConfiguration, VolumeType};
pub use measured::Measured;
pub use names::{
    AccountId, ClusterName, ContainerInstanceId, Family, InvalidName, Region, ServiceDeploymentId, ServiceName, TaskId,
};
pub use resources::{CpuUnits, MemoryMib, Port, Protocol, Reservation, Resources};
pub use secret_files::SecretFiles;
pub use service::{
    CircuitBreaker, Cleanup, Creation, Deployment, DeploymentRules, EarlySuccess, Failures, PlacementConstraint,
    PlacementStrategy, PropagateTags, RevisionSpec, Rollout, SchedulingStrategy, Service, ServiceRegistry,
    ServiceStatus, Threshold,
};
pub use service_record::{
    BreakerState, BreakerStatus, MAX_SERVICE_EVENTS, RevisionImage, RevisionShare, Rollback, ServiceDeployment,
    ServiceDeploymentStatus, ServiceEvent, ServiceEventName, ServiceEventRecord, ServiceRevision,
};
pub use sharing::{IpcMode, PidMode};
pub use strategy::{
    BlueGreen, DeploymentStrategy, HookAction, HookRun, HookStatus, HookTarget, Lifecycle, LifecycleHook,
    LifecycleStage,
};
pub use tags::Tags;
pub use task::{
    Container, ContainerOverride, ContainerStatus, Desired, LaunchType, NetworkBinding, Phase, Stop, StopCode, Task,
    TaskOverrides, TaskStatus, TaskTimes, Waiting,
};
pub use task_definition::{
    Compatibility, ContainerDefinition, LinuxParameters, NetworkMode, PortMapping, PortSpec, RuntimePlatform,
    TaskDefinition, TaskDefinitionSpec, TaskDefinitionStatus, Tmpfs, Ulimit,
};
pub use task_set::{External, MAX_TASK_SETS, Scale, TaskSet, TaskSetStatus};
pub use time::Timestamp;
pub use volumes::{DockerVolume, MountPoint, SeenVolume, Volume, VolumeFrom, VolumeOf, VolumeScope, VolumeSource};
