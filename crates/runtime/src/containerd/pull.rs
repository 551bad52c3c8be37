//! One pull from reference to named image, and the thread all pulls run on.
//!
//! Pulls have a thread of their own because of networks: a local instance's agent lives in a namespace that reaches no
//! registry, so this thread enters the namespace that does, and everything it starts (name resolution included)
//! inherits it. Dropping a caller's future drops its end of the job, which the thread takes as cancellation.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use effects::Effects;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use super::SNAPSHOTTER;
use super::api::containerd::types;
use super::client::Client;
use super::documents::{self, Configuration, Descriptor, Document, Manifest};
use super::images::{self, Images};
use super::registry::{Clients, Registry, asked_of, is_plain};
use super::store::{Labels, Store, signed};
use crate::error::{PullError, RuntimeError};
use crate::image::{self, Image, Platform, PullPolicy, PullProgress, PullRequest};

/// Layers of one image fetched at the same time; Docker's figure.
const CONCURRENT_LAYERS: usize = 3;
/// How often ending a lease is tried again, and the pause before each: containerd restarts within seconds.
const LEASE_TRIES: u32 = 60;
const LEASE_AGAIN: Duration = Duration::from_secs(1);
/// Jobs waiting for the thread to look: it starts each at once, so a few suffice.
const WAITING_JOBS: usize = 64;

/// How often a registry that is in trouble is tried, and the longest pause between two tries. Source: the original agent's
/// (ecs-agent `engine/docker_task_engine.go`), whose pauses grow by half as well.
const TRIES: u32 = 5;
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// What the thread needs to know.
pub(super) struct PullConfig {
    pub(super) socket: PathBuf,
    pub(super) namespace: String,
    pub(super) netns: Option<PathBuf>,
    pub(super) insecure: Vec<String>,
    pub(super) inactivity: Duration,
    /// Whose pulls these are, over restarts.
    pub(super) owner: String,
    pub(super) first_retry: Duration,
}

/// One pull to do.
pub(super) struct Job {
    pub(super) request: PullRequest,
    pub(super) progress: watch::Sender<PullProgress>,
    pub(super) done: oneshot::Sender<Result<Image, PullError>>,
}

/// Starts the thread; it ends when the sender is dropped and the last pull is done.
pub(super) fn start(config: PullConfig, images: Images, effects: Effects) -> Result<mpsc::Sender<Job>, RuntimeError> {
    let (sender, receiver) = mpsc::channel(WAITING_JOBS);
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let failed = |e: std::io::Error| RuntimeError::Other(format!("cannot start the pull thread: {e}"));
    std::thread::Builder::new()
        .name("pulls".into())
        .spawn(move || match prepare(&config) {
            Ok((runtime, client)) => {
                // The receiver waits below, so there is one.
                let _ = ready.send(Ok(()));
                let pulls = Pulls { client, config, registries: Clients::default(), images, effects };
                LocalSet::new().block_on(&runtime, serve(Rc::new(pulls), receiver));
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })
        .map_err(failed)?;
    started.recv().map_err(|_| RuntimeError::Other("the pull thread died at once".into()))??;
    Ok(sender)
}

fn prepare(config: &PullConfig) -> Result<(tokio::runtime::Runtime, Client), RuntimeError> {
    if let Some(netns) = &config.netns {
        enter(netns).map_err(|e| RuntimeError::Other(format!("cannot enter {}: {e}", netns.display())))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| RuntimeError::Other(format!("cannot start the pull thread: {e}")))?;
    let client = {
        let _inside = runtime.enter();
        Client::new(&config.socket, &config.namespace)?
    };
    Ok((runtime, client))
}

fn enter(netns: &std::path::Path) -> std::io::Result<()> {
    use std::os::fd::AsFd as _;
    let namespace = std::fs::File::open(netns)?;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))?;
    Ok(())
}

