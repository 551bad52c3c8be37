//! The connection: one HTTP/2 channel over containerd's socket, with the namespace (and, while something is being
//! made, the lease) on every call, and a deadline on every answer.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;

use super::api::containerd::services::containers::v1::containers_client::ContainersClient;
use super::api::containerd::services::content::v1::content_client::ContentClient;
use super::api::containerd::services::diff::v1::diff_client::DiffClient;
use super::api::containerd::services::events::v1::events_client::EventsClient;
use super::api::containerd::services::images::v1::images_client::ImagesClient;
use super::api::containerd::services::leases::v1::leases_client::LeasesClient;
use super::api::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use super::api::containerd::services::sandbox::v1::store_client::StoreClient;
use super::api::containerd::services::snapshots::v1::snapshots_client::SnapshotsClient;
use super::api::containerd::services::tasks::v1::tasks_client::TasksClient;
use super::api::containerd::services::version::v1::version_client::VersionClient;
use crate::error::RuntimeError;

/// Bound of one ordinary call. Creating a task takes 60 ms on an idle machine and has been seen to take ten seconds on
/// one whose disk is saturated; two minutes means it hangs.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest message accepted; containerd's own default for sending.
const MAX_MESSAGE: usize = 16 << 20;

/// A channel with headers.
pub(crate) type Wire = InterceptedService<Channel, Headers>;

/// Adds namespace and lease to each call.
#[derive(Clone)]
pub(crate) struct Headers {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

/// Cheap to clone; all clones share the channel.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
    headers: Headers,
}

impl Client {
    /// Connects lazily, and again after containerd was restarted. Must be called within a tokio runtime, which drives
    /// the channel for as long as it is used.
    pub(crate) fn new(socket: &Path, namespace: &str) -> Result<Self, RuntimeError> {
        let namespace = namespace
            .parse()
            .map_err(|_| RuntimeError::Other(format!("containerd namespace {namespace:?} is not ASCII")))?;
        let path: PathBuf = socket.to_owned();
        // The authority is not used on a unix socket, but must be there.
        let channel = Endpoint::from_static("http://containerd").connect_with_connector_lazy(tower::service_fn(
            move |_: http::Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            },
        ));
        Ok(Self { channel, headers: Headers { namespace, lease: None } })
    }

    /// The same connection, holding what it makes under a lease.
    pub(crate) fn leased(&self, lease: &str) -> Self {
        let mut leased = self.clone();
        leased.headers.lease = lease.parse().ok();
        leased
    }

    /// The namespace, as given.
    pub(crate) fn namespace(&self) -> &str {
        self.headers.namespace.to_str().unwrap_or_default()
    }

    fn wire(&self) -> Wire {
        InterceptedService::new(self.channel.clone(), self.headers.clone())
    }
}

macro_rules! services {
    ($($name:ident: $client:ident),+ $(,)?) => {
        impl Client {
            $(pub(crate) fn $name(&self) -> $client<Wire> {
                $client::new(self.wire()).max_decoding_message_size(MAX_MESSAGE)
            })+
        }
    };
}

services! {
    containers: ContainersClient,
    content: ContentClient,
    diff: DiffClient,
    events: EventsClient,
    images: ImagesClient,
    leases: LeasesClient,
    namespaces: NamespacesClient,
    sandboxes: StoreClient,
    snapshots: SnapshotsClient,
    tasks: TasksClient,
    version: VersionClient,
}

/// Awaits an answer with the ordinary bound and unwraps it.
pub(crate) async fn ask<T>(
    what: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, RuntimeError> {
    raw(what, call).await.map_err(|status| trouble(what, &status))
}

/// As [`ask`], but a missing or an already existing object is an answer too.
pub(crate) async fn ask_if<T>(
    what: &str,
    accepted: Code,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Option<T>, RuntimeError> {
    match raw(what, call).await {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == accepted => Ok(None),
        Err(status) => Err(trouble(what, &status)),
    }
}

/// As [`ask`], leaving the status to the caller.
pub(crate) async fn raw<T>(what: &str, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    // Boxed, because generated futures are large and callers nest them.
    let calling = tracing::trace_span!(target: "timeline", "containerd", what);
    match tokio::time::timeout(ANSWER_TIMEOUT, Box::pin(call)).instrument(calling).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("{what}: no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
    }
}

/// In our terms.
#[allow(clippy::wildcard_enum_match_arm)] // gRPC's codes are not ours and most mean the same here.
pub(crate) fn trouble(what: &str, status: &Status) -> RuntimeError {
    // What containerd itself says has no source; a connection that breaks mid-call has, under various codes.
    if std::error::Error::source(status).is_some() {
        return RuntimeError::Unavailable(format!("{what}: {}", status.message()));
    }
    match status.code() {
        Code::Unavailable => RuntimeError::Unavailable(format!("{what}: {}", status.message())),
        Code::DeadlineExceeded => RuntimeError::Timeout(status.message().to_owned()),
        Code::NotFound => RuntimeError::NotFound(format!("{what}: {}", status.message())),
        code => RuntimeError::Other(format!("{what}: {} ({code:?})", status.message())),
    }
}
