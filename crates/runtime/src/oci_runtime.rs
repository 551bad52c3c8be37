//! Which OCI runtime makes a container: runc, or gVisor's runsc, which gives each container a kernel of its own
//! (docs/decisions/0019). A setting of the machine, recorded with each container, so that whatever is done to the container
//! later is done by the one that made it.

use std::path::{Path, PathBuf};

/// Where distributions put runc, runsc and the shim, in case our own PATH is poor.
const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What makes containers of an image and a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OciRuntime {
    /// runc: processes of this machine's kernel, in namespaces.
    #[default]
    Runc,
    /// gVisor: each container's processes run on a kernel in user space, which asks this machine's for little.
    Runsc,
}

/// Why a machine cannot run containers as it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciRuntimeError {
    /// Not one of the names.
    #[error("{0:?} is no runtime that is known here; there are runc and runsc")]
    Unknown(String),
    /// Known, and not honoured.
    #[error("the runtime kata is not supported yet; runsc (gVisor) gives containers a kernel of their own without KVM")]
    Kata,
    /// Its program is not there.
    #[error("the runtime {program} is not installed; install the package {program} (apt-get install {program})")]
    Missing {
        /// Program and Debian's package alike.
        program: &'static str,
    },
}

impl OciRuntime {
    /// Its name, as operators write it and containers are labelled with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Runsc => "runsc",
        }
    }

    /// Whether its program is on this machine.
    ///
    /// # Errors
    /// If it is not; says what to install.
    pub fn check(self) -> Result<(), OciRuntimeError> {
        self.program().map(drop)
    }

    /// Where its program is.
    pub(crate) fn program(self) -> Result<PathBuf, OciRuntimeError> {
        self.program_in(&program_path())
    }

    fn program_in(self, path: &str) -> Result<PathBuf, OciRuntimeError> {
        let found = std::env::split_paths(path).map(|dir| dir.join(self.name())).find(|file| is_program(file));
        found.ok_or(OciRuntimeError::Missing { program: self.name() })
    }

    /// The folder in which it keeps the state of its containers, below it one for each namespace of containerd's; `None`
    /// for the shim's own choice.
    pub(crate) fn root(self) -> Option<&'static Path> {
        match self {
            Self::Runc => None,
            // Not runc's: neither could read the other's records.
            Self::Runsc => Some(Path::new("/run/containerd/runsc")),
        }
    }

    /// Whether the processes that the machine sees are the container's own. Otherwise what is meant for one of them has to go
    /// through the runtime.
    pub(crate) fn shares_processes(self) -> bool {
        match self {
            Self::Runc => true,
            Self::Runsc => false,
        }
    }
}

impl std::str::FromStr for OciRuntime {
    type Err = OciRuntimeError;

    fn from_str(name: &str) -> Result<Self, OciRuntimeError> {
        match name {
            "runc" => Ok(Self::Runc),
            "runsc" => Ok(Self::Runsc),
            "kata" => Err(OciRuntimeError::Kata),
            other => Err(OciRuntimeError::Unknown(other.to_owned())),
        }
    }
}

/// Our own PATH, and where distributions put programs.
#[allow(clippy::disallowed_methods)] // PATH is where programs are, not configuration.
pub(crate) fn program_path() -> String {
    format!("{}:{PROGRAM_PATH}", std::env::var("PATH").unwrap_or_default())
}

pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for runtime in [OciRuntime::Runc, OciRuntime::Runsc] {
            assert_eq!(runtime.name().parse(), Ok(runtime));
        }
        assert_eq!("kata".parse::<OciRuntime>(), Err(OciRuntimeError::Kata));
        let unknown = "crun".parse::<OciRuntime>().unwrap_err();
        assert!(unknown.to_string().contains("\"crun\""), "{unknown}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let refused = OciRuntime::Runsc.program_in(path).unwrap_err();
        assert!(refused.to_string().contains("apt-get install runsc"), "{refused}");
        // A file that is no program is not it.
        std::fs::write(dir.path().join("runsc"), "").unwrap();
        assert!(OciRuntime::Runsc.program_in(path).is_err());
        crate::programs::install(dir.path(), "runsc", b"").unwrap();
        std::fs::remove_file(dir.path().join("runsc")).unwrap();
        crate::programs::install(dir.path(), "runsc", b"#!").unwrap();
        assert_eq!(OciRuntime::Runsc.program_in(path), Ok(dir.path().join("runsc")));
    }
}
