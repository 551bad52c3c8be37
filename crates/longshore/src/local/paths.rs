//! Where a server with local instances keeps what on its host. All names carry a key made of the data directory, so that two
//! servers on one host never touch each other's.

use network::IfName;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The places.
#[derive(Debug, Clone)]
pub(crate) struct HostPaths {
    data: PathBuf,
    key: String,
}

impl HostPaths {
    /// The places of the server whose data directory is `data`, an absolute path.
    pub(crate) fn new(data: &Path) -> Self {
        let digest = hex::encode(Sha256::digest(data.as_os_str().as_encoded_bytes()));
        Self { data: data.to_owned(), key: digest[..8].to_owned() }
    }
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
    /// The fabric's bridge.
    pub(crate) fn bridge(&self) -> IfName {
        IfName::new(format!("lsb-{}", self.key)).expect("twelve letters, digits and a hyphen")
    }
    /// Our own containerd's folder.
    pub(crate) fn containerd(&self) -> PathBuf {
        self.data.join("containerd")
    }
    /// What of it does not survive a reboot.
    pub(crate) fn run_containerd(&self) -> PathBuf {
        self.run().join("containerd")
    }
    /// The folder of all instances' folders.
    pub(crate) fn instances(&self) -> PathBuf {
        self.data.join("instances")
    }
    /// The machines that have a folder here.
    pub(crate) fn list(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.instances()).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with("i-")).collect()
    }
    /// An agent's folder: identity, ledger, logs.
    pub(crate) fn instance(&self, id: &str) -> PathBuf {
        self.instances().join(id)
    }
    /// What an instance is told of itself.
    pub(crate) fn metadata(&self, id: &str) -> PathBuf {
        self.instance(id).join("metadata.json")
    }
    /// Stands where an instance's agent has ended for good: it was deregistered.
    pub(crate) fn finished(&self, id: &str) -> PathBuf {
        self.instance(id).join("agent.finished")
    }
    /// What does not survive a reboot.
    pub(crate) fn run(&self) -> PathBuf {
        Path::new("/run/longshore").join(&self.key)
    }
    /// What of an instance does not survive a reboot: its containers' namespaces.
    pub(crate) fn run_instance(&self, id: &str) -> PathBuf {
        self.run().join(id)
    }
    /// The folder of the instances' namespaces.
    pub(crate) fn netns_dir(&self) -> PathBuf {
        self.run().join("netns")
    }
    /// An instance's namespace.
    pub(crate) fn netns(&self, id: &str) -> PathBuf {
        self.netns_dir().join(id)
    }
    /// The cgroup of all instances.
    pub(crate) fn cgroup_root(&self) -> String {
        format!("/longshore-{}", self.key)
    }
    /// The cgroup of our own containerd and its shims.
    pub(crate) fn containerd_cgroup(&self) -> String {
        format!("{}/containerd", self.cgroup_root())
    }
    /// The cgroup of an instance: its agent and its containers, held to the instance type's size.
    pub(crate) fn cgroup(&self, id: &str) -> String {
        format!("{}/{id}", self.cgroup_root())
    }
}
