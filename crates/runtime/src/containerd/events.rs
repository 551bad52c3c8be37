//! The event stream. containerd does not confirm a subscription before its first event, so each connection first
//! publishes a marker of its own and counts as connected when the marker comes back: only from then on is nothing
//! missed, and [`RuntimeEvent::Connected`] tells the consumer to look at everything once.

use std::collections::VecDeque;
use std::time::Duration;

use effects::Effects;
use futures::StreamExt;
use futures::stream::{BoxStream, FuturesUnordered};
use prost::Message as _;
use prost_types::Any;

use super::api::containerd::events as kinds;
use super::api::containerd::services::events::v1 as events;
use super::api::containerd::types::Envelope;
use super::client::{Client, raw};
use super::containers::system_time;
use crate::container::RuntimeEvent;

/// Topic of our markers.
const MARKER: &str = "/longshore/marker";
/// A marker may be published before the subscription stands; then the next one comes this much later.
const MARK_AGAIN: Duration = Duration::from_millis(50);
/// Before connecting again: containerd restarts within a second, and each attempt is one failed connect.
const RECONNECT: Duration = Duration::from_millis(200);

/// All events of our namespace, for ever.
pub(super) fn watch(client: Client, effects: Effects) -> BoxStream<'static, RuntimeEvent> {
    let state = Watch { client, effects, stream: None, ready: VecDeque::new(), first: true };
    futures::stream::unfold(state, |mut state| async move {
        let event = state.next().await;
        Some((event, state))
    })
    .boxed()
}

struct Watch {
    client: Client,
    effects: Effects,
    stream: Option<tonic::Streaming<Envelope>>,
    ready: VecDeque<RuntimeEvent>,
    first: bool,
}

impl Watch {
    async fn next(&mut self) -> RuntimeEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await;
                continue;
            };
            match stream.message().await {
                Ok(Some(envelope)) => self.ready.extend(event(&envelope)),
                Ok(None) | Err(_) => {
                    tracing::info!("the event stream of containerd ended; connecting again");
                    self.stream = None;
                }
            }
        }
    }

    /// Tries until a marker comes back.
    async fn connect(&mut self) {
        loop {
            if !std::mem::take(&mut self.first) {
                self.effects.sleep(RECONNECT).await;
            }
            let marker = self.effects.hex32();
            match self.subscribe(&marker).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.ready.push_back(RuntimeEvent::Connected);
                    return;
                }
                Err(status) => tracing::debug!(%status, "containerd gives no events yet"),
            }
        }
    }

    async fn subscribe(&self, marker: &str) -> Result<tonic::Streaming<Envelope>, tonic::Status> {
        let filter = format!("namespace=={},topic~=\"^/(tasks|longshore)/\"", self.client.namespace());
        let request = events::SubscribeRequest { filters: vec![filter] };
        let mut client = self.client.events();
        let subscription = async {
            let mut stream = raw("subscribe", client.subscribe(request)).await?;
            loop {
                let Some(envelope) = stream.message().await? else {
                    return Err(tonic::Status::unavailable("the event stream ended at once"));
                };
                // Events before the marker are covered by looking at everything after it.
                if envelope.topic == MARKER && envelope.event.is_some_and(|e| e.value == marker.as_bytes()) {
                    return Ok(stream);
                }
            }
        };
        let mut subscription = std::pin::pin!(subscription);
        let mut publishing = FuturesUnordered::new();
        loop {
            let publish = async {
                let event = Any { type_url: "longshore.io/marker".into(), value: marker.as_bytes().to_vec() };
                let request = events::PublishRequest { topic: MARKER.into(), event: Some(event) };
                let published = raw("publish marker", self.client.events().publish(request)).await;
                self.effects.sleep(MARK_AGAIN).await;
                published
            };
            publishing.push(publish);
            tokio::select! {
                stream = &mut subscription => return stream,
                Some(published) = publishing.next() => published?,
            }
        }
    }
}

fn event(envelope: &Envelope) -> Option<RuntimeEvent> {
    let value = envelope.event.as_ref()?.value.as_slice();
    match envelope.topic.as_str() {
        "/tasks/start" => {
            let start = kinds::TaskStart::decode(value).ok()?;
            Some(RuntimeEvent::Started { id: start.container_id, pid: start.pid })
        }
        "/tasks/oom" => Some(RuntimeEvent::Oom { id: kinds::TaskOom::decode(value).ok()?.container_id }),
        "/tasks/exit" => {
            let exit = kinds::TaskExit::decode(value).ok()?;
            // Other ids are processes that were run in a container besides its own.
            let own = exit.id == exit.container_id;
            own.then(|| RuntimeEvent::Exited {
                id: exit.container_id,
                exit_code: exit.exit_status,
                exited_at: exit.exited_at.as_ref().and_then(system_time),
            })
        }
        "/tasks/delete" => {
            let delete = kinds::TaskDelete::decode(value).ok()?;
            let own = delete.id.is_empty() || delete.id == delete.container_id;
            own.then_some(RuntimeEvent::Deleted { id: delete.container_id })
        }
        _ => None,
    }
}
