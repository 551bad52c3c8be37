//! Volumes that images declare (`VOLUME`): folders among those of the task, one for each container and place, and beside them what the
//! container's image said (docs/decisions/0039).
//!
//! That is written down because it is known only once the image is here, and other containers that take its volumes ask for it later,
//! perhaps after another agent has taken over.

use crate::{
    files::{self, Durable, Mode},
    node::Failure,
    plan::Job,
};
use ::runtime::{BindMount, Image};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// What an image said: a list of places.
const PLACES: &str = "places.json";
/// So many digits of a digest make a folder's name: two places of one image never have the same.
const NAME_BYTES: usize = 16;

/// Where a container's are, below the folder of its task's volumes. No volume of a definition begins with a dot, and a container's own
/// name may be too long to stand behind something.
fn folder(volumes: &Path, at: usize) -> PathBuf {
    volumes.join(format!(".image-{at}"))
}

/// The folder of the one at that place.
pub(super) fn place(volumes: &Path, at: usize, path: &str) -> PathBuf {
    let digest = Sha256::digest(path.as_bytes());
    folder(volumes, at).join(hex::encode(&digest[..NAME_BYTES]))
}

/// Whether any of a container's are written down.
pub(super) fn were_told(volumes: &Path, at: usize) -> bool {
    folder(volumes, at).join(PLACES).exists()
}

/// Where a container's image has volumes, but for places where it is shown something of ours; `None` for one that is started again,
/// whatever its image's name leads to by now.
pub(super) fn declared(job: &Job, image: &Image, ours: &[BindMount]) -> Result<Option<Vec<String>>, Failure> {
    if job.run > 0 {
        return Ok(None);
    }
    let mut places = image.config.volume_places().map_err(|e| Failure::new("CannotCreateContainerError", e))?;
    places.retain(|place| ours.iter().all(|mount| mount.target != *place));
    Ok(Some(places))
}

/// What the images of a task's containers declare, as far as the container that is made has to know: its own, and, if it takes volumes
/// from others, theirs. `declared` is what its own says, and holds from now on; of one that is made again, what it said the first time
/// does.
pub(super) fn known(
    volumes: &Path,
    job: &Job,
    declared: Option<Vec<String>>,
) -> io::Result<BTreeMap<String, Vec<String>>> {
    let read = |at: usize| files::read_json::<Vec<String>>(&folder(volumes, at).join(PLACES));
    if let Some(declared) = declared
        && read(job.at)?.unwrap_or_default() != declared
    {
        let own = folder(volumes, job.at);
        files::folder(&own)?;
        files::write_json(&own.join(PLACES), &declared, Mode::Private, Durable::ProcessDeath)?;
    }
    let mut all = BTreeMap::new();
    for (at, container) in job.task.containers.iter().enumerate() {
        if (at == job.at || !job.container().volumes_from.is_empty())
            && let Some(places) = read(at)?
        {
            all.insert(container.name.clone(), places);
        }
    }
    Ok(all)
}
