//! Which gVisor is installed, and whether ordinary programs work under it as it is run here, with the sockets of the network
//! namespace (docs/decisions/0019): in old versions a blocking `read` or `write` of such a socket does not wait.

use crate::oci_runtime::OciRuntime;
use std::process::{Command, Stdio};

/// The first version that was tried and has not the fault, by the day in its name. The one that was tried and has it is Debian
/// 12's, of 2022-12-19; those between are held for faulty, because nobody has seen them do better.
const FIRST_THAT_WAITS: u32 = 20_240_729;

/// What there is of gVisor on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gvisor {
    /// Nothing.
    Missing,
    /// A version under which a blocking `read` of a socket fails and a `write` is cut short where they should wait.
    Hasty(String),
    /// One that waits.
    Fine,
}

impl Gvisor {
    /// What is installed here.
    #[must_use]
    pub fn installed() -> Self {
        let Ok(program) = OciRuntime::Runsc.program() else { return Self::Missing };
        let told = Command::new(program).arg("--version").stdin(Stdio::null()).output();
        // One that does not tell is not known to be faulty, and says what is wrong when it makes a container.
        let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        Self::of(&told)
    }

    /// By what `runsc --version` says. What is not understood counts as new.
    #[must_use]
    pub fn of(told: &str) -> Self {
        let first = told.lines().next().unwrap_or_default();
        let version = first.strip_prefix("runsc version").unwrap_or(first).trim();
        match day(version) {
            Some(day) if day < FIRST_THAT_WAITS => Self::Hasty(version.to_owned()),
            Some(_) | None => Self::Fine,
        }
    }

    /// What to tell who uses it, or would have.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Missing | Self::Fine => None,
            Self::Hasty(version) => Some(format!(
                "gVisor {version} breaks ordinary programs: their reads of a socket fail where they should wait, and what they \
                 write to one is cut short; a later one does not: apt-get install -t bookworm-backports runsc"
            )),
        }
    }
}

/// The day that a version is named after: `0.0~20221219.0` of Debian, `release-20240729.0` of gVisor itself.
fn day(version: &str) -> Option<u32> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    numbers.find(|digits| digits.len() == 8 && digits.starts_with("20"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_do_not_wait_are_known_and_unknown_ones_count_as_new() {
        let hasty = |version: &str| Gvisor::Hasty(version.to_owned());
        for (told, want) in [
            ("runsc version 0.0~20221219.0\nspec: 1.0.2-dev\n", hasty("0.0~20221219.0")),
            ("runsc version release-20221219.0\nspec: 1.0.2-dev\n", hasty("release-20221219.0")),
            ("runsc version release-20210906.0-12-gdeadbeef0123\n", hasty("release-20210906.0-12-gdeadbeef0123")),
            ("runsc version release-20240728.0\n", hasty("release-20240728.0")),
            ("runsc version 0.0~20240729.0\nspec: 1.0.2-dev\n", Gvisor::Fine),
            ("runsc version release-20251103.0\nspec: 1.1.0-rc.1\n", Gvisor::Fine),
            ("runsc version VERSION_MISSING\nspec: 1.0.2-dev\n", Gvisor::Fine),
            ("runsc version 3.1 of 20.2\n", Gvisor::Fine),
            ("", Gvisor::Fine),
        ] {
            assert_eq!(Gvisor::of(told), want, "{told}");
        }
    }

    #[test]
    fn the_fault_names_the_version_and_what_to_install() {
        let told = Gvisor::of("runsc version 0.0~20221219.0").fault().unwrap();
        assert!(told.contains("0.0~20221219.0") && told.contains("-t bookworm-backports runsc"), "{told}");
        assert_eq!((Gvisor::Fine.fault(), Gvisor::Missing.fault()), (None, None));
    }
}
