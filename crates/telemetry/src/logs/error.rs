//! What can go wrong, in CloudWatch Logs' own codes and words, because clients match on both.

/// A refusal by the log store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such log group.
    #[error("The specified log group does not exist.")]
    GroupNotFound,
    /// No such log stream in a group that exists.
    #[error("The specified log stream does not exist.")]
    StreamNotFound,
    /// The name is taken.
    #[error("The specified log group already exists")]
    GroupExists,
    /// The name is taken.
    #[error("The specified log stream already exists")]
    StreamExists,
    /// A parameter is malformed or out of bounds; the text says which.
    #[error("{0}")]
    InvalidParameter(String),
    /// More than a group may hold.
    #[error("{0}")]
    LimitExceeded(String),
    /// The disk refused: nothing of the request was kept, unless it was the sync that failed.
    #[error("The log store cannot write: {0}")]
    Unavailable(String),
}

impl Error {
    /// The `__type` AWS gives this error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::GroupNotFound | Error::StreamNotFound => "ResourceNotFoundException",
            Error::GroupExists | Error::StreamExists => "ResourceAlreadyExistsException",
            Error::InvalidParameter(_) => "InvalidParameterException",
            Error::LimitExceeded(_) => "LimitExceededException",
            Error::Unavailable(_) => "ServiceUnavailableException",
        }
    }
}

/// Why a store could not be opened. It never is a torn tail: that is repaired.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("the log store at {0} is in use by another process")]
    InUse(String),
    /// A file that is only ever replaced whole cannot be read: this is damage, not a crash.
    #[error("{file} is damaged ({why}); move it away to open the store without it")]
    Damaged {
        /// The damaged file.
        file: String,
        /// What was wrong with it.
        why: String,
    },
    /// The operating system refused.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}
