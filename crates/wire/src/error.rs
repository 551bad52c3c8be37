//! An error as AWS's clients see one: a code, a text, a status, and for a few errors more members.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::schema::Service;

/// An error on its way to, or from, the wire.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// AWS's code, such as `ClusterNotFoundException`.
    pub code: Cow<'static, str>,
    /// The text clients show.
    pub message: String,
    /// HTTP status; 500 and above blames the server.
    pub status: u16,
    /// Further members of the modelled error, such as `resourceIds`.
    pub extra: Map<String, Value>,
}

impl WireError {
    /// An error with status 400.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status: 400, extra: Map::new() }
    }

    /// An error of the service's model: its status comes from there, or is 400 for a code the model does not list.
    pub fn of(service: &'static Service, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let mut error = Self::new(code, message);
        if let Some(modelled) = service.error(&error.code) {
            error.status = modelled.status;
        }
        error
    }

    /// The same with another status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with one more member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The body is not what the protocol or the shape table says.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    /// Whose fault it is, in the words of the query protocol.
    pub fn fault(&self) -> &'static str {
        if self.status >= 500 { "Receiver" } else { "Sender" }
    }
}
