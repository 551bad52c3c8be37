//! The GPUs that the operator says a machine has: ids, and the device nodes that are each one's.
//!
//! They are not looked for: which nodes and which id a GPU has only its driver's own tools know for sure.

use crate::node::Failure;
use model::GpuId;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// A machine's GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus(BTreeMap<GpuId, Vec<PathBuf>>);

/// Reads `ID=DEVICE[,DEVICE...]`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<(GpuId, Vec<PathBuf>), String> {
    let (id, devices) = text.split_once('=').ok_or("it must be ID=DEVICE[,DEVICE...]")?;
    let id = GpuId::try_from(id.to_owned())?;
    let devices: Vec<PathBuf> = devices.split(',').map(PathBuf::from).collect();
    let is_plain = |path: &Path| path.is_absolute() && path.components().all(|part| part.as_os_str() != "..");
    match devices.iter().find(|path| !is_plain(path)) {
        Some(path) => Err(format!("'{}' is not an absolute path without '..'", path.display())),
        None => Ok((id, devices)),
    }
}

impl Gpus {
    /// These, each of which is named once.
    ///
    /// # Errors
    /// One that is named twice.
    pub fn new(given: impl IntoIterator<Item = (GpuId, Vec<PathBuf>)>) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (id, devices) in given {
            if all.insert(id.clone(), devices).is_some() {
                return Err(format!("the GPU {} is named twice", id.as_str()));
            }
        }
        Ok(Self(all))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose devices are there: what the instance offers. Of the others it is said what is missing.
    pub(crate) fn present(&self) -> BTreeSet<GpuId> {
        let is_device = |path: &Path| {
            fs::metadata(path).is_ok_and(|m| m.file_type().is_char_device() || m.file_type().is_block_device())
        };
        let whole = self.0.iter().filter(|(id, devices)| {
            let missing = devices.iter().find(|path| !is_device(path));
            if let Some(path) = missing {
                tracing::warn!(gpu = id.as_str(), device = %path.display(), "a GPU is not offered: that is not a device node");
            }
            missing.is_none()
        });
        whole.map(|(id, _)| id.clone()).collect()
    }

    /// The device nodes of these, each once: what several GPUs share is named with each.
    ///
    /// # Errors
    /// One that the agent knows no more.
    pub(crate) fn devices(&self, ids: &[GpuId]) -> Result<Vec<PathBuf>, Failure> {
        let mut devices = BTreeSet::new();
        for id in ids {
            let Some(own) = self.0.get(id) else {
                let text = format!("the instance has no GPU {}", id.as_str());
                return Err(Failure::new("CannotCreateContainerError", text));
            };
            devices.extend(own.iter().cloned());
        }
        Ok(devices.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(given: &[&str]) -> Result<Gpus, String> {
        Gpus::new(given.iter().map(|text| parse(text).unwrap()))
    }

    #[test]
    fn a_gpu_is_an_id_and_its_devices() {
        for bad in ["GPU-0", "=/dev/null", "a b=/dev/null", "a=", "a=dev/null", "a=/dev/../etc/passwd", "a=/dev/null,"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(gpus(&["a=/dev/null", "a=/dev/zero"]).is_err());
        let all = gpus(&["a=/dev/null,/dev/full", "b=/dev/zero,/dev/full", "c=/dev/null,/etc/hostname"]).unwrap();
        let id = |text: &str| GpuId::parse(text).unwrap();
        assert_eq!(all.present(), [id("a"), id("b")].into(), "a file is no device");
        let both = all.devices(&[id("a"), id("b")]).unwrap();
        assert_eq!(both, ["/dev/full", "/dev/null", "/dev/zero"].map(PathBuf::from));
        let failure = all.devices(&[id("d")]).unwrap_err();
        assert_eq!(&*failure.0, "CannotCreateContainerError: the instance has no GPU d");
        assert!(all.devices(&[]).unwrap().is_empty() && Gpus::default().is_empty());
    }
}
