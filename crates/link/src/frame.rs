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

/// Wraps a connection.
pub fn framed<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> Framed<T> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
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
