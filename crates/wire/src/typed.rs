//! From the canonical form to the generated structures and back.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::WireError;
use crate::schema::Service;

/// The input type of an operation: what ties a generated structure to its name and its answer.
pub trait Request: Serialize + DeserializeOwned {
    /// What the operation answers.
    type Response: Serialize + DeserializeOwned + Default;
    /// The operation's name.
    const OPERATION: &'static str;
    /// The service it belongs to.
    fn service() -> &'static Service;
}

/// The answer of an operation that answers nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoOutput {}

/// Reads a canonical value into a generated structure.
///
/// # Errors
/// `SerializationException`, which a value that [`crate::decode`] returned cannot cause for its own operation.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, WireError> {
    serde_json::from_value(value).map_err(|error| WireError::serialization(error.to_string()))
}

/// Writes a generated structure as a canonical value.
///
/// # Errors
/// None for generated structures: their keys are strings and a non-finite number becomes null.
pub fn to_value<T: Serialize>(typed: &T) -> Result<Value, WireError> {
    serde_json::to_value(typed).map_err(|error| WireError::new("InternalFailure", error.to_string()).with_status(500))
}
