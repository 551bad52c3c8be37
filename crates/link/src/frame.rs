//! Frames: a four-byte big-endian length, then one message as JSON.
//!
//! JSON because what crosses is read by people when things go wrong, and its cost is small beside starting a container.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::LengthDelimitedCodec;

/// Longest frame either side takes: room for 500 tasks of different definitions of 64 KiB, ECS's limit for one.
pub const MAX_FRAME: usize = 32 << 20;
/// Longest frame while a machine joins: a token, a signing request or two certificates are a few KiB. Whoever reaches the port
/// may send one, so it must not cost the server a session's memory. A terminal needs no longer ones either.
pub const MAX_SMALL_FRAME: usize = 64 << 10;

/// Why a frame could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed or a frame was too long.
    #[error("the link's connection failed")]
    Io(#[from] std::io::Error),
    /// A frame is not a message.
    #[error("the other side sent something that is not a message of this protocol")]
    Message(#[from] serde_json::Error),
    /// The other side closed.
    #[error("the other side closed the link")]
    Closed,
}

/// A connection that carries messages.
pub struct Framed<T>(tokio_util::codec::Framed<T, LengthDelimitedCodec>);

/// Wraps a session's connection.
pub fn framed<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> Framed<T> {
    framed_within(io, MAX_FRAME)
}

/// Wraps the connection of a machine that joins, of whom nothing is known yet, or of a terminal.
pub fn framed_small<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> Framed<T> {
    framed_within(io, MAX_SMALL_FRAME)
}

fn framed_within<T: AsyncRead + AsyncWrite + Unpin>(io: T, bytes: usize) -> Framed<T> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(bytes).new_codec();
    Framed(tokio_util::codec::Framed::new(io, codec))
}

impl<T: AsyncRead + AsyncWrite + Unpin> Framed<T> {
    /// Sends one message and flushes it.
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), FrameError> {
        let bytes = Bytes::from(serde_json::to_vec(message)?);
        Ok(self.0.send(bytes).await?)
    }

    /// The next message. Safe to drop while it waits: no byte is lost.
    pub async fn receive<M: DeserializeOwned>(&mut self) -> Result<M, FrameError> {
        let frame: BytesMut = self.0.next().await.ok_or(FrameError::Closed)??;
        Ok(serde_json::from_slice(&frame)?)
    }

    /// Both halves, for a reader and a writer that work at the same time.
    pub fn split(self) -> (Receiver<T>, Sender<T>) {
        let (sink, stream) = self.0.split();
        (Receiver(stream), Sender(sink))
    }
}

/// The sending half.
pub struct Sender<T>(futures::stream::SplitSink<tokio_util::codec::Framed<T, LengthDelimitedCodec>, Bytes>);
/// The receiving half.
pub struct Receiver<T>(futures::stream::SplitStream<tokio_util::codec::Framed<T, LengthDelimitedCodec>>);

impl<T: AsyncRead + AsyncWrite + Unpin> Sender<T> {
    /// Sends one message and flushes it.
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), FrameError> {
        Ok(self.0.send(Bytes::from(serde_json::to_vec(message)?)).await?)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Receiver<T> {
    /// The next message. Safe to drop while it waits: no byte is lost.
    pub async fn receive<M: DeserializeOwned>(&mut self) -> Result<M, FrameError> {
        let frame = self.0.next().await.ok_or(FrameError::Closed)??;
        Ok(serde_json::from_slice(&frame)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stranger_cannot_send_more_than_a_join_takes() {
        let long = "x".repeat(MAX_SMALL_FRAME);
        let (ours, theirs) = tokio::io::duplex(2 * MAX_SMALL_FRAME);
        let (mut door, mut stranger) = (framed_small(ours), framed(theirs));
        stranger.send(&"short").await.unwrap();
        assert_eq!(door.receive::<String>().await.unwrap(), "short");
        stranger.send(&long).await.unwrap();
        assert!(matches!(door.receive::<String>().await, Err(FrameError::Io(_))));
    }
}
