//! Images that are fetched before a task needs them, one at a time and only while no task waits for another one.

use super::{PullBehavior, Troubled as _};
use ::runtime::{Image, PullPolicy, PullRequest, RegistryAuth, Runtime, image::Mirror};
use effects::Effects;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::Duration,
};
use tokio::sync::watch;

/// Before what failed is tried again; whoever needs it meanwhile asks for it anyway.
const AGAIN: Duration = Duration::from_secs(600);
/// How long no task has to wait for an image before one that was interrupted is begun anew, so that a burst of tasks
/// interrupts it once.
const QUIET: Duration = Duration::from_secs(2);
/// Nothing is fetched while less than one part in so many of the disk is free, and less than `ENOUGH`: the rest is for what tasks need.
const FREE: u64 = 10;
/// Bytes that are room enough on a disk of any size.
const ENOUGH: u64 = 8 << 30;

/// How images are asked for, whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) behavior: PullBehavior,
    /// A docker `config.json` with credentials, read anew for each pull.
    pub(super) registry_auth: Option<PathBuf>,
    /// Registries that are asked in place of others.
    pub(super) mirrors: Vec<Mirror>,
}

impl Asking {
    /// Equal for equal images, so that two who pull one join.
    pub(super) fn request(&self, reference: &str) -> Result<PullRequest, String> {
        let registry = ::runtime::image::registry_of(reference).map_err(|e| e.to_string())?;
        let policy = match self.behavior {
            PullBehavior::Default | PullBehavior::Always => PullPolicy::Always,
            PullBehavior::PreferCached => PullPolicy::IfMissing,
        };
        let mut request = PullRequest::new(reference, policy);
        request.mirror = self.mirrors.iter().find(|given| given.registry == registry).map(|given| given.mirror.clone());
        let asked = request.mirror.as_ref().unwrap_or(&registry);
        if let Some(path) = &self.registry_auth {
            let text = std::fs::read_to_string(path)
                .map_err(|e| format!("the registry credentials {} cannot be read: {e}", path.display()))?;
            request.auth = RegistryAuth::from_docker_config(&text, asked).map_err(|e| e.to_string())?;
        }
        Ok(request)
    }
}

/// What is to be fetched, and what tasks wait for.
pub(super) struct Fetcher {
    wanted: watch::Sender<Arc<[Arc<str>]>>,
    waited_for: Arc<watch::Sender<Vec<String>>>,
    begun: Once,
}

/// As long as it lives, a task waits for an image.
pub(super) struct Waiting {
    waited_for: Arc<watch::Sender<Vec<String>>>,
    image: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waited_for.send_modify(|all| {
            if let Some(at) = all.iter().position(|image| *image == self.image) {
                all.swap_remove(at);
            }
        });
    }
}

impl Fetcher {
    pub(super) fn new() -> Self {
        let none: Arc<[Arc<str>]> = Arc::new([]);
        Self {
            wanted: watch::Sender::new(none),
            waited_for: Arc::new(watch::Sender::new(Vec::new())),
            begun: Once::new(),
        }
    }

    /// A task begins to wait for an image.
    pub(super) fn wait_for(&self, image: &str) -> Waiting {
        self.waited_for.send_modify(|all| all.push(image.to_owned()));
        Waiting { waited_for: self.waited_for.clone(), image: image.to_owned() }
    }

    /// Fetches these from now on, and no others.
    pub(super) fn want(&self, images: Vec<Arc<str>>, tools: impl FnOnce() -> Tools) {
        let images: Arc<[Arc<str>]> = images.into();
        self.wanted.send_if_modified(|now| std::mem::replace(now, images.clone()) != images);
        if images.is_empty() {
            return;
        }
        self.begun.call_once(|| {
            let tools = tools();
            let (wanted, waited_for) = (self.wanted.subscribe(), self.waited_for.subscribe());
            tools.effects.clone().spawn("fetch images ahead", tools.run(wanted, waited_for));
        });
    }
}

/// What it is done with.
pub(super) struct Tools {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) asking: Asking,
    /// On the disk that images are on.
    pub(super) dir: PathBuf,
    pub(super) effects: Effects,
}

