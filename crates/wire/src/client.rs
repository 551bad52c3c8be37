//! The client's side of a call: a canonical value to request bytes, answer bytes to a canonical value or an error.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::WireError;
use crate::form;
use crate::json;
use crate::schema::{Operation, Protocol, Service};
use crate::xml::{self, Element};

/// What to `POST /`, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// For the `X-Amz-Target` header of JSON services.
    pub target: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Writes a request.
pub fn encode_request(service: &Service, operation: &Operation, input: &Value) -> Call {
    let content_type = match service.protocol {
        Protocol::AwsJson10 => "application/x-amz-json-1.0",
        Protocol::AwsJson11 => "application/x-amz-json-1.1",
        Protocol::AwsQuery | Protocol::Ec2Query => "application/x-www-form-urlencoded; charset=utf-8",
    };
    let is_json = service.protocol.is_json();
    let body = if is_json { input.to_string() } else { form::encode(service, operation, input) };
    Call {
        content_type,
        target: is_json.then(|| format!("{}.{}", service.target_prefix, operation.name)),
        body: Bytes::from(body),
    }
}

/// Reads an answer into the canonical form.
///
/// # Errors
/// What the server said went wrong, with its status; or `SerializationException` when the answer makes no sense.
pub fn decode_response(service: &Service, operation: &Operation, status: u16, body: &[u8]) -> Result<Value, WireError> {
    if !(200..300).contains(&status) {
        return Err(decode_error(service.protocol, status, body));
    }
    let Some(shape) = operation.output else { return Ok(Value::Object(Map::new())) };
    if service.protocol.is_json() {
        return json::decode(body, shape);
    }
    let root = xml::parse(&String::from_utf8_lossy(body))?;
    if service.protocol == Protocol::Ec2Query {
        return xml::read_structure(&root, shape);
    }
    let empty = Element::default();
    xml::read_structure(root.child(&format!("{}Result", operation.name)).unwrap_or(&empty), shape)
}

/// Reads an error envelope; a body that is none (a proxy's page, say) becomes the message.
pub fn decode_error(protocol: Protocol, status: u16, body: &[u8]) -> WireError {
    let text = String::from_utf8_lossy(body);
    let told = if protocol.is_json() { json_error(&text) } else { xml_error(&text) };
    told.unwrap_or_else(|| WireError::new(format!("HTTP{status}"), text.trim())).with_status(status)
}

fn json_error(text: &str) -> Option<WireError> {
    let Ok(Value::Object(mut members)) = serde_json::from_str(text) else { return None };
    let code = members.remove("__type").or_else(|| members.remove("code"))?;
    let message = members.remove("message").or_else(|| members.remove("Message"));
    // AWS: some services write `com.amazonaws.ecs#ClientException`; the code is what follows the hash.
    let code = code.as_str()?.rsplit('#').next()?.to_owned();
    let mut error = WireError::new(code, message.as_ref().and_then(Value::as_str).unwrap_or_default());
    error.extra = members;
    Some(error)
}

fn xml_error(text: &str) -> Option<WireError> {
    let root = xml::parse(text).ok()?;
    let error = root.child("Error").or_else(|| root.child("Errors").and_then(|errors| errors.child("Error")))?;
    let message = error.child_text("Message").unwrap_or_default();
    Some(WireError::new(error.child_text("Code")?.to_owned(), message))
}
