//! What can go wrong, in terms an operator understands. The agent turns these into ECS's error names
//! (`CannotPullContainerError`, `CannotCreateContainerError`, …); the texts here become the reasons behind the colon.
//!
//! All are `Clone`, because coalesced callers share one outcome.

/// Trouble with the runtime itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody answers on the socket; may pass.
    #[error("the container runtime does not answer: {0}")]
    Unavailable(String),
    /// No such container or image.
    #[error("{0} does not exist")]
    NotFound(String),
    /// An answer did not come in time.
    #[error("the container runtime did not finish in time: {0}")]
    Timeout(String),
    /// Anything else, in the runtime's own words.
    #[error("{0}")]
    Other(String),
}

/// Why an image could not be made present.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// Not a reference at all.
    #[error("invalid reference format: {reference:?}: {reason}")]
    InvalidReference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry does not know repository, tag or digest.
    #[error("manifest unknown: {reference} not found: {message}")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// The registry's words.
        message: String,
    },
    /// The registry wants other credentials.
    #[error("pull access denied for {reference}, repository does not exist or may require authorization: {message}")]
    Unauthorized {
        /// What was asked for.
        reference: String,
        /// The registry's words.
        message: String,
    },
    /// No connection to the registry (DNS, TCP, TLS).
    #[error("could not reach registry {registry}: {message}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// The chain of causes.
        message: String,
    },
    /// The registry answered with an error of its own, e.g. 500 or 429.
    #[error("registry {registry} failed: {message}")]
    Registry {
        /// Host and port.
        registry: String,
        /// Status and words.
        message: String,
        /// Whether the same may be answered otherwise soon: it is overloaded, or in trouble of its own.
        passes: bool,
    },
    /// Bytes that do not have the digest they were asked by. Nothing was kept.
    #[error("content does not match its digest: {0}")]
    DigestMismatch(String),
    /// The disk is full.
    #[error("no space left on device: {0}")]
    NoSpace(String),
    /// The image exists, but not for this platform.
    #[error("no matching manifest for {platform} in the manifest list entries of {reference}")]
    PlatformMissing {
        /// What was asked for.
        reference: String,
        /// E.g. `linux/amd64`.
        platform: String,
    },
    /// Something we do not unpack: an artifact, an old schema, an unknown compression.
    #[error("unsupported image: {0}")]
    Unsupported(String),
    /// The registry went silent.
    #[error("registry {registry} sent nothing for too long: {message}")]
    Timeout {
        /// Host and port.
        registry: String,
        /// Which step.
        message: String,
    },
    /// The registry named is not listed for plain http, or credentials cannot be used as configured.
    #[error("{0}")]
    Refused(String),
    /// The runtime failed while storing or unpacking.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl PullError {
    /// Whether asking the registry again soon may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Registry { passes, .. } => *passes,
            // A registry that went silent has had all the time there is.
            Self::Timeout { .. }
            | Self::InvalidReference { .. }
            | Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::DigestMismatch(_)
            | Self::NoSpace(_)
            | Self::PlatformMissing { .. }
            | Self::Unsupported(_)
            | Self::Refused(_)
            | Self::Runtime(_) => false,
        }
    }
}

/// Why a container could not be created or started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The image was not pulled, or has been removed since.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// The specification cannot be honoured, e.g. an unknown capability or user.
    #[error("{0}")]
    InvalidSpec(String),
    /// argv[0] is not there or not executable. In runc's words, as Docker shows them.
    #[error("{0}")]
    CommandNotFound(String),
    /// This machine may not raise a hard limit as far as asked (no CAP_SYS_RESOURCE).
    #[error("ulimit {name} cannot be raised above this machine's hard limit: {message}")]
    Ulimit {
        /// ECS's name, e.g. `nofile`.
        name: String,
        /// The runtime's words.
        message: String,
    },
    /// The disk is full.
    #[error("no space left on device: {0}")]
    NoSpace(String),
    /// Anything the OCI runtime said.
    #[error("{0}")]
    Oci(String),
    /// The runtime itself is in trouble.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Why nobody can sit at a terminal in a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TerminalError {
    /// The command could not be started; the OCI runtime's words.
    #[error("{0}")]
    NotStarted(String),
    /// The runtime itself is in trouble, or there is no such container.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}
