//! A request's body: bounded by itself, and bounded together with all others that are being read or worked on.

use crate::lobby::Guest;
use bytes::{Bytes, BytesMut};
use effects::Effects;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::WireError;

/// Bytes of each body that are taken without asking. Nearly all requests are shorter, and with as many connections as there
/// may be they come to 64 MiB.
const FREE: usize = 64 << 10;
/// KiB of all bodies together beyond that: 64 of the longest there may be.
const TOGETHER_KIB: usize = 256 << 10;
/// Bytes of a body that is too long which are read and dropped, because most clients look for an answer only once they have
/// sent all. Who sends more than eight times what is allowed sees a broken connection.
const DROPPED: u64 = 32 << 20;
/// How long that may take.
const DROPPING: Duration = Duration::from_secs(10);

/// The room for bodies.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// A body, and its part of the room as long as it is worked on.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOGETHER_KIB)))
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn read(
        &self,
        mut body: Incoming,
        limit: usize,
        guest: &Guest,
        effects: &Effects,
    ) -> Result<Held, WireError> {
        let mut bytes = BytesMut::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        if body.size_hint().lower() > limit as u64 {
            return Err(too_long(body, limit, effects).await);
        }
        while let Some(frame) = body.frame().await {
            let broke = |error| WireError::serialization(format!("The request's body broke off: {error}"));
            let Ok(piece) = frame.map_err(broke)?.into_data() else { continue };
            let length = bytes.len() + piece.len();
            if length > limit {
                return Err(too_long(body, limit, effects).await);
            }
            let needed = length.saturating_sub(FREE).div_ceil(1024);
            let missing = needed.saturating_sub(room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
            if let Ok(missing @ 1..) = u32::try_from(missing) {
                let more = guest.lobby().acquire(&self.0, missing).await;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Held { bytes: bytes.freeze(), _room: room })
    }
}

/// The refusal, once the client has had the chance to finish sending.
async fn too_long(mut body: Incoming, limit: usize, effects: &Effects) -> WireError {
    let hopeless = body.size_hint().lower() > DROPPED;
    let drop_rest = async {
        let mut dropped = 0;
        while dropped <= DROPPED
            && let Some(Ok(frame)) = body.frame().await
        {
            dropped += frame.data_ref().map_or(0, |piece| piece.len() as u64);
        }
    };
    if !hopeless {
        tokio::select! {
            () = drop_rest => {}
            () = effects.sleep(DROPPING) => {}
        }
    }
    WireError::new("RequestEntityTooLargeException", format!("A request may have at most {limit} bytes."))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE.as_u16())
}
