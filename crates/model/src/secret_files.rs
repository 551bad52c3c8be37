//! Secrets as files: a container's `secrets` in a folder that follows them, asked for by labels, since clients of AWS can send no
//! member that is not AWS's (docs/decisions/0036).

use crate::{ContainerDefinition, InvalidDefinition, TaskDefinitionSpec, definition_rules::refuse};
use std::collections::{BTreeMap, BTreeSet};

/// The label that names the folder. Options are labels below it.
pub const LABEL: &str = "longshore.secret-files";
/// What an instance has whose agent makes such files and hears of changes.
pub const CAPABILITY: &str = "longshore.capability.secret-files";
/// What a file may be called.
const MAX_NAME: usize = 255;
/// What may read a file where nothing is said: everything in its container, as with Docker's secrets.
const MODE: u32 = 0o444;
/// Where the kernel's own file systems are: nothing can be mounted over those, or a container does not work any more.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Signals that tell a program to look again, or to end, by their numbers on Linux.
const SIGNALS: [(&str, i32); 7] =
    [("HUP", 1), ("INT", 2), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("TERM", 15), ("WINCH", 28)];

/// How a container's secrets are shown to it as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFiles {
    /// The folder, as the container sees it.
    pub folder: String,
    /// They are no variables then.
    pub only: bool,
    /// Permissions of each file.
    pub mode: u32,
    /// User and group of each file, as the container numbers them.
    pub owner: (u32, u32),
    /// What its first process is sent after a change.
    pub signal: Option<i32>,
}

impl SecretFiles {
    /// What a container's labels say of it; none if they say nothing.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(labels: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let ours = labels.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(LABEL)?, value)));
        let mut found = Self { folder: String::new(), only: false, mode: MODE, owner: (0, 0), signal: None };
        for (label, option, value) in ours {
            let invalid = |wanted: &str| format!("The label '{label}' must be {wanted}, not '{value}'.");
            match option {
                "" if is_folder(value) => found.folder = value.clone(),
                "" => return Err(invalid("an absolute path of a folder, without '.', '..', empty names and commas")),
                ".only" => found.only = value.parse().map_err(|_| invalid("true or false"))?,
                ".mode" => found.mode = mode(value).ok_or_else(|| invalid("permissions like 0440"))?,
                ".owner" => {
                    found.owner = owner(value).ok_or_else(|| invalid("numbers of a user and a group, UID:GID"))?
                }
                ".signal" => {
                    let names = SIGNALS.map(|(name, _)| name).join(", ");
                    found.signal = Some(signal(value).ok_or_else(|| invalid(&format!("one of {names}")))?);
                }
                // A label that only begins alike is somebody else's.
                _ if option.starts_with('.') => return Err(format!("The label '{label}' means nothing.")),
                _ => {}
            }
        }
        if !found.folder.is_empty() {
            return Ok(Some(found));
        }
        match labels.keys().find(|name| name.strip_prefix(LABEL).is_some_and(|option| option.starts_with('.'))) {
            Some(label) => Err(format!("The label '{label}' needs '{LABEL}', which names the folder.")),
            None => Ok(None),
        }
    }
}

/// Whether something can be mounted there.
fn is_folder(path: &str) -> bool {
    let Some(names) = path.strip_prefix('/') else { return false };
    let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\0', ',', ':']);
    path.len() < 4096 && names.split('/').all(plain) && !KERNELS.iter().any(|kernels| lies_in(path, kernels))
}

/// Whether a path is that folder, or something in it.
fn lies_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn mode(text: &str) -> Option<u32> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|digit| (b'0'..b'8').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits)?;
    // No bits that a file of data has no use for; nobody can write there, so none says so.
    (mode & !0o444 == 0 && mode != 0).then_some(mode)
}

fn owner(text: &str) -> Option<(u32, u32)> {
    let (user, group) = text.split_once(':')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // The kernel's largest means nobody to it.
        text.parse().ok().filter(|number| digits && *number < u32::MAX)
    };
    Some((number(user)?, number(group)?))
}

fn signal(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Whether a file can be called so. What begins with two dots is how a folder of files changes at once.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name != "." && !name.starts_with("..") && !name.contains(['/', '\0'])
}

