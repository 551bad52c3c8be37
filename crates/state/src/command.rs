//! What may be decided: commands, what becomes of them, and why they are refused.
//!
//! A command names everything it was decided on and carries its ids and its time; applying it invents neither. Before
//! anything changes, apply looks again at what the decision stood on, because between snapshot and commit another
//! command may have come first.

pub use crate::change::{Basis, DiscoveryChange, IamChange, NetworkChange, ScalingChange, ServiceChange, VaultChange};

use model::{
    AccountId, AccountSetting, Activation, Attribute, AutoScalingProvider, CapacityProvider, CapacityProviderStrategy,
    Cluster, ClusterArn, ClusterName, ContainerInstance, ContainerInstanceArn, ContainerInstanceId, ExecLogging,
    InstanceStatus, LaunchTemplate, LaunchTemplateVersion, Machine, MachineState, ManagedScaling, Registration, Scope,
    Service, ServiceArn, SettingName, Stop, Tags, Task, TaskArn, TaskDefinition, TaskDefinitionArn, TaskDefinitionSpec,
    TaskObservation, Timestamp, discovery::NamespaceId, resources::Lacking, tags::InvalidTags,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

/// One decision. All of it happens, or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Creates a cluster; one that is ACTIVE already is returned unchanged, and refused if it was asked for with other capacity
    /// providers; an INACTIVE one begins anew.
    /// Answers [`Outcome::Cluster`].
    CreateCluster(Cluster),
    /// Lays `settings` over those the cluster has. Answers [`Outcome::Cluster`].
    UpdateCluster {
        /// Which.
        arn: ClusterArn,
        /// Added and replaced.
        settings: BTreeMap<String, String>,
        /// The default namespace of Service Connect, or that there is none; `None` leaves it as it is.
        connect_namespace: Option<Option<NamespaceId>>,
        /// What becomes of what sessions of ExecuteCommand show; `None` leaves it as it is.
        exec_logging: Option<ExecLogging>,
    },
    /// Sets the capacity providers of a cluster, all of them. Answers [`Outcome::Cluster`].
    PutClusterCapacityProviders {
        /// Which.
        arn: ClusterArn,
        /// All it is to have. One that tasks or services use cannot be left out.
        providers: Vec<CapacityProvider>,
        /// The strategy of tasks that name none; only of those providers.
        default_strategy: CapacityProviderStrategy,
    },
    /// Makes an empty cluster INACTIVE; one that is INACTIVE already is returned unchanged. Answers [`Outcome::Cluster`].
    DeleteCluster {
        /// Which.
        arn: ClusterArn,
    },

    /// Registers the next revision of a family. Answers [`Outcome::TaskDefinition`].
    RegisterTaskDefinition {
        /// Where.
        scope: Scope,
        /// What it says, validated.
        spec: Arc<TaskDefinitionSpec>,
        /// Its tags.
        tags: Tags,
        /// The ARN of who registers it.
        registered_by: String,
        /// When.
        at: Timestamp,
    },
    /// Makes a revision INACTIVE; one that is already is returned unchanged. Answers [`Outcome::TaskDefinition`].
    DeregisterTaskDefinition {
        /// Which.
        arn: TaskDefinitionArn,
        /// When.
        at: Timestamp,
    },
    /// Marks an INACTIVE revision for deletion. Answers [`Outcome::TaskDefinition`].
    DeleteTaskDefinition {
        /// Which.
        arn: TaskDefinitionArn,
        /// When.
        at: Timestamp,
    },
    /// Removes a revision that is marked for deletion and that no live task uses. Its number is never given again.
    ForgetTaskDefinition {
        /// Which.
        arn: TaskDefinitionArn,
    },

    /// Registers an instance, or refreshes one that is known: that keeps its status, tags, version count, first
    /// registration time and those custom attributes which the agent does not name itself.
    /// Answers [`Outcome::ContainerInstance`].
    RegisterContainerInstance {
        /// As the agent describes it.
        instance: ContainerInstance,
    },
    /// The agent's session came up or went down. Answers [`Outcome::ContainerInstance`].
    SetAgentConnected {
        /// Which instance.
        arn: ContainerInstanceArn,
        /// Whether it is up.
        connected: bool,
        /// When.
        at: Timestamp,
    },
    /// ACTIVE to DRAINING or back. INACTIVE is [`Command::DeregisterContainerInstance`]'s. Answers
    /// [`Outcome::ContainerInstance`].
    SetInstanceStatus {
        /// Which instance.
        arn: ContainerInstanceArn,
        /// To what.
        status: InstanceStatus,
    },
    /// Makes an instance INACTIVE. Its live tasks refuse that, or with `force` end. Answers [`Outcome::ContainerInstance`].
    DeregisterContainerInstance {
        /// Which instance.
        arn: ContainerInstanceArn,
        /// Whether live tasks end.
        force: bool,
        /// When.
        at: Timestamp,
    },
    /// Removes INACTIVE instances that no live task is on; others of the list stay.
    ForgetContainerInstances {
        /// Which.
        arns: Vec<ContainerInstanceArn>,
    },
    /// Sets custom attributes.
    PutAttributes {
        /// On which instance, what.
        attributes: Vec<(ContainerInstanceArn, Attribute)>,
    },
    /// Removes custom attributes. One with a value is removed only if it has that value; one that is not there is no error.
    DeleteAttributes {
        /// From which instance, what.
        attributes: Vec<(ContainerInstanceArn, Attribute)>,
    },

    /// Starts tasks where they were placed: all or none. Answers [`Outcome::Tasks`] or [`Outcome::Replayed`].
    StartTasks {
        /// The tasks, new ones.
        tasks: Vec<Task>,
        /// Under which repeated requests are recognised.
        token: Option<IdempotencyToken>,
    },
    /// Places tasks that waited for room, each in its next form: all or none. Answers [`Outcome::Tasks`].
    PlaceTasks {
        /// The tasks, on their instances.
        tasks: Vec<Task>,
    },
    /// Asks a task to stop; the first cause stays. Answers [`Outcome::Task`].
    StopTask {
        /// Which.
        arn: TaskArn,
        /// Why.
        why: Stop,
        /// When.
        at: Timestamp,
    },
    /// Interrupts Spot tasks, and notes on their instances that their room is for others. Those that are to stop already, are
    /// none of Spot's, or are unknown, are left alone. Answers [`Outcome::Tasks`] with those that it interrupted.
    ReclaimSpot {
        /// Which.
        tasks: Vec<TaskArn>,
        /// Why.
        why: Stop,
        /// When.
        at: Timestamp,
    },
    /// Lays what an agent saw over what is known. Answers [`Outcome::Observed`].
    Observe {
        /// Whose agent it is; only tasks placed there are its to speak of.
        instance: ContainerInstanceArn,
        /// What it saw.
        seen: Vec<TaskObservation>,
        /// When the server learned it.
        at: Timestamp,
    },
    /// Ends tasks whose node can no longer say anything of them. Those that have ended, or are unknown, are left alone.
    EndTasks {
        /// Which.
        tasks: Vec<TaskArn>,
        /// Why.
        why: Stop,
        /// When.
        at: Timestamp,
    },
    /// Sets until when neither a deployment nor scaling in may stop tasks; `None` lifts it. Those that have ended, or are
    /// unknown, are left alone. Answers [`Outcome::Tasks`] with those that are as asked for.
    ProtectTasks {
        /// Which.
        tasks: Vec<TaskArn>,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// Creates a service, changes it, or moves it on: all that belongs to one decision about it. Answers
    /// [`Outcome::Service`].
    ChangeService(Box<ServiceChange>),
    /// Removes INACTIVE services that have no live task, with their past; others of the list stay.
    ForgetServices {
        /// Which.
        arns: Vec<ServiceArn>,
    },
    /// Removes stopped tasks. Unknown ones are no error.
    ForgetTasks {
        /// Which.
        tasks: Vec<TaskArn>,
    },
    /// Removes idempotency tokens of a scope that were used before a time.
    ForgetTokens {
        /// Where.
        scope: Scope,
        /// Older than this.
        before: Timestamp,
    },

    /// Adds and replaces tags.
    TagResource {
        /// Of what.
        resource: Resource,
        /// Which.
        tags: Tags,
    },
    /// Removes tags by key; absent ones are no error.
    UntagResource {
        /// Of what.
        resource: Resource,
        /// Which.
        keys: Vec<String>,
    },

    /// Sets an account setting.
    PutAccountSetting {
        /// Where.
        scope: Scope,
        /// What.
        setting: AccountSetting,
    },
    /// Removes an account setting; an absent one is no error.
    DeleteAccountSetting {
        /// Where.
        scope: Scope,
        /// Which.
        name: SettingName,
        /// Of whom; `None` is the account's default.
        principal: Option<String>,
    },

    /// Records machines to be started: all or none. Machines with the same scope and client token as known ones are not
    /// made again. Answers [`Outcome::Machines`].
    RunMachines {
        /// The machines, all of one scope and one client token.
        machines: Vec<Machine>,
    },
    /// Moves a machine to another state; to the one it has changes its reason only. Answers [`Outcome::Machine`].
    SetMachineState {
        /// Where.
        scope: Scope,
        /// Which.
        id: String,
        /// To what. A machine that goes to `Pending` (is started again) has its `launched_at` set to `at`, as EC2 does.
        state: MachineState,
        /// EC2's reason.
        reason: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Removes terminated machines; others of the list stay.
    ForgetMachines {
        /// Where.
        scope: Scope,
        /// Which.
        ids: Vec<String>,
    },

    /// Makes a launch template. Answers [`Outcome::LaunchTemplate`].
    CreateLaunchTemplate(LaunchTemplate),
    /// Adds a version to a launch template, unless there is one of the same client token; its number is counted by apply. Answers [`Outcome::LaunchTemplate`].
    AddLaunchTemplateVersion {
        /// Where.
        scope: Scope,
        /// Of which template.
        id: String,
        /// What it says.
        version: LaunchTemplateVersion,
    },
    /// Removes a launch template with all its versions; the machines that came of it stay. Answers
    /// [`Outcome::LaunchTemplate`] with what it was.
    DeleteLaunchTemplate {
        /// Where.
        scope: Scope,
        /// Which.
        id: String,
    },
    /// Makes, changes or removes an Auto Scaling group: all that belongs to one decision about it.
    ChangeScalingGroup(Box<ScalingChange>),
    /// Makes a capacity provider of an Auto Scaling group; one that was deleted begins anew. Answers
    /// [`Outcome::CapacityProvider`].
    CreateCapacityProvider(AutoScalingProvider),
    /// Changes a capacity provider; what is `None` stays. Answers [`Outcome::CapacityProvider`].
    UpdateCapacityProvider {
        /// Where.
        scope: Scope,
        /// Which.
        name: Arc<str>,
        /// How its group is scaled.
        managed_scaling: Option<ManagedScaling>,
        /// Whether scaling in leaves instances alone that have tasks.
        protects_tasks: Option<bool>,
        /// Whether tasks move before their instance is terminated.
        drains: Option<bool>,
    },
    /// Makes a capacity provider INACTIVE that no cluster has. Answers [`Outcome::CapacityProvider`].
    DeleteCapacityProvider {
        /// Where.
        scope: Scope,
        /// Which.
        name: Arc<str>,
    },

    /// Changes a scope's network: all that belongs to one decision about it.
    ChangeNetwork(Box<NetworkChange>),
    /// Changes a scope's service discovery: all that belongs to one decision about it.
    ChangeDiscovery(Box<DiscoveryChange>),
    /// Changes a scope's secrets and parameters: all that belongs to one decision about them.
    ChangeVault(Box<VaultChange>),
    /// Changes an account's users, roles and policies: all that belongs to one decision about them.
    ChangeIam(Box<IamChange>),

    /// Records a join token.
    CreateActivation(Activation),
    /// Uses one place of a join token; the key that has one already gets the same registration again, even when the token
    /// has expired since. Answers [`Outcome::Registration`].
    RegisterWithActivation {
        /// Where.
        scope: Scope,
        /// Which.
        id: String,
        /// SHA-256 of the machine's public key, in hexadecimal.
        key_sha256: String,
        /// The cluster to join.
        cluster: ClusterName,
        /// The container instance to become.
        container_instance: ContainerInstanceId,
        /// When.
        at: Timestamp,
    },
    /// Removes a join token; machines that joined stay.
    DeleteActivation {
        /// Where.
        scope: Scope,
        /// Which.
        id: String,
    },
}

/// A resource that carries tags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The ARN says it.
pub enum Resource {
    Cluster(ClusterArn),
    TaskDefinition(TaskDefinitionArn),
    ContainerInstance(ContainerInstanceArn),
    Task(TaskArn),
    Service(ServiceArn),
    Machine { scope: Scope, id: String },
    LaunchTemplate { scope: Scope, id: String },
    CapacityProvider { scope: Scope, name: Arc<str> },
}

/// What makes a repeated request recognisable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyToken {
    /// Where it holds.
    pub scope: Scope,
    /// The operation it was given to, e.g. `RunTask`.
    pub operation: String,
    /// The client's token.
    pub token: String,
    /// SHA-256 of the request's parameters, in hexadecimal.
    pub request_sha256: String,
    /// When it was first used.
    pub at: Timestamp,
}

/// What a command brought about.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was done, and there is nothing to tell.
    Done,
    /// The cluster as it is now.
    Cluster(Arc<Cluster>),
    /// The revision as it is now.
    TaskDefinition(Arc<TaskDefinition>),
    /// The instance as it is now.
    ContainerInstance(Arc<ContainerInstance>),
    /// The tasks that were started, in the command's order.
    Tasks(Vec<Arc<Task>>),
    /// The request was seen before; these tasks came of it. Some may be forgotten by now.
    Replayed(Vec<TaskArn>),
    /// The task as it is now.
    Task(Arc<Task>),
    /// The service as it is now.
    Service(Arc<Service>),
    /// What was seen is laid over what is known; these tasks are not the instance's, and its agent should let go of them.
    Observed {
        /// The tasks unknown on that instance.
        unknown: Vec<TaskArn>,
    },
    /// The machines.
    Machines {
        /// As they are now.
        machines: Vec<Arc<Machine>>,
        /// Whether they were made by an earlier command with the same client token.
        replayed: bool,
    },
    /// The machine as it is now.
    Machine(Arc<Machine>),
    /// The launch template as it is now, or was last.
    LaunchTemplate(Arc<LaunchTemplate>),
    /// The capacity provider as it is now.
    CapacityProvider(Arc<AutoScalingProvider>),
    /// The place that the key has.
    Registration {
        /// The place.
        registration: Registration,
        /// Whether the key had it before.
        replayed: bool,
    },
}

