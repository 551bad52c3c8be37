//! Requests of AWS clients: the envelope, the signature, the body.

use http::request::{Parts, Request};
use wire::Timestamp;
use wire::schema::{Operation, Protocol, Service};
use wire::sigv4::{Presented, SigningKey};

/// The first two bytes say which operation, of those whose protocol is such.
fn chosen(bytes: &[u8], json: bool) -> Option<(&'static Service, &'static Operation, &[u8])> {
    let (first, payload) = bytes.split_first_chunk::<2>()?;
    let services = shapes::SERVICES.into_iter().filter(|service| service.protocol.is_json() == json);
    let all: Vec<_> = services.flat_map(|service| service.operations.iter().map(move |one| (service, one))).collect();
    let (service, operation) = *all.get(usize::from(u16::from_be_bytes(*first)) % all.len())?;
    Some((service, operation, payload))
}

/// The two bytes that choose an operation.
pub(crate) fn choice(service: &str, operation: &str) -> [u8; 2] {
    let json = shapes::SERVICES.into_iter().find(|one| one.name == service).expect("a service").protocol.is_json();
    let number = (0..=u16::MAX).map(u16::to_be_bytes).find(|bytes| {
        let (found, which, _) = chosen(bytes, json).expect("two bytes choose something");
        found.name == service && which.name == operation
    });
    number.expect("an operation of the service")
}

/// Law: what is decoded and written again is decoded to the same.
pub(crate) fn json(bytes: &[u8]) {
    let Some((service, operation, payload)) = chosen(bytes, true) else { return };
    let Ok(value) = wire::decode(service, operation, payload) else { return };
    let violations = wire::validate(&value, operation.input);
    if let Some(error) = wire::validation_error(service, &violations) {
        wire::encode_error(service.protocol, &error, "id");
    }
    let again = wire::decode(service, operation, value.to_string().as_bytes());
    assert_eq!(again.as_ref(), Ok(&value), "{} {}", service.name, operation.name);
}

/// The same bodies as forms: read, or refused in words that can be written as XML.
pub(crate) fn form(bytes: &[u8]) {
    let Some((service, operation, payload)) = chosen(bytes, false) else { return };
    match wire::decode(service, operation, payload) {
        Ok(value) => {
            let violations = wire::validate(&value, operation.input);
            if let Some(error) = wire::validation_error(service, &violations) {
                wire::encode_error(service.protocol, &error, "id");
            }
        }
        Err(error) => drop(wire::encode_error(service.protocol, &error, "id")),
    }
}

/// Law: nobody without the key signs. The first line is the target, then headers, an empty line, the body.
pub(crate) fn signature(bytes: &[u8]) {
    let Some((parts, body)) = request(bytes) else { return };
    let services = &shapes::SERVICES;
    wire::guess_protocol(&parts, services);
    if let Ok(routed) = wire::route(&parts, body, services) {
        let _ = wire::decode(routed.service, routed.operation, routed.payload(&parts, body));
    }
    let presented = match Presented::parse(&parts) {
        Ok(presented) => presented,
        Err(refusal) => {
            refusal.error(Protocol::AwsJson11);
            return;
        }
    };
    let key = SigningKey::derive("a secret that stands in no example", &presented.scope);
    let service = presented.scope.service.clone();
    let verified = presented.verify(&parts, body, &key, &service, Timestamp::from_millis(1_790_000_000_000));
    assert!(verified.is_err(), "a signature without the key was taken");
}

fn request(bytes: &[u8]) -> Option<(Parts, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let mut builder = Request::post(lines.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        builder = builder.header(&line[..colon], &line[colon + 1..]);
    }
    Some((builder.body(()).ok()?.into_parts().0, &bytes[end + 2..]))
}
