//! An operation's refusal: AWS's code and words, made where the rule is known and rendered where the protocol is.

use model::{InvalidName, network::Refusal};
use serde_json::{Map, Value};
use state::{BackendError, CommitError, Rejected};
use wire::WireError;

/// What an operation answers instead of a result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// AWS's code.
    pub code: &'static str,
    /// What clients show.
    pub message: String,
    /// HTTP status.
    pub status: u16,
    /// Further members of the modelled error.
    pub extra: Map<String, Value>,
}

impl ApiError {
    /// An error of that code; the status is 400, the client's fault.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: 400, extra: Map::new() }
    }

    /// ECS's `ClientException`.
    pub fn client(message: impl Into<String>) -> Self {
        Self::new("ClientException", message)
    }

    /// `InvalidParameterException`, of ECS and Logs.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// The refusal of a name that somebody chose for a new thing.
    pub fn invalid_name(wrong: &InvalidName) -> Self {
        Self::invalid(format!("Invalid {} '{}': {}.", wrong.kind, wrong.value, wrong.rule))
    }

    /// ECS's answer to a cluster that is not there.
    pub fn cluster_not_found() -> Self {
        Self::new("ClusterNotFoundException", "Cluster not found.")
    }

    /// ECS's answer to a cluster that was deleted.
    pub fn cluster_inactive() -> Self {
        Self::new("ClusterNotFoundException", "The referenced cluster was inactive.")
    }

    /// ECS's answer to a service that is not there.
    pub fn service_not_found() -> Self {
        Self::new("ServiceNotFoundException", "Service not found.")
    }

    /// The server's own fault; `message` must not hold anything secret.
    pub fn server(message: impl Into<String>) -> Self {
        Self { status: 500, ..Self::new("ServerException", message) }
    }

    /// The same with one more member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same with another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

impl From<ApiError> for WireError {
    fn from(error: ApiError) -> Self {
        let mut wire = WireError::new(error.code, error.message).with_status(error.status);
        wire.extra = error.extra;
        wire
    }
}

/// A strategy asks for room that its cluster may not take. Source: users of the original.
pub(crate) const NOT_ASSOCIATED: &str = "The specified capacity provider strategy cannot contain a capacity provider that is \
     not associated with the cluster. Associate the capacity provider with the cluster or specify a valid capacity provider \
     and try again.";

impl From<telemetry::logs::Error> for ApiError {
    fn from(error: telemetry::logs::Error) -> Self {
        let status = if matches!(error, telemetry::logs::Error::Unavailable(_)) { 503 } else { 400 };
        Self::new(error.code(), error.to_string()).with_status(status)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Rejected(why) => why.into(),
            // 503: clients' retries are made for it, and the server works again by itself once it can write.
            CommitError::Storage(why) => {
                let full = matches!(why, BackendError::Full(_));
                let why = if full { "its disk is full" } else { "its log says why" };
                Self::server(format!("The server cannot write its state now; {why}.")).with_status(503)
            }
            CommitError::Busy => Self::new("ThrottlingException", "Rate exceeded"),
            CommitError::Closed | CommitError::LostLeadership => {
                Self::new("ServiceUnavailableException", "The server is shutting down.").with_status(503)
            }
        }
    }
}

