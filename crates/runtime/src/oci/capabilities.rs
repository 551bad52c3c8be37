//! Linux capabilities: names, Docker's default set, what this machine can give.

use crate::error::CreateError;

/// In the kernel's order: the index is the bit.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker gives a container that asks for nothing.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapabilitySet(u64);

impl CapabilitySet {
    /// From the kernel's hexadecimal mask (`CapBnd:` of /proc/self/status).
    pub(crate) fn from_mask(mask: u64) -> Self {
        Self(mask & ((1 << NAMES.len()) - 1))
    }

    fn only(names: &[&str]) -> Self {
        Self(names.iter().filter_map(|n| bit(n)).fold(0, |set, bit| set | bit))
    }

    /// Whether `name` (without `CAP_`) is in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        bit(name).is_some_and(|bit| self.0 & bit != 0)
    }

    /// `CAP_…` names, in the kernel's order.
    pub(crate) fn names(&self) -> Vec<String> {
        NAMES.iter().filter(|name| self.has(name)).map(|name| format!("CAP_{name}")).collect()
    }
}

fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|n| *n == name).map(|index| 1 << index)
}

/// Docker's default set with `add` and `drop` applied as Docker does: `ALL` first, then single names; add wins over
/// a dropped `ALL`, drop wins over an added `ALL`.
///
/// A name added explicitly that this machine cannot give is an error; what `ALL` or the default would bring beyond the
/// machine's own set is left out, because that is what Docker inside such a machine gives too.
pub(crate) fn grant(add: &[String], drop: &[String], available: &CapabilitySet) -> Result<CapabilitySet, CreateError> {
    let (add_all, add) = split(add)?;
    let (drop_all, drop) = split(drop)?;
    if let Some(missing) = names_of(add).into_iter().find(|name| !available.has(name)) {
        return Err(CreateError::InvalidSpec(format!("capability CAP_{missing} is not available on this machine")));
    }
    let base = match (add_all, drop_all) {
        (true, _) => u64::MAX,
        (false, true) => 0,
        (false, false) => CapabilitySet::only(&DEFAULT).0,
    };
    Ok(CapabilitySet((if add_all { base & !drop } else { (base & !drop) | add }) & available.0))
}

fn names_of(mask: u64) -> Vec<&'static str> {
    NAMES.iter().enumerate().filter(|(index, _)| mask & (1 << index) != 0).map(|(_, name)| *name).collect()
}

fn split(given: &[String]) -> Result<(bool, u64), CreateError> {
    let mut all = false;
    let mut mask = 0;
    for name in given {
        let upper = name.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare == "ALL" {
            all = true;
            continue;
        }
        mask |= bit(bare).ok_or_else(|| CreateError::InvalidSpec(format!("unknown capability: {name:?}")))?;
    }
    Ok((all, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        // Everything but SYS_RESOURCE (bit 24), as on the machine this was written for.
        let available = CapabilitySet::from_mask(0x1ff_feff_ffff);
        grant(&own(add), &own(drop), &available).unwrap().names()
    }

    #[test]
    fn add_and_drop_follow_docker() {
        assert_eq!(granted(&[], &[]).len(), DEFAULT.len());
        assert_eq!(granted(&[], &["ALL"]), Vec::<String>::new());
        assert_eq!(granted(&["NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(granted(&["ALL"], &["cap_chown"]).len(), NAMES.len() - 2);
        assert!(granted(&["SYS_PTRACE"], &[]).contains(&"CAP_SYS_PTRACE".to_owned()));
        assert!(!granted(&[], &["NET_RAW"]).contains(&"CAP_NET_RAW".to_owned()));
    }

    #[test]
    fn unknown_and_unavailable_names_are_refused() {
        let available = CapabilitySet::from_mask(0x1ff_feff_ffff);
        for name in ["NOPE", "SYS_RESOURCE"] {
            let got = grant(&[name.to_owned()], &[], &available);
            assert!(matches!(got, Err(CreateError::InvalidSpec(_))), "{name}: {got:?}");
        }
    }

    #[test]
    fn bits_are_the_kernels() {
        assert_eq!(bit("SYS_ADMIN"), Some(1 << 21));
        assert_eq!(bit("SYS_RESOURCE"), Some(1 << 24));
        assert_eq!(bit("CHECKPOINT_RESTORE"), Some(1 << 40));
    }
}