impl Tools {
    async fn run(self, mut wanted: watch::Receiver<Arc<[Arc<str>]>>, mut waited_for: watch::Receiver<Vec<String>>) {
        let stop = self.effects.shutdown().clone();
        let mut done: HashSet<Arc<str>> = HashSet::new();
        loop {
            let images = wanted.borrow_and_update().clone();
            done.retain(|image| images.contains(image));
            for image in images.iter() {
                // What is wanted by now comes first.
                if wanted.has_changed().unwrap_or(true) || done.contains(image) {
                    continue;
                }
                tokio::select! {
                    fetched = self.fetch(image, &mut waited_for) => match fetched {
                        Ok(here) => {
                            tracing::info!(%image, digest = here.digest, "an image is here before a task needs it");
                            done.insert(image.clone());
                        }
                        Err(why) => tracing::warn!(%image, why, "an image could not be fetched ahead; a task that needs it asks for it"),
                    },
                    () = stop.cancelled() => return,
                }
            }
            let all = images.iter().all(|image| done.contains(image));
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = self.effects.sleep(AGAIN), if !all => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Fetches one, as often as tasks interrupt it.
    async fn fetch(&self, image: &Arc<str>, waited_for: &mut watch::Receiver<Vec<String>>) -> Result<Image, String> {
        loop {
            waited_for.wait_for(Vec::is_empty).await.map_err(gone)?;
            if !has_room(&self.dir) {
                return Err(format!(
                    "less than one part in {FREE} of the disk is free, and less than {} GiB",
                    ENOUGH >> 30
                ));
            }
            let request = self.asking.request(image)?;
            tokio::select! {
                pulled = self.runtime.pull(request, &|_| ()) => match pulled {
                    Ok(here) => return Ok(here),
                    Err(error) if error.passes() => {}
                    Err(error) => return Err(error.to_string()),
                },
                // Who waits for this very image has joined.
                other = other_than(image, waited_for) => other?,
            }
            self.effects.sleep(QUIET).await;
        }
    }
}

/// Waits until a task waits for another image.
async fn other_than(image: &str, waited_for: &mut watch::Receiver<Vec<String>>) -> Result<(), String> {
    let other = waited_for.wait_for(|all| all.iter().any(|waits| waits != image)).await;
    other.map(drop).map_err(gone)
}

/// Whoever holds the other end lives as long as the agent.
fn gone(_: watch::error::RecvError) -> String {
    "the agent ends".to_owned()
}

/// Whether the disk has room for what nobody has asked for.
fn has_room(dir: &Path) -> bool {
    let enough = |told: rustix::fs::StatVfs| {
        told.f_bavail.saturating_mul(FREE) >= told.f_blocks || told.f_bavail.saturating_mul(told.f_frsize) >= ENOUGH
    };
    rustix::fs::statvfs(dir).is_ok_and(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_as_long_as_its_mark_lives() {
        let fetcher = Fetcher::new();
        let waits = || fetcher.waited_for.borrow().clone();
        let (one, two) = (fetcher.wait_for("a"), fetcher.wait_for("a"));
        assert_eq!(waits(), ["a", "a"]);
        drop(one);
        assert_eq!(waits(), ["a"]);
        drop(two);
        assert!(waits().is_empty());
    }

    #[test]
    fn who_asks_for_one_image_asks_alike() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, r#"{"auths":{"registry.test":{"auth":"dTpw"}}}"#).unwrap();
        let mirrors = vec!["docker.io=registry.test".parse().unwrap()];
        let asking = Asking { behavior: PullBehavior::PreferCached, registry_auth: Some(file), mirrors };
        let request = asking.request("registry.test/a:1").unwrap();
        assert_eq!((request.policy, &request), (PullPolicy::IfMissing, &asking.request("registry.test/a:1").unwrap()));
        assert_ne!(request.auth, RegistryAuth::Anonymous);
        // A mirror is told its own credentials, and those of the registry that it stands for are nobody's but that one's.
        let mirrored = asking.request("a:1").unwrap();
        assert_eq!((mirrored.mirror.as_deref(), &mirrored.auth), (Some("registry.test"), &request.auth));
        assert_eq!((mirrored.reference.as_str(), request.mirror), ("a:1", None));
        assert!(asking.request("not an image").is_err());
        assert!(!has_room(Path::new("/nowhere")), "what cannot be looked at is taken for full");
    }
}
