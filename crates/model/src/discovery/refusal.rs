//! Why something can not be done with service discovery: Cloud Map's codes and words.

use super::{InstanceId, NamespaceId, OperationId, ServiceId};
use crate::{Creation, tags::InvalidTags};

/// A refusal. The text is what clients are shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The text says it.
pub enum Refusal {
    #[error("{0}")]
    Input(String),
    #[error("Namespace not found: {0}")]
    NamespaceNotFound(String),
    #[error("Service not found: {0}")]
    ServiceNotFound(String),
    #[error("Instance {0} not found in service {1}.")]
    InstanceNotFound(InstanceId, ServiceId),
    #[error("Operation not found: {0}")]
    OperationNotFound(String),
    #[error("The resource {0} does not exist.")]
    ResourceNotFound(String),
    #[error("Namespace with name {name} already exists.")]
    NamespaceExists { name: String, id: NamespaceId, creation: Creation },
    #[error("Service with name {name} already exists.")]
    ServiceExists { name: String, id: ServiceId, creation: Creation },
    #[error("The namespace {0} has services and cannot be deleted.")]
    NamespaceInUse(NamespaceId),
    #[error("The service {0} has instances and cannot be deleted.")]
    ServiceInUse(ServiceId),
    #[error("{0}")]
    InUse(String),
    #[error("The CreatorRequestId was used for another request.")]
    Duplicate(OperationId),
    #[error("The service {0} has no custom health check.")]
    NoCustomHealth(ServiceId),
    #[error("The maximum number of {0} has been reached.")]
    Limit(&'static str),
    #[error("{0}")]
    Tags(InvalidTags),
}

impl Refusal {
    /// Cloud Map's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Input(_) => "InvalidInput",
            Self::NamespaceNotFound(_) => "NamespaceNotFound",
            Self::ServiceNotFound(_) => "ServiceNotFound",
            Self::InstanceNotFound(..) => "InstanceNotFound",
            Self::OperationNotFound(_) => "OperationNotFound",
            Self::ResourceNotFound(_) => "ResourceNotFoundException",
            Self::NamespaceExists { .. } => "NamespaceAlreadyExists",
            Self::ServiceExists { .. } => "ServiceAlreadyExists",
            Self::NamespaceInUse(_) | Self::ServiceInUse(_) | Self::InUse(_) => "ResourceInUse",
            Self::Duplicate(_) => "DuplicateRequest",
            Self::NoCustomHealth(_) => "CustomHealthNotFound",
            Self::Limit(_) => "ResourceLimitExceeded",
            Self::Tags(InvalidTags::TooMany) => "TooManyTagsException",
            Self::Tags(_) => "InvalidInput",
        }
    }
}
