//! What may be said of a file system in memory besides its size. What nobody could mount is refused when it is registered, not when
//! it is to start.

use crate::{InvalidDefinition, Tmpfs, definition_rules::refuse};

/// Source: the documentation of `Tmpfs`. Left out of it are `bind`, `rbind` and `remount`, with which no tmpfs can be mounted.
const FLAGS: [&str; 30] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// Whether the kernel takes a value.
type Fits = fn(&str) -> bool;

/// What is told with a value.
const VALUES: [(&str, Fits); 6] = [
    ("mode", |value| u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777)),
    ("uid", is_id),
    ("gid", is_id),
    ("nr_inodes", is_count),
    ("nr_blocks", is_count),
    // A policy and perhaps nodes, as in `bind:0-2`. With a comma it would be two options.
    ("mpol", |value| !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b":=-".contains(&b))),
];

/// The last number of them means nobody.
fn is_id(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u32>().is_ok_and(|id| id < u32::MAX)
}

/// With a unit of 1024, its square or its cube, as the kernel reads sizes.
fn is_count(value: &str) -> bool {
    let digits = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(value);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u32>().is_ok()
}

/// The rules for one of a container's.
pub(crate) fn check(container: &str, tmpfs: &Tmpfs) -> Result<(), InvalidDefinition> {
    let path = &tmpfs.container_path;
    if !path.starts_with('/') || tmpfs.size.0 == 0 {
        return refuse(format!(
            "Container '{container}' has a tmpfs mount without an absolute path or a size: '{path}'."
        ));
    }
    let Some(bad) = tmpfs.mount_options.iter().find(|option| !is_option(option)) else { return Ok(()) };
    let why = match bad.as_str() {
        "bind" | "rbind" | "remount" => "no tmpfs can be mounted with it",
        _ => "it is no option of a tmpfs, or has no value that it could have",
    };
    refuse(format!(
        "Invalid setting for container '{container}'. 'linuxParameters.tmpfs.mountOptions' of '{path}' has '{bad}': {why}."
    ))
}

fn is_option(option: &str) -> bool {
    match option.split_once('=') {
        Some((name, value)) => VALUES.iter().any(|(known, fits)| *known == name && fits(value)),
        None => FLAGS.contains(&option),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryMib;

    #[test]
    fn what_nobody_could_mount_is_refused_by_its_name() {
        let check = |option: &str, words: &str| {
            let tmpfs = Tmpfs {
                container_path: "/t".into(),
                size: MemoryMib(1),
                mount_options: vec!["rw".into(), option.into()],
            };
            match super::check("web", &tmpfs) {
                Ok(()) => assert_eq!(words, "", "{option}"),
                Err(InvalidDefinition(text)) => {
                    assert!(!words.is_empty() && text.contains(words), "{option}: {text}");
                    assert!(text.contains("'linuxParameters.tmpfs.mountOptions' of '/t'"), "{text}");
                }
            }
        };
        for fine in ["defaults", "shared", "rslave", "nostrictatime", "mode=1777", "mode=0755", "uid=0", "gid=1001"] {
            check(fine, "");
        }
        for fine in ["nr_inodes=100k", "nr_blocks=0", "mpol=interleave", "mpol=bind=static:0-2"] {
            check(fine, "");
        }
        for impossible in ["bind", "rbind", "remount"] {
            check(impossible, &format!("'{impossible}': no tmpfs can be mounted with it"));
        }
        for unknown in ["foo", "size=1g", "mode", "mode=", "mode=8", "mode=77777", "uid=-1", "uid=4294967295", "uid=+1"]
        {
            check(unknown, &format!("'{unknown}': it is no option"));
        }
        for unknown in
            ["gid=app", "nr_blocks=1t", "nr_inodes=", "mpol=", "ro,size=1g", "mode=755,exec", "RO", "huge=always"]
        {
            check(unknown, &format!("'{unknown}': it is no option"));
        }
    }
}
