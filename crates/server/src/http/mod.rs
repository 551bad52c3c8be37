//! The AWS endpoint: bytes to a routed, proved and decoded request, and its answer back to bytes.
//!
//! One `POST /` for every service and, beside it, two pages of our own under `/.longshore/` and the websockets of ECS Exec. What a
//! service means is not known here; `crate::api` has the rooms.

mod body;
mod listener;

pub use listener::TlsError;
pub(crate) use listener::{Door, Listener, acceptor, bind};

use crate::{api, auth, context::Context, lobby::Guest, terminals};
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::panic::AssertUnwindSafe;
use tracing::Instrument;
use wire::schema::{Protocol, Service};
use wire::{Reply, WireError};

/// The services that are routed to. Those without a room are refused by name, not as unknown.
pub(crate) static SERVICES: &[&Service] = &shapes::SERVICES;

/// Answers one request; never fails and never panics.
async fn handle(ctx: Context, room: body::Room, guest: &Guest, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let request_id = ctx.effects.uuid();
    let limit = ctx.config.limits.request_timeout;
    let work = AssertUnwindSafe(respond(&ctx, &room, guest, request, &request_id)).catch_unwind();
    let outcome = tokio::time::timeout(limit, work).await;
    // From here on the client has to read, and to ask again.
    guest.waits();
    match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            tracing::error!(request_id, "a request handler panicked; this is a defect, please report it");
            internal(&request_id, "InternalFailure", StatusCode::INTERNAL_SERVER_ERROR)
        }
        Err(_elapsed) => {
            tracing::warn!(request_id, seconds = limit.as_secs(), "a request was given up");
            internal(&request_id, "RequestTimeout", StatusCode::REQUEST_TIMEOUT)
        }
    }
}

fn internal(request_id: &str, code: &'static str, status: StatusCode) -> Response<Full<Bytes>> {
    let text = "The request processing has failed because of an unknown error, exception or failure.";
    let error = WireError::new(code, text).with_status(status.as_u16());
    finish(wire::encode_error(Protocol::AwsJson11, &error, request_id))
}

async fn respond(
    ctx: &Context,
    room: &body::Room,
    guest: &Guest,
    request: Request<Incoming>,
    request_id: &str,
) -> Response<Full<Bytes>> {
    if let Some(page) = own_page(ctx, &request) {
        return page;
    }
    if request.uri().path().starts_with(terminals::PATH) {
        return terminals::upgrade(ctx, request);
    }
    let (parts, body) = request.into_parts();
    let held = match room.read(body, ctx.config.limits.body_bytes, guest, &ctx.effects).await {
        Ok(held) => held,
        Err(error) => return finish(wire::encode_error(wire::guess_protocol(&parts, SERVICES), &error, request_id)),
    };
    guest.served();
    let body = &held.bytes;
    let routed = match wire::route(&parts, body, SERVICES) {
        Ok(routed) => routed,
        Err(error) => return finish(wire::encode_error(wire::guess_protocol(&parts, SERVICES), &error, request_id)),
    };
    let (service, operation) = (routed.service, routed.operation);
    let outcome = answer(ctx, &parts, body, &routed).await;
    finish(match outcome {
        Ok(output) => {
            tracing::debug!(request_id, service = service.name, operation = operation.name, "answered");
            wire::encode(service, operation, &output, request_id)
        }
        Err(error) => {
            let (code, message) = (&*error.code, &*error.message);
            tracing::info!(request_id, service = service.name, operation = operation.name, code, message, "refused");
            wire::encode_error(service.protocol, &error, request_id)
        }
    })
}

async fn answer(
    ctx: &Context,
    parts: &http::request::Parts,
    body: &[u8],
    routed: &wire::Routed,
) -> Result<serde_json::Value, WireError> {
    let (service, operation) = (routed.service, routed.operation);
    let (caller, input) = tracing::trace_span!(target: "timeline", "verify and decode").in_scope(|| {
        let caller = auth::authenticate(ctx, parts, body, service)?;
        let input = wire::decode(service, operation, routed.payload(parts, body))?;
        let violations = wire::validate(&input, operation.input);
        wire::validation_error(service, &violations).map_or(Ok((caller, input)), Err)
    })?;
    let handling = tracing::trace_span!(target: "timeline", "request", operation = operation.name);
    Ok(Box::pin(api::dispatch(ctx, &caller, service, operation, input)).instrument(handling).await?)
}

/// Our own pages: no secret in them, so no signature is asked for.
fn own_page<B: Body>(ctx: &Context, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    let page = request.uri().path().strip_prefix("/.longshore/")?;
    let plain = |status: StatusCode, kind: &'static str, text: &str| {
        let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Some(response)
    };
    match (request.method(), page) {
        (&Method::GET | &Method::HEAD, "health") => plain(
            StatusCode::OK,
            "application/json",
            concat!(r#"{"status":"ok","version":""#, env!("CARGO_PKG_VERSION"), "\"}\n"),
        ),
        (&Method::GET | &Method::HEAD, "ca.pem") => match ctx.ca_pem.get() {
            Some(pem) => plain(StatusCode::OK, "application/x-pem-file", pem),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the link is not up yet\n"),
        },
        _ => plain(StatusCode::NOT_FOUND, "text/plain", "no such page\n"),
    }
}

fn finish(reply: Reply) -> Response<Full<Bytes>> {
    let length = HeaderValue::from(reply.body.len());
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(CONTENT_LENGTH, length);
    if let Ok(id) = HeaderValue::from_str(&reply.request_id) {
        // Header names have no case; hyper writes this one in small letters.
        headers.insert("x-amzn-requestid", id);
    }
    response
}