/// Why a command was refused. Nothing of it happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The message says it.
pub enum Rejected {
    #[error("cluster {0} does not exist")]
    ClusterNotFound(ClusterArn),
    #[error("cluster {0} is inactive")]
    ClusterInactive(ClusterArn),
    #[error("cluster {0} exists with other capacity providers")]
    ClusterDiffers(ClusterArn),
    #[error("{} is used in cluster {cluster}", provider.as_str())]
    CapacityProviderInUse { cluster: ClusterArn, provider: CapacityProvider },
    #[error("{} is not a capacity provider of cluster {cluster}", provider.as_str())]
    CapacityProviderNotAssociated { cluster: ClusterArn, provider: CapacityProvider },
    #[error("cluster {0} contains container instances")]
    ClusterContainsContainerInstances(ClusterArn),
    #[error("cluster {0} contains services")]
    ClusterContainsServices(ClusterArn),
    #[error("cluster {0} contains tasks")]
    ClusterContainsTasks(ClusterArn),

    #[error("task definition {0} does not exist")]
    TaskDefinitionNotFound(TaskDefinitionArn),
    #[error("task definition {0} is not active")]
    TaskDefinitionNotActive(TaskDefinitionArn),
    #[error("task definition {0} is still active")]
    TaskDefinitionStillActive(TaskDefinitionArn),
    #[error("task definition {0} is not marked for deletion")]
    TaskDefinitionNotDeleting(TaskDefinitionArn),
    #[error("task definition {0} is used by live tasks")]
    TaskDefinitionInUse(TaskDefinitionArn),
    #[error("family has no revision numbers left")]
    NoRevisionsLeft,

