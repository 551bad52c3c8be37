//! Putting an image into containerd: blobs into the content store and layers onto each other, all under one lease, so
//! that the garbage collector takes nothing before the image record holds it, and everything if it never does.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use futures::channel::mpsc;
use prost_types::FieldMask;
use tonic::{Code, Status};

use super::SNAPSHOTTER;
use super::api::containerd::services::content::v1 as content;
use super::api::containerd::services::diff::v1 as diff;
use super::api::containerd::services::images::v1 as images;
use super::api::containerd::services::leases::v1 as leases;
use super::api::containerd::services::snapshots::v1 as snapshots;
use super::api::containerd::types;
use super::client::{Client, ask, ask_if, raw, trouble};
use super::documents::Descriptor;
use super::images::is_unpacked;
use super::registry::{Pieces, Registry};
use crate::error::{PullError, RuntimeError};

/// After this long even a pull that died with its process no longer holds anything. The longest ECS lets a pull take
/// is two hours.
const LEASE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Bytes per message to the content store: each is answered, so small ones cost.
const PIECE: usize = 512 << 10;
/// Messages on their way: enough to keep network and disk both busy.
const PIECES_IN_FLIGHT: usize = 2;

pub(super) type Labels = HashMap<String, String>;

/// Our own label: whose pull it is. An owner has one process at a time.
const OWNER_LABEL: &str = "longshore.io/owner";

/// Prepares a snapshot that is written to.
pub(super) async fn prepare(
    client: &Client,
    what: &str,
    request: snapshots::PrepareSnapshotRequest,
) -> Result<snapshots::PrepareSnapshotResponse, Status> {
    match raw(what, client.snapshots().prepare(request.clone())).await {
        Err(status) if is_in_the_way(&status) => {
            clear_the_way(client, &status).await?;
            raw(what, client.snapshots().prepare(request)).await
        }
        outcome => outcome,
    }
}

/// Prepares one that is only read.
pub(super) async fn view(
    client: &Client,
    what: &str,
    request: snapshots::PrepareSnapshotRequest,
) -> Result<snapshots::ViewSnapshotResponse, Status> {
    let snapshots::PrepareSnapshotRequest { snapshotter, key, parent, labels } = request;
    let request = snapshots::ViewSnapshotRequest { snapshotter, key, parent, labels };
    match raw(what, client.snapshots().view(request.clone())).await {
        Err(status) if is_in_the_way(&status) => {
            clear_the_way(client, &status).await?;
            raw(what, client.snapshots().view(request)).await
        }
        outcome => outcome,
    }
}

/// containerd killed between making a snapshot's folder and recording it gives the next one the same number and finds the
/// folder in its way; it clears folders that it does not know when it is asked to.
fn is_in_the_way(status: &Status) -> bool {
    status.message().contains("failed to rename") && status.message().contains("file exists")
}

async fn clear_the_way(client: &Client, status: &Status) -> Result<(), Status> {
    tracing::warn!(%status, "a folder that containerd does not know is in the way; having it cleared");
    let cleanup = snapshots::CleanupRequest { snapshotter: SNAPSHOTTER.into() };
    raw("clear snapshots", client.snapshots().cleanup(cleanup)).await.map(drop)
}

/// A lease and the things made under it.
pub(super) struct Store {
    client: Client,
    lease: String,
}

impl Store {
    /// Takes a lease that ends by itself should we not live to end it.
    pub(super) async fn open(client: &Client, owner: &str, effects: &effects::Effects) -> Result<Self, RuntimeError> {
        let life = i64::try_from(LEASE_LIFE.as_millis()).unwrap_or(i64::MAX);
        let expiry =
            jiff::Timestamp::from_millisecond(effects.now().plus_millis(life).0).unwrap_or(jiff::Timestamp::MAX);
        let id = format!("longshore-pull-{}", effects.hex32());
        let labels = Labels::from([
            ("containerd.io/gc.expire".to_owned(), expiry.to_string()),
            (OWNER_LABEL.to_owned(), owner.to_owned()),
        ]);
        let request = leases::CreateRequest { id: id.clone(), labels };
        ask("create lease", client.leases().create(request)).await?;
        Ok(Self { client: client.leased(&id), lease: id })
    }

    /// Ends the leases of an owner that was killed in the middle of its pulls: it knows them no more.
    pub(super) async fn close_former(client: &Client, owner: &str) -> Result<(), RuntimeError> {
        let answer = ask("list leases", client.leases().list(leases::ListRequest::default())).await?;
        let former = answer.leases.into_iter().filter(|l| l.labels.get(OWNER_LABEL).is_some_and(|o| o == owner));
        for lease in former {
            Self { client: client.leased(&lease.id), lease: lease.id }.close(true).await?;
        }
        Ok(())
    }

    /// Ends the lease: what no image holds goes. With `failed`, waits until it is gone.
    pub(super) async fn close(&self, failed: bool) -> Result<(), RuntimeError> {
        if failed {
            self.abort_ingests().await?;
        }
        let request = leases::DeleteRequest { id: self.lease.clone(), sync: failed };
        ask_if("delete lease", Code::NotFound, self.client.leases().delete(request)).await?;
        Ok(())
    }

