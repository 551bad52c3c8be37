//! What went wrong at the runtime, and what it means: whether to ask again, and how ECS calls it.

use crate::node::Failure;
use runtime::{CreateError, PullError, RuntimeError};

/// Whether an error may be gone when the runtime is back.
pub(super) trait Troubled: std::fmt::Display {
    fn passes(&self) -> bool;
}
impl Troubled for RuntimeError {
    fn passes(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
impl Troubled for PullError {
    fn passes(&self) -> bool {
        matches!(self, Self::Runtime(e) if e.passes())
    }
}
impl Troubled for CreateError {
    fn passes(&self) -> bool {
        matches!(self, Self::Runtime(e) if e.passes())
    }
}

/// Docker creates without asking runc, so what runc refuses is a failure to start there, and here.
pub(super) fn create_failure(error: &CreateError) -> Failure {
    match error {
        CreateError::NoSuchImage(_) | CreateError::InvalidSpec(_) | CreateError::NoSpace(_) => {
            Failure::new("CannotCreateContainerError", error)
        }
        CreateError::CommandNotFound(_) | CreateError::Ulimit { .. } | CreateError::Oci(_) => {
            Failure::new("CannotStartContainerError", error)
        }
        CreateError::Runtime(RuntimeError::Timeout(text)) => Failure::new("DockerTimeoutError", text),
        CreateError::Runtime(_) => Failure::new("CannotCreateContainerError", error),
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
