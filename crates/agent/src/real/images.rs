//! Image clean-up: what no container has used for a while goes, a few at a time. Source: the original's image manager.

use super::IMAGE_LABEL;
use crate::engine::Board;
use effects::Effects;
use runtime::{Runtime, RuntimeError};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How images are cleaned up. The defaults are the original's (ECS_IMAGE_CLEANUP_INTERVAL and its kin).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageCleanup {
    /// Between two cycles.
    pub every: Duration,
    /// How long an image is kept after its last use, or since the agent first saw it.
    pub unused_for: Duration,
    /// The most images removed in one cycle.
    pub per_cycle: usize,
}

impl Default for ImageCleanup {
    fn default() -> Self {
        Self { every: Duration::from_secs(30 * 60), unused_for: Duration::from_secs(60 * 60), per_cycle: 5 }
    }
}

/// Cleans up until shutdown.
pub async fn clean_images(runtime: Arc<dyn Runtime>, board: Arc<Board>, rules: ImageCleanup, effects: Effects) {
    let mut used = LastUse::default();
    loop {
        if let Err(error) = cycle(&*runtime, &board, rules, &effects, &mut used).await {
            tracing::warn!(%error, "images could not be cleaned up");
        }
        if !effects.sleep_unless_stopped(rules.every).await {
            return;
        }
    }
}

async fn cycle(
    runtime: &dyn Runtime,
    board: &Board,
    rules: ImageCleanup,
    effects: &Effects,
    used: &mut LastUse,
) -> Result<(), RuntimeError> {
    let there: Vec<String> = runtime.list_images().await?.into_iter().map(|image| image.name).collect();
    let containers = runtime.list(&BTreeMap::new()).await?;
    let mut in_use: HashSet<String> = containers.into_iter().filter_map(|mut c| c.labels.remove(IMAGE_LABEL)).collect();
    for view in board.views() {
        let images = view.plan.containers.iter().filter_map(|c| runtime::image::normalize(&c.image).ok());
        in_use.extend(images);
    }
    in_use.extend(board.wanted().iter().filter_map(|image| runtime::image::normalize(image).ok()));
    for name in used.old(&there, &in_use, rules, effects.monotonic()) {
        tracing::info!(image = name, "an unused image is removed");
        runtime.remove_image(&name).await?;
    }
    Ok(())
}

/// When each image was last seen in use.
#[derive(Debug, Default)]
struct LastUse(HashMap<String, Duration>);

impl LastUse {
    /// The images to remove now, least recently used first.
    fn old(&mut self, there: &[String], in_use: &HashSet<String>, rules: ImageCleanup, now: Duration) -> Vec<String> {
        self.0.retain(|name, _| there.contains(name));
        for name in there {
            let last = self.0.entry(name.clone()).or_insert(now);
            if in_use.contains(name) {
                *last = now;
            }
        }
        let mut old: Vec<_> =
            self.0.iter().filter(|(_, last)| now.saturating_sub(**last) >= rules.unused_for).collect();
        old.sort_by_key(|(name, last)| (**last, (*name).clone()));
        old.into_iter().take(rules.per_cycle).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_go_first_and_never_those_in_use() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let rules = ImageCleanup { per_cycle: 2, ..ImageCleanup::default() };
        let hour = |n: u64| Duration::from_secs(n * 3600);
        let mut used = LastUse::default();
        let there = names(&["a", "b", "c", "d"]);
        let busy: HashSet<_> = names(&["a"]).into_iter().collect();
        let b: HashSet<_> = names(&["a", "b"]).into_iter().collect();
        assert_eq!(used.old(&there, &b, rules, hour(0)), names(&[]), "nothing is old at first");
        assert_eq!(used.old(&there, &b, rules, Duration::from_secs(60)), names(&[]));
        assert_eq!(used.old(&there, &busy, rules, hour(2)), names(&["c", "d"]));
        assert_eq!(used.old(&names(&["a", "b"]), &busy, rules, hour(3)), names(&["b"]));
        assert_eq!(used.old(&names(&["a"]), &HashSet::new(), rules, hour(3)), names(&[]));
    }
}