impl ContainerDefinition {
    /// How its secrets are shown to it as files, if they are.
    pub fn secret_files(&self) -> Option<SecretFiles> {
        // Definitions are checked when they are registered, but older ones were when these labels meant nothing.
        let are_files = !self.secrets.is_empty() && self.secrets.iter().all(|secret| is_file_name(&secret.name));
        SecretFiles::parse(&self.docker_labels).ok().flatten().filter(|_| are_files)
    }
}

impl TaskDefinitionSpec {
    /// Whether some container's secrets are files.
    pub fn has_secret_files(&self) -> bool {
        self.containers.iter().any(|container| container.secret_files().is_some())
    }

    pub(crate) fn check_secret_files(&self) -> Result<(), InvalidDefinition> {
        for c in &self.containers {
            let setting = |what: String| refuse(format!("Invalid setting for container '{}'. {what}", c.name));
            let files = match SecretFiles::parse(&c.docker_labels) {
                Ok(Some(files)) => files,
                Ok(None) => continue,
                Err(what) => return setting(what),
            };
            if c.secrets.is_empty() {
                return setting(format!("The label '{LABEL}' needs 'secrets', which are the files."));
            }
            let mut names = BTreeSet::new();
            for secret in &c.secrets {
                let name = secret.name.as_str();
                if !is_file_name(name) {
                    return setting(format!("The secret '{name}' cannot be a file of that name."));
                }
                if !names.insert(name) {
                    return setting(format!("There would be two files '{name}' in {}.", files.folder));
                }
            }
            let tmpfs = c.linux_parameters.iter().flat_map(|linux| &linux.tmpfs);
            let mounts = self.volumes_of(&c.name, &BTreeMap::new());
            let mut others = tmpfs.map(|tmpfs| &tmpfs.container_path).chain(mounts.iter().map(|m| &m.container_path));
            if let Some(other) = others.find(|other| lies_in(other.trim_end_matches('/'), &files.folder)) {
                return setting(format!("Something else is mounted in the folder of its secrets: {other}."));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerSecret, Family, LinuxParameters, MemoryMib, MountPoint, Tmpfs, Volume, VolumeSource};

    fn labels(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(option, value)| (format!("{LABEL}{option}"), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_say_where_and_how() {
        let parse = |all: &[(&str, &str)]| SecretFiles::parse(&labels(all)).unwrap();
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[("ystem", "yes")]), None, "somebody else's label");
        let usual =
            SecretFiles { folder: "/run/secrets".into(), only: false, mode: 0o444, owner: (0, 0), signal: None };
        assert_eq!(parse(&[("", "/run/secrets")]), Some(usual));
        let all = [("", "/s"), (".only", "true"), (".mode", "0400"), (".owner", "1000:65534"), (".signal", "SIGHUP")];
        let chosen =
            SecretFiles { folder: "/s".into(), only: true, mode: 0o400, owner: (1000, 65534), signal: Some(1) };
        assert_eq!(parse(&all), Some(chosen));
        assert_eq!(parse(&[("", "/s"), (".mode", "440"), (".signal", "USR1")]).unwrap().signal, Some(10));
    }

    #[test]
    fn what_they_cannot_say_is_refused_by_its_name() {
        let check = |all: &[(&str, &str)], words: &str| {
            let error = SecretFiles::parse(&labels(all)).unwrap_err();
            assert!(error.contains(words), "{all:?}: {error}");
        };
        let not_folders = [
            "", "/", "secrets", "./s", "/a/../b", "/..", "/a/./b", "/a//b", "/a/", "/proc", "/proc/1", "/sys/fs",
            "/dev", "/a\0b", "/a,b", "/a:b",
        ];
        for folder in not_folders {
            check(&[("", folder)], "must be an absolute path");
        }
        for (option, values, words) in [
            (".only", ["yes", ""].as_slice(), "true or false"),
            (".mode", &["", "4", "0000", "0644", "0777", "4444", "+440", "888", "00444"], "permissions"),
            (".owner", &["", "0", "www:www", "1000", ":", "1:", "-1:0", "+1:0", "4294967295:0", "1:2:3"], "UID:GID"),
            (".signal", &["", "KILL", "9", "hup", "SIGSEGV"], "one of HUP, INT"),
        ] {
            for value in values {
                check(&[("", "/s"), (option, value)], words);
                check(&[("", "/s"), (option, value)], &format!("{LABEL}{option}"));
            }
        }
        check(&[(".only", "true")], "needs 'longshore.secret-files'");
        check(&[("", "/s"), (".uid", "0")], "means nothing");
    }

    fn spec(names: &[&str], folder: &str, mounts: &[&str], tmpfs: &[&str]) -> TaskDefinitionSpec {
        let point =
            |path: &&str| MountPoint { source_volume: "v".into(), container_path: (*path).to_owned(), read_only: None };
        let in_memory =
            |path: &&str| Tmpfs { container_path: (*path).to_owned(), size: MemoryMib(1), mount_options: Vec::new() };
        let secret = |name: &&str| ContainerSecret { name: (*name).to_owned(), value_from: "/key".into() };
        let linux = LinuxParameters { tmpfs: tmpfs.iter().map(in_memory).collect(), ..LinuxParameters::default() };
        let container = ContainerDefinition {
            name: "web".into(),
            image: "busybox".into(),
            memory: Some(MemoryMib(16)),
            essential: true,
            secrets: names.iter().map(secret).collect(),
            docker_labels: labels(&[("", folder)]),
            mount_points: mounts.iter().map(point).collect(),
            linux_parameters: Some(linux),
            ..ContainerDefinition::default()
        };
        TaskDefinitionSpec {
            family: Family::parse("web").expect("a family"),
            network_mode: None,
            cpu: None,
            memory: None,
            requires_compatibilities: Vec::new(),
            execution_role_arn: Some("pulls".into()),
            task_role_arn: None,
            runtime_platform: None,
            ephemeral_storage_gib: None,
            pid_mode: None,
            ipc_mode: None,
            volumes: vec![Volume { name: "v".into(), source: VolumeSource::Empty }],
            placement_constraints: Vec::new(),
            containers: vec![container],
        }
    }

    #[test]
    fn files_have_names_of_their_own_and_a_folder_of_their_own() {
        let refused = |spec: TaskDefinitionSpec, words: &str| match spec.check() {
            Ok(()) => assert_eq!(words, "", "{spec:?}"),
            Err(InvalidDefinition(text)) => {
                assert!(!words.is_empty() && text.contains(words), "{text}");
            }
        };
        refused(spec(&["KEY", "a.b", ".hidden"], "/s", &["/data", "/secrets"], &["/t"]), "");
        refused(spec(&["KEY"], "/data/s", &["/data"], &["/data/t"]), "");
        for name in ["..", ".", "../KEY", "a/b", "/etc/passwd", "..data", &"n".repeat(256)] {
            refused(spec(&[name], "/s", &[], &[]), "cannot be a file of that name");
        }
        // The rule for variables comes first.
        refused(spec(&["KEY", "KEY"], "/s", &[], &[]), "The secret name must be unique");
        refused(spec(&["a\0b"], "/s", &[], &[]), "invalid name");
        refused(spec(&["KEY"], "/s", &["/s"], &[]), "Something else is mounted in the folder of its secrets: /s.");
        refused(spec(&["KEY"], "/s", &["/s/"], &[]), "Something else is mounted");
        refused(spec(&["KEY"], "/s", &[], &["/s/t"]), "Something else is mounted");
        refused(spec(&[], "/s", &[], &[]), "needs 'secrets'");
        refused(spec(&["KEY"], "/a/../../etc", &[], &[]), "must be an absolute path");
        let mut twice = spec(&["KEY"], "/s", &["/s"], &[]);
        twice.containers[0].mount_points.clear();
        let taken =
            ContainerDefinition { name: "other".into(), ..spec(&["KEY"], "/o", &["/s"], &[]).containers[0].clone() };
        twice.containers.push(taken);
        twice.containers[0].volumes_from =
            vec![crate::VolumeFrom { source_container: "other".into(), read_only: None }];
        refused(twice, "Something else is mounted");
    }

    #[test]
    fn only_an_agent_that_knows_how_is_given_such_a_task() {
        let needs = |spec: &TaskDefinitionSpec| spec.requires_attributes().iter().any(|it| it.name == CAPABILITY);
        assert!(needs(&spec(&["KEY"], "/s", &[], &[])));
        let mut without = spec(&["KEY"], "/s", &[], &[]);
        without.containers[0].docker_labels.clear();
        assert!(!needs(&without));
    }
}