    #[error("container instance {0} does not exist")]
    InstanceNotFound(ContainerInstanceArn),
    #[error("container instance {0} is inactive")]
    InstanceInactive(ContainerInstanceArn),
    #[error("container instance {0} is that of another machine")]
    OtherMachine(ContainerInstanceArn),
    #[error("container instance {0} is draining")]
    InstanceDraining(ContainerInstanceArn),
    #[error("container instance {0} has live tasks")]
    InstanceHasTasks(ContainerInstanceArn),
    #[error("an instance is made inactive by deregistering it")]
    InstanceStatusNotSettable,
    #[error("container instance {0} has too many custom attributes")]
    TooManyAttributes(ContainerInstanceArn),
    #[error("attribute {0} belongs to the system")]
    AttributeReserved(String),

    #[error("as many tasks wait for room in cluster {0} as may")]
    TooManyWaiting(ClusterArn),
    /// `index` is the task's position in the command.
    #[error("no room for task {index} on {instance}: {}", lacking.reason())]
    NoRoom { index: usize, instance: ContainerInstanceArn, lacking: Lacking },
    #[error("task {0} does not exist")]
    TaskNotFound(TaskArn),
    #[error("task {0} exists already")]
    TaskExists(TaskArn),
    #[error("task {0} has not stopped")]
    TaskNotStopped(TaskArn),
    #[error("task {0} is not a new one")]
    TaskNotNew(TaskArn),
    /// Carries the tasks that the first request brought about.
    #[error("the client token was used for a different request")]
    TokenConflict(Vec<TaskArn>),