/// What all pulls share.
struct Pulls {
    client: Client,
    config: PullConfig,
    registries: Clients,
    images: Images,
    effects: Effects,
}

async fn serve(pulls: Rc<Pulls>, mut jobs: mpsc::Receiver<Job>) {
    if let Err(error) = Store::close_former(&pulls.client, &pulls.config.owner).await {
        tracing::warn!(%error, "the leases of a former run's pulls stay until they expire");
    }
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => {
                    running.spawn_local(Rc::clone(&pulls).run(job));
                }
                None => break,
            },
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

impl Pulls {
    async fn run(self: Rc<Self>, job: Job) {
        let Job { request, progress, mut done } = job;
        let outcome = self.make_present(&request, &progress, &mut done).await;
        // Nobody may be waiting any more; the image is welcome all the same.
        let _ = done.send(outcome);
    }

    async fn make_present(
        &self,
        request: &PullRequest,
        progress: &watch::Sender<PullProgress>,
        done: &mut oneshot::Sender<Result<Image, PullError>>,
    ) -> Result<Image, PullError> {
        let Self { client, config, registries, images, effects } = self;
        let reference = image::parse(&request.reference)?;
        let name = reference.whole();
        let mut here = images.find(client, &name, &request.platform).await?;
        if let (None, Some(digest)) = (&here, reference.digest()) {
            here = images.adopt(client, &name, digest, &request.platform).await?;
        }
        // Whoever has a copy is not kept from it by a registry in trouble.
        let tries = if here.is_some() { 1 } else { TRIES };
        let asks = match (request.policy, here) {
            (PullPolicy::IfMissing, Some(image)) => return Ok(image),
            // What a digest names never changes.
            (PullPolicy::Always, Some(image)) if reference.digest().is_some() => return Ok(image),
            (PullPolicy::Always, here) => here,
            (PullPolicy::IfMissing, None) => None,
        };
        let mut asked = reference;
        if let Some(mirror) = &request.mirror {
            asked.set_mirror_registry(mirror.clone());
        }
        let plain = is_plain(asked_of(&asked), &config.insecure);
        let open = || Registry::open(registries, asked.clone(), &request.auth, plain, config.inactivity);
        let cancelled = || PullError::Refused(format!("pull of {name} was cancelled"));
        if let Some(image) = asks {
            let auth = &request.auth;
            let registry = Registry::granted(registries, asked.clone(), auth, plain, config.inactivity);
            let digest = async { registry.await?.digest().await };
            let digest = tokio::select! {
                digest = digest => digest,
                () = done.closed() => return Err(cancelled()),
            };
            match digest {
                // The usual case, and then nothing is written: each write of containerd's is a sync of its database.
                Ok(digest) if digest == image.digest => return Ok(image),
                Err(error) if error.may_pass() => return Err(error),
                // If the registry would not say, asking for the manifest itself tells why.
                Ok(_) | Err(_) => {}
            }
        }
        let store = Store::open(client, &config.owner, effects).await?;
        let work = async || {
            let pull = Pull { store: &store, registry: open().await?, progress };
            pull.run(&name, &request.platform).await
        };
        let persistent = async {
            let (mut number, mut pause) = (1, config.first_retry);
            loop {
                match work().await {
                    Err(error) if error.may_pass() && number < tries => {
                        tracing::info!(image = name, %error, number, "a pull broke off; it goes on where it was");
                        effects.sleep(pause).await;
                        pause = (pause * 3 / 2).min(LONGEST_RETRY);
                        number += 1;
                    }
                    outcome => return outcome,
                }
            }
        };
        let outcome = tokio::select! {
            outcome = persistent => outcome,
            () = done.closed() => Err(cancelled()),
        };
        let failed = outcome.is_err();
        if let Err(error) = store.close(failed).await {
            tracing::warn!(%error, image = name, "the lease of a pull could not be ended; trying again");
            tokio::task::spawn_local(end_lease(store, failed, effects.clone()));
        }
        outcome
    }
}

