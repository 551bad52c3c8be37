//! The server's side of a call: request bytes to a canonical value, a canonical value or an error to answer bytes.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::error::WireError;
use crate::schema::{Operation, Protocol, Service};
use crate::xml::{text_element, write_structure};
use crate::{form, json};

/// An answer, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// For the `x-amzn-RequestId` header.
    pub request_id: String,
    /// The body.
    pub body: Bytes,
}

/// Reads a request's payload into the canonical form. Unknown members and nulls are dropped, as AWS does; constraints
/// are not checked yet (see [`crate::validate`]).
///
/// # Errors
/// `SerializationException` and its kin: the payload is malformed, or a member holds a value of the wrong kind.
pub fn decode(service: &Service, operation: &Operation, payload: &[u8]) -> Result<Value, WireError> {
    match service.protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => json::decode(payload, operation.input),
        Protocol::AwsQuery | Protocol::Ec2Query => form::decode(service.protocol, payload, operation.input),
    }
}

/// Writes the answer to a successful call. Members the value does not carry are absent, never empty.
pub fn encode(service: &Service, operation: &Operation, output: &Value, request_id: &str) -> Reply {
    let (name, namespace) = (operation.name, service.xml_namespace);
    let body = match service.protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => {
            if output.is_object() {
                output.to_string()
            } else {
                "{}".to_owned()
            }
        }
        Protocol::AwsQuery => {
            let mut xml = format!("<{name}Response xmlns=\"{namespace}\">");
            if let Some(shape) = operation.output {
                xml.push_str(&format!("<{name}Result>"));
                write_structure(output, shape, &mut xml);
                xml.push_str(&format!("</{name}Result>"));
            }
            xml.push_str("<ResponseMetadata>");
            text_element("RequestId", request_id, &mut xml);
            xml.push_str(&format!("</ResponseMetadata></{name}Response>"));
            xml
        }
        Protocol::Ec2Query => {
            let mut xml = format!("{DECLARATION}<{name}Response xmlns=\"{namespace}\">");
            text_element("requestId", request_id, &mut xml);
            match operation.output {
                Some(shape) => write_structure(output, shape, &mut xml),
                // AWS: EC2 says `return` where there is nothing else to say.
                None => text_element("return", "true", &mut xml),
            }
            xml.push_str(&format!("</{name}Response>"));
            xml
        }
    };
    reply(service.protocol, 200, body, request_id)
}

/// Writes an error in the protocol's envelope.
pub fn encode_error(protocol: Protocol, error: &WireError, request_id: &str) -> Reply {
    let body = match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => {
            let mut members = Map::new();
            members.insert("__type".to_owned(), json!(error.code));
            members.insert("message".to_owned(), json!(error.message));
            members.extend(error.extra.clone());
            Value::Object(members).to_string()
        }
        Protocol::AwsQuery => {
            let mut xml = "<ErrorResponse><Error>".to_owned();
            text_element("Type", error.fault(), &mut xml);
            text_element("Code", &error.code, &mut xml);
            text_element("Message", &error.message, &mut xml);
            xml.push_str("</Error>");
            text_element("RequestId", request_id, &mut xml);
            xml + "</ErrorResponse>"
        }
        Protocol::Ec2Query => {
            let mut xml = format!("{DECLARATION}<Response><Errors><Error>");
            text_element("Code", &error.code, &mut xml);
            text_element("Message", &error.message, &mut xml);
            xml.push_str("</Error></Errors>");
            text_element("RequestID", request_id, &mut xml);
            xml + "</Response>"
        }
    };
    reply(protocol, error.status, body, request_id)
}

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn reply(protocol: Protocol, status: u16, body: String, request_id: &str) -> Reply {
    let content_type = match protocol {
        Protocol::AwsJson10 => "application/x-amz-json-1.0",
        Protocol::AwsJson11 => "application/x-amz-json-1.1",
        Protocol::AwsQuery => "text/xml",
        Protocol::Ec2Query => "text/xml;charset=UTF-8",
    };
    Reply { status, content_type, request_id: request_id.to_owned(), body: Bytes::from(body) }
}