    #[error("service {0} does not exist")]
    ServiceNotFound(ServiceArn),
    #[error("service {0} exists already")]
    ServiceExists(ServiceArn),
    /// Look again: the decision was made on what is no longer so.
    #[error("service {0} has changed since it was looked at")]
    ServiceChanged(ServiceArn),
    #[error("cluster {0} has too many services")]
    TooManyServices(ClusterArn),
    #[error("{0} is not a task of that service")]
    TaskOfAnother(TaskArn),

    #[error("{0}")]
    Tags(InvalidTags),

    #[error("machine {0} does not exist")]
    MachineNotFound(String),
    /// Look again: the decision was made on what is no longer so.
    #[error("the network of {} has changed since it was looked at", .0.region)]
    NetworkChanged(Scope),
    /// Look again: the decision was made on what is no longer so.
    #[error("the service discovery of {} has changed since it was looked at", .0.region)]
    DiscoveryChanged(Scope),
    /// Look again: the decision was made on what is no longer so.
    #[error("the secrets and parameters of {} have changed since they were looked at", .0.region)]
    VaultChanged(Scope),
    /// Look again: the decision was made on what is no longer so.
    #[error("the users, roles and policies of {0} have changed since they were looked at")]
    IamChanged(AccountId),
    #[error("subnet {0} does not exist")]
    SubnetNotFound(String),

