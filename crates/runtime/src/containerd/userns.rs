//! A container's file system and mounts as the users of its own user namespace are to see them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use super::api::containerd::types::Mount;
use super::{Containerd, documents};
use crate::container::{BindMount, ContainerSpec};
use crate::error::CreateError;
use crate::userns::clones::{Clones, Look};
use crate::userns::{IdMapping, UserNamespace};

/// Longer ones would not fit into the options of a mount of many.
const NAME_DIGITS: usize = 16;

impl Containerd {
    /// The specification with the mounts that its users are to see in place of the machine's, and so the file system; `None` where
    /// users have their own numbers. `fresh`: nothing was written there before.
    pub(super) async fn as_own_users_see(
        &self,
        spec: &ContainerSpec,
        mounts: Vec<Mount>,
        fresh: bool,
    ) -> Result<(Option<ContainerSpec>, Vec<Mount>), CreateError> {
        let Some(userns) = spec.userns.clone() else { return Ok((None, mounts)) };
        let (clones, mut spec) = (self.clones.clone(), spec.clone());
        let work = move || {
            // What a try has left that was given up.
            let unclean = |e| CreateError::Oci(format!("mounts for user namespaces: {e}"));
            clones.remove(&spec.id).map_err(unclean)?;
            let showing = Showing { clones: &clones, container: &spec.id, user: &open(&userns)? };
            let mounts = showing.filesystem(mounts, fresh.then_some(&userns.mapping))?;
            let shown = spec.mounts.iter().map(|bind| showing.bind(bind)).collect::<Result<_, _>>()?;
            spec.mounts = shown;
            Ok((Some(spec), mounts))
        };
        tokio::task::spawn_blocking(work).await.expect("mounting does not panic")
    }

    /// Takes away what was mounted for a container while it was made.
    pub(super) async fn end_clones(&self, spec: &ContainerSpec) {
        if spec.userns.is_none() {
            return;
        }
        let (clones, id) = (self.clones.clone(), spec.id.clone());
        let removed = tokio::task::spawn_blocking(move || clones.remove(&id)).await.expect("unmounting does not panic");
        if let Err(error) = removed {
            tracing::warn!(%error, id = spec.id, "what was mounted to make a container stays until the next start");
        }
    }
}

fn open(userns: &UserNamespace) -> Result<File, CreateError> {
    let gone = |e| CreateError::Oci(format!("user namespace {}: {e}", userns.path.display()));
    File::open(&userns.path).map_err(gone)
}

struct Showing<'a> {
    clones: &'a Clones,
    container: &'a str,
    user: &'a File,
}

impl Showing<'_> {
    /// Layers of the image as its users see them. What the container writes is on the disk as it sees it, shifted.
    fn filesystem(&self, mounts: Vec<Mount>, fresh: Option<&IdMapping>) -> Result<Vec<Mount>, CreateError> {
        mounts.into_iter().map(|mount| self.layers(mount, fresh)).collect()
    }

    fn layers(&self, mut mount: Mount, fresh: Option<&IdMapping>) -> Result<Mount, CreateError> {
        let whole = Look::of(self.user.as_fd());
        if mount.r#type == "bind" {
            mount.source = text(&self.clone("root", Path::new(&mount.source), whole)?);
            return Ok(mount);
        }
        for option in &mut mount.options {
            if let Some(layers) = option.strip_prefix("lowerdir=") {
                let layers = layers.split(':').enumerate();
                let shown = layers.map(|(n, layer)| Ok(text(&self.clone(&n.to_string(), Path::new(layer), whole)?)));
                *option = format!("lowerdir={}", shown.collect::<Result<Vec<_>, CreateError>>()?.join(":"));
            } else if let (Some(mapping), Some(folder)) = (fresh, of_container(option)) {
                give(Path::new(folder), mapping).map_err(|e| CreateError::Oci(format!("{folder}: {e}")))?;
            }
        }
        Ok(mount)
    }

    fn bind(&self, bind: &BindMount) -> Result<BindMount, CreateError> {
        let user = (!bind.as_is).then(|| self.user.as_fd());
        let look = Look { user, read_only: bind.read_only };
        if bind.as_is && !bind.read_only {
            return Ok(bind.clone());
        }
        // By the place inside, which a container's document names for good, not by the order.
        let digest = documents::sha256(bind.target.as_bytes());
        let name = format!("at-{}", &digest["sha256:".len()..][..NAME_DIGITS]);
        // It is read-only already, where it is to be.
        Ok(BindMount { source: self.clone(&name, &bind.source, look)?, read_only: false, ..bind.clone() })
    }

    fn clone(&self, name: &str, source: &Path, look: Look<'_>) -> Result<PathBuf, CreateError> {
        self.clones.make(self.container, name, source, look).map_err(|error| refused(source, &error))
    }
}

/// The folder of an overlay's option in which what is written is kept, or made ready.
fn of_container(option: &str) -> Option<&str> {
    ["upperdir=", "workdir="].iter().find_map(|name| option.strip_prefix(name))
}

/// Gives a folder that was just made to the numbers that stand for its owner inside. Who has none there is nobody, as with all files.
fn give(folder: &Path, mapping: &IdMapping) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    let shifted = |first: u32, own: u32| (own < mapping.count).then(|| first + own);
    chown(folder, shifted(mapping.first_user, owner.uid()), shifted(mapping.first_group, owner.gid()))
}

fn refused(source: &Path, error: &io::Error) -> CreateError {
    let path = source.display();
    if error.raw_os_error() == Some(libc::EINVAL) {
        return CreateError::InvalidSpec(format!(
            "{path} cannot be shown to containers in user namespaces: a file system there has no idmapped mounts"
        ));
    }
    CreateError::InvalidSpec(format!("{path}: {error}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
