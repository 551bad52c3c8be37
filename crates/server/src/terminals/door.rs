//! Where the person comes in: a websocket at the endpoint, which is let in by the token of its first frame.
//!
//! No signature here: the plugin has no credentials, only what ExecuteCommand answered.

use super::{Wanted, talk};
use crate::context::Context;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use wire::data_channel::Opening;

/// What the paths of data channels begin with.
pub(crate) const PATH: &str = "/v1/data-channel/";
/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest frame: a message of a data channel with its header.
const FRAME: usize = wire::data_channel::MAX_PAYLOAD + 256;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers the request for a websocket, and has the session in the background.
pub(crate) fn upgrade(ctx: &Context, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
    let session = request.uri().path().strip_prefix(PATH).unwrap_or_default().to_owned();
    let (Some(key), true) = (key, asks_for_websocket(request.method(), request.headers())) else {
        return answer(StatusCode::BAD_REQUEST, "a websocket is spoken here: use `aws ecs execute-command`\n");
    };
    let Ok(place) = ctx.terminals.strangers.clone().try_acquire_owned() else {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "too many websockets wait to be let in; try again\n");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let own = ctx.clone();
    ctx.effects.spawn("data channel", async move {
        let stop = own.effects.shutdown().clone();
        let begun = async {
            let stream = TokioIo::new(upgraded.await.ok()?);
            let config = WebSocketConfig::default().max_message_size(Some(FRAME)).max_frame_size(Some(FRAME));
            let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
            let wanted = admit(&own, &mut socket, &session).await?;
            Some((socket, wanted))
        };
        let begun = tokio::select! {
            begun = begun => begun,
            () = own.effects.sleep(PATIENCE) => None,
            () = stop.cancelled() => None,
        };
        drop(place);
        match begun {
            Some((socket, wanted)) => talk::session(&own, socket, &session, &wanted).await,
            None => tracing::info!(session, "a websocket was not let in to a terminal"),
        }
    });
    let mut response = answer(StatusCode::SWITCHING_PROTOCOLS, "");
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.expect("base64 can stand in a header"));
    response
}

fn asks_for_websocket(method: &Method, headers: &HeaderMap) -> bool {
    let names = |name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    *method == Method::GET && names(CONNECTION, "upgrade") && names(UPGRADE, "websocket")
}

fn answer(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// What the first frame's token is good for.
async fn admit(ctx: &Context, socket: &mut Socket, session: &str) -> Option<Wanted> {
    let Message::Text(text) = socket.next().await?.ok()? else { return None };
    let opening: Opening = serde_json::from_str(&text).ok()?;
    ctx.terminals.redeem(session, &opening.token_value)
}