    #[error("machine {0} exists already")]
    MachineExists(String),
    #[error("address {0} is taken")]
    AddressTaken(Ipv4Addr),
    #[error("machine {id} is {} and can not become {}", from.as_str(), to.as_str())]
    MachineState { id: String, from: MachineState, to: MachineState },
    #[error("machines of one command must share scope and client token")]
    MachinesDiffer,

    #[error("launch template {0} does not exist")]
    LaunchTemplateNotFound(String),
    #[error("launch template {0} exists already")]
    LaunchTemplateExists(String),
    #[error("launch template {0} has as many versions as it can have")]
    TooManyVersions(String),
    #[error("Auto Scaling group {0} does not exist")]
    ScalingGroupNotFound(String),
    #[error("Auto Scaling group {0} exists already")]
    ScalingGroupExists(String),
    /// Look again: the decision was made on what is no longer so.
    #[error("Auto Scaling group {0} has changed since it was looked at")]
    ScalingGroupChanged(String),
    #[error("capacity provider {0} does not exist")]
    CapacityProviderNotFound(Arc<str>),
    #[error("capacity provider {0} exists already")]
    CapacityProviderExists(Arc<str>),
    #[error("Auto Scaling group {0} has a capacity provider already")]
    ScalingGroupTaken(String),
    #[error("capacity provider {provider} is associated with cluster {cluster}")]
    CapacityProviderAssociated { cluster: ClusterArn, provider: Arc<str> },

    #[error("activation {0} does not exist")]
    ActivationNotFound(String),
    #[error("activation {0} exists already")]
    ActivationExists(String),
    #[error("activation {0} has expired")]
    ActivationExpired(String),
    #[error("activation {0} has been used as often as it may")]
    ActivationUsedUp(String),
    #[error("activation {0} is for another cluster")]
    ActivationForAnotherCluster(String),
}