/// Ends a lease although containerd does not answer just now. What fails for longer, the next run of ours does, or it expires.
async fn end_lease(store: Store, failed: bool, effects: Effects) {
    for _ in 0..LEASE_TRIES {
        effects.sleep(LEASE_AGAIN).await;
        if store.close(failed).await.is_ok() {
            return;
        }
    }
}

struct Pull<'a> {
    store: &'a Store,
    registry: Registry,
    progress: &'a watch::Sender<PullProgress>,
}

/// A manifest with the bytes it was read from.
struct Resolved {
    /// What the reference names: an index or the manifest itself.
    target: types::Descriptor,
    digest: String,
    manifest: Manifest,
    /// All documents to keep: digest, bytes, labels.
    keep: Vec<(String, Bytes, Labels)>,
}

impl Pull<'_> {
    async fn run(&self, name: &str, platform: &Platform) -> Result<Image, PullError> {
        let resolved = self.resolve(name, platform).await?;
        let config = self.small_blob(&resolved.manifest.config).await?;
        let configuration = Configuration::read(&config)?;
        let (os, architecture) = (&configuration.os, &configuration.architecture);
        if !os.is_empty() && !platform.matches(os, architecture, None) {
            return Err(missing(name, platform));
        }
        let chain_ids = configuration.chain_ids();
        if chain_ids.len() != resolved.manifest.layers.len() || chain_ids.is_empty() {
            let text = format!("{} layers, but {} diff ids", resolved.manifest.layers.len(), chain_ids.len());
            return Err(PullError::Unsupported(text));
        }
        self.layers(&resolved.manifest.layers, &configuration.rootfs.diff_ids, &chain_ids).await?;

        // What refers is stored after what it refers to, and tied to it: the layers' own blobs are not tied, because
        // nobody reads them again once they are unpacked.
        let top = chain_ids.last().cloned().unwrap_or_default();
        let to_snapshot = Labels::from([(format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"), top.clone())]);
        self.store.put(&resolved.manifest.config.digest, &config, to_snapshot).await?;
        for (digest, bytes, labels) in resolved.keep {
            self.store.put(&digest, &bytes, labels).await?;
        }
        let digest = resolved.target.digest.clone();
        self.store.name(name, resolved.target).await?;
        Ok(images::image(name, &digest, &resolved.digest, &resolved.manifest, &configuration, top))
    }

    async fn resolve(&self, name: &str, platform: &Platform) -> Result<Resolved, PullError> {
        let bytes = self.registry.manifest(None).await?;
        let digest = documents::sha256(&bytes);
        let (document, media_type) = documents::read(&bytes)?;
        let descriptor = |media_type: &str, digest: &str, bytes: &Bytes| types::Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_owned(),
            size: signed(bytes.len() as u64),
            ..Default::default()
        };
        let target = descriptor(media_type, &digest, &bytes);
        match document {
            Document::Manifest(manifest) => {
                let keep = vec![(digest.clone(), bytes, to_config(&manifest))];
                Ok(Resolved { target, digest, manifest, keep })
            }
            Document::Index(entries) => {
                let entry = documents::choose(&entries, platform).ok_or_else(|| missing(name, platform))?;
                let inner = self.registry.manifest(Some(&entry.digest)).await?;
                verify(&entry.digest, &inner)?;
                let (Document::Manifest(manifest), _) = documents::read(&inner)? else {
                    return Err(PullError::Unsupported("an index of indexes".into()));
                };
                let to_manifest = Labels::from([("containerd.io/gc.ref.content.m.0".to_owned(), entry.digest.clone())]);
                let own = (entry.digest.clone(), inner, to_config(&manifest));
                let keep = vec![own, (digest, bytes, to_manifest)];
                Ok(Resolved { target, digest: entry.digest.clone(), manifest, keep })
            }
        }
    }

    async fn small_blob(&self, descriptor: &Descriptor) -> Result<Bytes, PullError> {
        /// Configurations are a few kilobytes; a megabyte-sized one is an attack or an artifact.
        const LARGEST: u64 = 8 << 20;
        if descriptor.size > LARGEST {
            return Err(PullError::Unsupported(format!("image configuration of {} bytes", descriptor.size)));
        }
        let (_, mut pieces) = self.registry.blob(descriptor, 0).await?;
        let mut patience = self.registry.patience("image configuration");
        let mut bytes = Vec::new();
        while let Some(piece) = patience.next(&mut pieces).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > LARGEST {
                return Err(PullError::Unsupported("image configuration larger than it says".into()));
            }
        }
        let bytes = Bytes::from(bytes);
        verify(&descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    /// Fetches what is missing, a few layers at a time, and unpacks each as soon as all below it are.
    async fn layers(&self, layers: &[Descriptor], diff_ids: &[String], chain_ids: &[String]) -> Result<(), PullError> {
        let mut present = 0;
        for (index, chain_id) in chain_ids.iter().enumerate().rev() {
            if self.store.has_snapshot(chain_id).await? {
                present = index + 1;
                break;
            }
        }
        let wanted = &layers[present..];
        self.progress.send_replace(PullProgress {
            layers_total: layers.len(),
            layers_done: present,
            bytes_total: wanted.iter().map(|l| l.size).sum(),
            bytes_done: 0,
        });
        let told = |bytes: u64| self.progress.send_modify(|p| p.bytes_done += bytes);
        // Fetching goes on while a layer is being unpacked; the channel holds what is fetched but not unpacked.
        let (fetched, mut ready) = mpsc::channel(CONCURRENT_LAYERS);
        let fetch = async {
            let mut stream = futures::stream::iter(wanted)
                .map(|layer| async { self.fetch(layer, &told).await })
                .buffered(CONCURRENT_LAYERS);
            while let Some(outcome) = stream.next().await {
                outcome?;
                if fetched.send(()).await.is_err() {
                    break;
                }
            }
            drop(fetched);
            Ok(())
        };
        let unpacked = Cell::new(present);
        let unpack = async {
            while ready.recv().await.is_some() {
                let index = unpacked.get();
                let parent = index.checked_sub(1).map_or("", |below| chain_ids[below].as_str());
                self.store.unpack(&layers[index], &diff_ids[index], parent, &chain_ids[index]).await?;
                unpacked.set(index + 1);
                self.progress.send_modify(|p| p.layers_done = index + 1);
            }
            Ok::<(), PullError>(())
        };
        futures::try_join!(fetch, unpack)?;
        Ok(())
    }

    async fn fetch(&self, layer: &Descriptor, told: &(dyn Fn(u64) + Sync)) -> Result<(), PullError> {
        if self.store.has_blob(&layer.digest).await? {
            told(layer.size);
            return Ok(());
        }
        self.store.fetch(&self.registry, layer, told).await
    }
}

fn to_config(manifest: &Manifest) -> Labels {
    Labels::from([("containerd.io/gc.ref.content.config".to_owned(), manifest.config.digest.clone())])
}

fn verify(digest: &str, bytes: &Bytes) -> Result<(), PullError> {
    let got = documents::sha256(bytes);
    // Other algorithms have been verified by the registry client; containerd verifies once more on commit.
    if digest.starts_with("sha256:") && got != digest {
        return Err(PullError::DigestMismatch(format!("expected {digest}, got {got}")));
    }
    Ok(())
}

fn missing(name: &str, platform: &Platform) -> PullError {
    let platform = match &platform.variant {
        Some(variant) => format!("{}/{}/{variant}", platform.os, platform.architecture),
        None => format!("{}/{}", platform.os, platform.architecture),
    };
    PullError::PlatformMissing { reference: name.to_owned(), platform }
}