    /// Half-written blobs of this lease; the lease itself only holds finished ones.
    async fn abort_ingests(&self) -> Result<(), RuntimeError> {
        let request = content::ListStatusesRequest::default();
        let answer = ask("list ingests", self.client.content().list_statuses(request)).await?;
        for status in answer.statuses.into_iter().filter(|s| s.r#ref.starts_with(&self.lease)) {
            let request = content::AbortRequest { r#ref: status.r#ref };
            ask_if("abort ingest", Code::NotFound, self.client.content().abort(request)).await?;
        }
        Ok(())
    }

    async fn hold(&self, id: &str, kind: String) -> Result<(), RuntimeError> {
        let resource = leases::Resource { id: id.to_owned(), r#type: kind };
        let request = leases::AddResourceRequest { id: self.lease.clone(), resource: Some(resource) };
        // Already held is as good.
        ask_if("hold under lease", Code::AlreadyExists, self.client.leases().add_resource(request)).await?;
        Ok(())
    }

    /// Whether the filesystem up to this chain id is there; held from now on if so.
    pub(super) async fn has_snapshot(&self, chain_id: &str) -> Result<bool, RuntimeError> {
        // Held first, looked for then: the collector cannot come in between.
        self.hold(chain_id, format!("snapshots/{SNAPSHOTTER}")).await?;
        is_unpacked(&self.client, chain_id).await
    }

    /// Whether the blob is there; held from now on if so.
    pub(super) async fn has_blob(&self, digest: &str) -> Result<bool, RuntimeError> {
        self.hold(digest, "content".to_owned()).await?;
        let request = content::InfoRequest { digest: digest.to_owned() };
        Ok(ask_if("look for blob", Code::NotFound, self.client.content().info(request)).await?.is_some())
    }

    /// Stores a small blob that is already verified, with labels that tie others to it.
    pub(super) async fn put(&self, digest: &str, bytes: &Bytes, labels: Labels) -> Result<(), PullError> {
        let commit = content::WriteContentRequest {
            action: content::WriteAction::Commit as i32,
            r#ref: self.ingest(digest),
            total: signed(bytes.len() as u64),
            expected: digest.to_owned(),
            data: bytes.to_vec(),
            labels: labels.clone(),
            ..Default::default()
        };
        let mut content = self.client.content();
        let written = async {
            let mut answers = raw("write blob", content.write(futures::stream::iter([commit]))).await?;
            while answers.message().await?.is_some() {}
            Ok(())
        };
        match written.await {
            Ok(()) => Ok(()),
            Err(status) if is_there(&status) => Ok(self.label(digest, labels).await?),
            Err(status) => Err(storing("write blob", &status)),
        }
    }

    async fn label(&self, digest: &str, labels: Labels) -> Result<(), RuntimeError> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = content::Info { digest: digest.to_owned(), labels, ..Default::default() };
        let request = content::UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        ask("label blob", self.client.content().update(request)).await?;
        Ok(())
    }

    fn ingest(&self, digest: &str) -> String {
        // The lease in the name keeps two agents that fetch the same layer from waiting for each other's lock.
        format!("{}-{digest}", self.lease)
    }

    /// Bytes of the blob that an earlier try has left.
    async fn begun(&self, digest: &str) -> Result<u64, RuntimeError> {
        let request = content::StatusRequest { r#ref: self.ingest(digest) };
        let answer = ask_if("look for ingest", Code::NotFound, self.client.content().status(request)).await?;
        Ok(answer.and_then(|a| a.status).and_then(|s| u64::try_from(s.offset).ok()).unwrap_or(0))
    }

    /// Streams a layer from the registry into the content store, from where an earlier try broke off. `told` hears of each
    /// piece's length.
    pub(super) async fn fetch(
        &self,
        registry: &Registry,
        layer: &Descriptor,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<(), PullError> {
        let begun = self.begun(&layer.digest).await?;
        // A part that is as long as the whole, but was not taken for it, is not to be built on.
        let from = if begun < layer.size { begun } else { 0 };
        let (from, pieces) = registry.blob(layer, from).await?;
        told(from);
        let (sender, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
        let feed = Feed { ingest: self.ingest(&layer.digest), layer, sender, offset: from, buffer: BytesMut::new() };
        let drain = async {
            let written = async {
                let mut answers = Box::pin(self.client.content().write(receiver)).await?.into_inner();
                while answers.message().await?.is_some() {}
                Ok::<_, Status>(())
            };
            match written.await {
                Err(status) if !is_there(&status) => Err(storing("write layer", &status)),
                Ok(()) | Err(_) => Ok(()),
            }
        };
        // If the store gives up (full disk), feeding fails too for want of a receiver: the store's reason is the one.
        let (fed, drained) = futures::join!(feed.run(registry, pieces, told), drain);
        match (fed, drained) {
            (Ok(()), drained) => drained,
            (Err(Stopped::StoreGone), Err(reason)) | (Err(Stopped::Failed(reason)), Ok(()) | Err(_)) => Err(reason),
            // The store said it has the blob, before we had sent it all.
            (Err(Stopped::StoreGone), Ok(())) => Ok(()),
        }
    }

    /// Unpacks a layer that is in the content store on top of `parent` (empty for the lowest).
    pub(super) async fn unpack(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        parent: &str,
        chain_id: &str,
    ) -> Result<(), PullError> {
        let key = format!("{}-{chain_id}", self.lease);
        let request = snapshots::PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.into(),
            key: key.clone(),
            parent: parent.to_owned(),
            labels: Labels::new(),
        };
        let what = "prepare layer";
        let prepared = prepare(&self.client, what, request).await.map_err(|status| trouble(what, &status))?;
        let request = diff::ApplyRequest {
            diff: Some(types::Descriptor {
                media_type: layer.media_type.clone(),
                digest: layer.digest.clone(),
                size: signed(layer.size),
                ..Default::default()
            }),
            mounts: prepared.mounts,
            ..Default::default()
        };
        // Unbounded: unpacking tens of gigabytes is disk time, and containerd ends it if it cannot go on.
        let applied = Box::pin(self.client.diff().apply(request)).await.map_err(|s| storing("unpack layer", &s))?;
        let got = applied.into_inner().applied.map(|d| d.digest).unwrap_or_default();
        if got != diff_id {
            return Err(PullError::DigestMismatch(format!("layer {} unpacks to {got}, not {diff_id}", layer.digest)));
        }
        let request = snapshots::CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.into(),
            name: chain_id.to_owned(),
            key,
            labels: Labels::new(),
        };
        // Somebody else may have unpacked the same layer meanwhile; ours then goes with the lease.
        ask_if("commit layer", Code::AlreadyExists, self.client.snapshots().commit(request)).await?;
        Ok(())
    }

    /// Names the image; from here on it is held by its name.
    pub(super) async fn name(&self, name: &str, target: types::Descriptor) -> Result<(), RuntimeError> {
        let image = images::Image { name: name.to_owned(), target: Some(target), ..Default::default() };
        let request = images::CreateImageRequest { image: Some(image.clone()), ..Default::default() };
        if ask_if("name image", Code::AlreadyExists, self.client.images().create(request)).await?.is_some() {
            return Ok(());
        }
        let mask = FieldMask { paths: vec!["target".to_owned()] };
        let request = images::UpdateImageRequest { image: Some(image), update_mask: Some(mask), ..Default::default() };
        ask("rename image", self.client.images().update(request)).await?;
        Ok(())
    }
}

/// One blob on its way from a registry into the content store.
struct Feed<'a> {
    ingest: String,
    layer: &'a Descriptor,
    sender: mpsc::Sender<content::WriteContentRequest>,
    /// Where the buffer's first byte belongs.
    offset: u64,
    buffer: BytesMut,
}

/// Why it got no further.
enum Stopped {
    StoreGone,
    Failed(PullError),
}

impl Feed<'_> {
    async fn run(
        mut self,
        registry: &Registry,
        mut pieces: Pieces,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Stopped> {
        let mut patience = registry.patience("layer");
        loop {
            let piece = match patience.next(&mut pieces).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(reason) => {
                    // What came is kept for the next try.
                    if reason.may_pass() && !self.buffer.is_empty() {
                        self.pass_on(content::WriteAction::Write).await?;
                    }
                    return Err(Stopped::Failed(reason));
                }
            };
            told(piece.len() as u64);
            self.buffer.extend_from_slice(&piece);
            if self.length() > self.layer.size {
                break;
            }
            if self.buffer.len() >= PIECE {
                self.pass_on(content::WriteAction::Write).await?;
            }
        }
        if self.length() != self.layer.size {
            let (digest, size) = (&self.layer.digest, self.layer.size);
            let text = if self.length() > size {
                format!("{digest}: more than the {size} bytes that the manifest says")
            } else {
                format!("{digest}: {} bytes where the manifest says {size}", self.length())
            };
            return Err(Stopped::Failed(PullError::DigestMismatch(text)));
        }
        self.pass_on(content::WriteAction::Commit).await
    }

    fn length(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    async fn pass_on(&mut self, action: content::WriteAction) -> Result<(), Stopped> {
        let data = self.buffer.split().to_vec();
        let offset = self.offset;
        self.offset += data.len() as u64;
        let message = content::WriteContentRequest {
            action: action as i32,
            r#ref: self.ingest.clone(),
            total: signed(self.layer.size),
            expected: self.layer.digest.clone(),
            offset: signed(offset),
            data,
            labels: Labels::new(),
        };
        self.sender.send(message).await.map_err(|_| Stopped::StoreGone)
    }
}

fn is_there(status: &Status) -> bool {
    status.code() == Code::AlreadyExists
}

/// Sizes on the wire are signed.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn storing(what: &str, status: &Status) -> PullError {
    let message = status.message();
    if message.contains("no space left on device") {
        return PullError::NoSpace(format!("{what}: {message}"));
    }
    if message.contains("unexpected commit digest") || message.contains("unexpected commit size") {
        return PullError::DigestMismatch(message.to_owned());
    }
    PullError::Runtime(trouble(what, status))
}