/// What each refusal is to a client. An operation that has other words for one of them says so before it asks this.
impl From<Rejected> for ApiError {
    fn from(why: Rejected) -> Self {
        let text = why.to_string();
        match why {
            Rejected::ClusterNotFound(_) => Self::cluster_not_found(),
            Rejected::ClusterInactive(_) => Self::cluster_inactive(),
            Rejected::ClusterContainsContainerInstances(_) => Self::new(
                "ClusterContainsContainerInstancesException",
                "The Cluster cannot be deleted while Container Instances are active or draining.",
            ),
            // Source: the AWS provider's and the CDK's users, who meet them.
            Rejected::ClusterDiffers(_) => Self::invalid(
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            ),
            Rejected::CapacityProviderInUse { .. } => {
                Self::new("ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
            }
            Rejected::CapacityProviderNotAssociated { .. } => Self::invalid(NOT_ASSOCIATED),
            Rejected::ClusterContainsServices(_) => Self::new(
                "ClusterContainsServicesException",
                "The Cluster cannot be deleted while Services are active.",
            ),
            Rejected::ServiceNotFound(_) => Self::service_not_found(),
            Rejected::ServiceExists(_) => Self::invalid("Creation of service was not idempotent."),
            Rejected::TooManyServices(_) => Self::invalid("The cluster has as many services as it can have."),
            Rejected::ServiceChanged(_) => {
                Self::server("The service is changing too fast to be changed now; try again.")
            }
            Rejected::ClusterContainsTasks(_) => {
                Self::new("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
            }
            Rejected::TaskDefinitionNotFound(_) => Self::client("Unable to describe task definition."),
            Rejected::TaskDefinitionNotActive(_) => Self::client("TaskDefinition is inactive"),
            Rejected::TaskDefinitionStillActive(_) => Self::invalid(
                "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
            ),
            Rejected::TooManyWaiting(_) => Self::client(
                "The maximum number of tasks in the PROVISIONING state of this cluster has been reached: 300.",
            ),
            Rejected::NoRevisionsLeft => Self::new("LimitExceededException", text),
            Rejected::InstanceNotFound(arn) => {
                Self::invalid(format!("Referenced container instance {} not found.", arn.id))
            }
            Rejected::InstanceInactive(_) => Self::invalid("The referenced container instance was inactive."),
            // AWS: unsure of the words.
            Rejected::OtherMachine(_) => {
                Self::client("The container instance is registered as that of another EC2 instance.")
            }
            Rejected::InstanceDraining(_) => Self::invalid("The referenced container instance is draining."),
            Rejected::InstanceHasTasks(_) => Self::invalid("Found running tasks on the instance."),
            Rejected::InstanceStatusNotSettable => {
                Self::invalid("Container instance status should be one of [ACTIVE, DRAINING]")
            }
            Rejected::TooManyAttributes(_) => Self::new(
                "AttributeLimitExceededException",
                "A container instance can have at most 10 custom attributes.",
            ),
            Rejected::AttributeReserved(name) => {
                Self::invalid(format!("The attribute '{name}' is reserved for internal use."))
            }
            Rejected::TaskNotFound(_) => Self::invalid("The referenced task was not found."),
            Rejected::TokenConflict(tasks) => {
                let ids: Vec<Value> = tasks.iter().map(|arn| arn.to_string().into()).collect();
                let text = "The clientToken was used with a different request. Use another one.";
                Self::new("ConflictException", text).with("resourceIds", ids)
            }
            Rejected::Tags(why) => Self::invalid(why.to_string()),
            Rejected::MachineNotFound(id) => {
                Self::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
            }
            Rejected::SubnetNotFound(id) => {
                Self::new("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist"))
            }
            Rejected::MachineState { id, .. } => Self::new(
                "IncorrectInstanceState",
                format!("The instance '{id}' is not in a state from which it can be started or stopped."),
            ),
            Rejected::LaunchTemplateNotFound(_) => Self::new(
                "InvalidLaunchTemplateId.NotFound",
                "The specified launch template, with template ID, does not exist.",
            ),
            Rejected::LaunchTemplateExists(_) => {
                Self::new("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
            }
            Rejected::TooManyVersions(_) => {
                Self::new("VersionLimitExceeded", "You have reached the limit of versions of a launch template.")
            }
            Rejected::ScalingGroupNotFound(name) => Self::new(
                "ValidationError",
                format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"),
            ),
            Rejected::ScalingGroupExists(_) => Self::new(
                "AlreadyExists",
                "AutoScalingGroup by this name already exists - A group with this name already exists",
            ),
            Rejected::ScalingGroupChanged(_) => Self::new(
                "ResourceContention",
                "The Auto Scaling group is changing too fast to be changed now; try again.",
            ),
            Rejected::CapacityProviderNotFound(_) => Self::invalid(
                "The specified capacity provider was not found. Specify a valid capacity provider and try again.",
            ),
            Rejected::CapacityProviderExists(_) => Self::invalid(
                "The specified capacity provider already exists. To change the configuration of an existing capacity \
                 provider, update the capacity provider.",
            ),
            Rejected::ScalingGroupTaken(_) => Self::invalid(
                "The specified Auto Scaling group ARN is already being used by another capacity provider. Specify a unique \
                 Auto Scaling group ARN and try again.",
            ),
            Rejected::CapacityProviderAssociated { cluster, .. } => Self::client(format!(
                "The capacity provider cannot be deleted because it is associated with cluster: {}. Remove the capacity \
                 provider from the cluster and try again.",
                cluster.name
            )),
            Rejected::ActivationNotFound(_) => Self::new("InvalidActivationId", text),
            Rejected::ActivationExpired(_)
            | Rejected::ActivationUsedUp(_)
            | Rejected::ActivationForAnotherCluster(_) => Self::new("InvalidActivation", text),
            // Only our own loops and handlers can bring these about, by a race or a defect.
            Rejected::TaskDefinitionNotDeleting(_)
            | Rejected::TaskDefinitionInUse(_)
            | Rejected::NoRoom { .. }
            | Rejected::TaskExists(_)
            | Rejected::TaskNotStopped(_)
            | Rejected::TaskNotNew(_)
            | Rejected::TaskOfAnother(_)
            | Rejected::MachineExists(_)
            | Rejected::NetworkChanged(_)
            | Rejected::DiscoveryChanged(_)
            | Rejected::VaultChanged(_)
            | Rejected::IamChanged(_)
            | Rejected::AddressTaken(_)
            | Rejected::MachinesDiffer
            | Rejected::ActivationExists(_) => Self::server(text),
        }
    }
}
