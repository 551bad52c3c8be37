//! What a container definition says of names, kernel parameters, devices and security beyond the basics, and the rules for it.
//! Texts that AWS does not publish follow those it has for `hostname`.

use crate::{ContainerDefinition, InvalidDefinition, LinuxParameters, NetworkMode, definition_rules::refuse};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub hostname: String,
    /// What it leads to.
    pub ip_address: String,
}

/// Another container of the task under a name that one gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// The other container.
    pub container: &'a str,
    /// The name.
    pub alias: &'a str,
}

impl<'a> Link<'a> {
    /// Docker: a name, or a name, a colon and an alias. `None` if it is neither.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (container, alias) = text.split_once(':').unwrap_or((text, text));
        let named = is_word(alias) && alias.is_ascii() && !alias.contains(':') && alias.len() <= MAX_NAME;
        (named && !container.is_empty()).then_some(Self { container, alias })
    }
}

/// A kernel parameter of the container's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemControl {
    /// Its name, with dots.
    pub namespace: String,
    /// Its value.
    pub value: String,
}

impl SystemControl {
    /// Whether it is one of the network's; the others are of IPC.
    pub fn is_of_network(&self) -> bool {
        self.namespace.starts_with("net.")
    }
}

/// A device of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the instance.
    pub host_path: String,
    /// In the container, if elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    /// What may be done with it as given; all of it if nothing is said.
    #[serde(default)]
    pub permissions: Vec<DevicePermission>,
}

impl Device {
    /// Where it is in the container.
    pub fn target(&self) -> &str {
        self.container_path.as_deref().unwrap_or(&self.host_path)
    }
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DevicePermission {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making its node.
    Mknod,
}

impl DevicePermission {
    /// All, by AWS's words.
    pub const ALL: [(&'static str, Self); 3] = [("read", Self::Read), ("write", Self::Write), ("mknod", Self::Mknod)];
}

/// Whether a container that has ended is started again. Source: `ContainerRestartPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Whether it is at all.
    pub enabled: bool,
    /// Not after these.
    #[serde(default)]
    pub ignored_exit_codes: Vec<i32>,
    /// Seconds that it has to have run, as given.
    #[serde(default)]
    pub restart_attempt_period: Option<u32>,
}

impl RestartPolicy {
    /// The seconds that it has to have run.
    pub fn period(&self) -> u32 {
        self.restart_attempt_period.unwrap_or(300)
    }

    fn check(&self) -> Result<(), &'static str> {
        let limits = (self.ignored_exit_codes.len() <= 50, (60..=1800).contains(&self.period()));
        match limits {
            (false, _) => Err("'restartPolicy.ignoredExitCodes' can have at most 50 exit codes."),
            (_, false) => Err("'restartPolicy.restartAttemptPeriod' must be between 60 and 1800."),
            (true, true) => Ok(()),
        }
    }
}

/// One of Docker's security options, as far as there is something that it changes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityOption {
    /// Programs gain nothing by being set-uid.
    NoNewPrivileges,
    /// No system call filter.
    SeccompUnconfined,
    /// What holds anyway: no AppArmor profile, no SELinux label.
    Nothing,
}

impl SecurityOption {
    /// `None` if it is not one that can be honoured.
    pub fn parse(text: &str) -> Option<Self> {
        // Docker takes both signs.
        Some(match text.replacen('=', ":", 1).as_str() {
            "no-new-privileges" | "no-new-privileges:true" => Self::NoNewPrivileges,
            "seccomp:unconfined" => Self::SeccompUnconfined,
            "no-new-privileges:false" | "apparmor:unconfined" | "label:disable" => Self::Nothing,
            _ => return None,
        })
    }
}

/// Parameters of the IPC namespace. Source: Docker's list of what is a container's own.
const IPC_CONTROLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Everything here that a container says.
pub(crate) fn check(c: &ContainerDefinition, mode: NetworkMode) -> Result<(), InvalidDefinition> {
    let setting = |what: &str| refuse(format!("Invalid setting for container '{}'. {what}", c.name));
    let names = [
        ("dnsServers", c.dns_servers.is_empty()),
        ("dnsSearchDomains", c.dns_search_domains.is_empty()),
        ("extraHosts", c.extra_hosts.is_empty()),
    ];
    if mode == NetworkMode::Awsvpc
        && let Some((what, _)) = names.iter().find(|(_, absent)| !absent)
    {
        return refuse(format!("{what} is not supported on container when networkMode=awsvpc."));
    }
    check_networking(c, mode)?;
    if c.hostname.as_deref().is_some_and(|name| !is_hostname(name)) {
        return setting("'hostname' needs letters, digits, hyphens and dots as RFC 1123 has them, 64 at most.");
    }
    if let Some(bad) = c.dns_servers.iter().find(|server| server.parse::<IpAddr>().is_err()) {
        return setting(&format!("'{bad}' in 'dnsServers' is not an IP address."));
    }
    if let Some(bad) = c.dns_search_domains.iter().find(|domain| !is_word(domain)) {
        return setting(&format!("'{bad}' in 'dnsSearchDomains' is not a domain."));
    }
    for host in &c.extra_hosts {
        let named = is_word(&host.hostname) && host.hostname.is_ascii() && host.hostname.len() <= MAX_NAME;
        if !named || host.ip_address.parse::<IpAddr>().is_err() {
            return setting(&format!("'extraHosts' needs a name and an IP address, not '{}'.", host.hostname));
        }
    }
    if let Some(Err(what)) = c.restart_policy.as_ref().map(RestartPolicy::check) {
        return setting(what);
    }
    for control in &c.system_controls {
        check_control(control, mode).or_else(|what| setting(&what))?;
    }
    if let Some(Err(what)) = c.linux_parameters.as_ref().map(|linux| check_swap(c, linux)) {
        return setting(what);
    }
    for device in c.linux_parameters.iter().flat_map(|linux| &linux.devices) {
        // With a way up it would be made anywhere.
        let is_plain = |path: &str| path.starts_with('/') && path.split('/').all(|part| part != "..");
        if !is_plain(&device.host_path) || !is_plain(device.target()) {
            return setting(&format!("Device '{}' needs absolute paths without '..'.", device.host_path));
        }
    }
    Ok(())
}

/// Whether it has a network, and whom it knows there.
fn check_networking(c: &ContainerDefinition, mode: NetworkMode) -> Result<(), InvalidDefinition> {
    let setting = |what: &str| refuse(format!("Invalid setting for container '{}'. {what}", c.name));
    // AWS's words.
    if !c.links.is_empty() && mode != NetworkMode::Bridge {
        return refuse(format!("Links are not supported when networkMode={}.", mode.as_str()));
    }
    if let Some(bad) = c.links.iter().find(|link| Link::parse(link).is_none()) {
        return setting(&format!("'{bad}' in 'links' is neither a container's name nor that and an alias."));
    }
    if c.disable_networking != Some(true) {
        return Ok(());
    }
    match mode {
        NetworkMode::Host | NetworkMode::Awsvpc => {
            let mode = mode.as_str();
            refuse(format!("disableNetworking is not supported on container when networkMode={mode}."))
        }
        NetworkMode::Bridge | NetworkMode::None if !c.port_mappings.is_empty() || !c.links.is_empty() => {
            setting("'disableNetworking' leaves no network for 'portMappings' and 'links'.")
        }
        NetworkMode::Bridge | NetworkMode::None => Ok(()),
    }
}

/// What of its memory may be swapped out. AWS: `swappiness` says nothing without `maxSwap`, nor does that without a limit.
fn check_swap(c: &ContainerDefinition, linux: &LinuxParameters) -> Result<(), &'static str> {
    match (linux.max_swap, linux.swappiness) {
        (Some(_), _) if c.memory.is_none() => Err("'maxSwap' needs 'memory'."),
        (None, Some(_)) => Err("'swappiness' needs 'maxSwap'."),
        (Some(_), Some(101..)) => Err("'swappiness' must be between 0 and 100."),
        (Some(_) | None, _) => Ok(()),
    }
}

/// The error says what is wrong.
fn check_control(control: &SystemControl, mode: NetworkMode) -> Result<(), String> {
    let name = control.namespace.as_str();
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
    if name.starts_with("net.") && plain && !name.contains("..") {
        if mode == NetworkMode::Host {
            return Err(format!("systemControls '{name}' is not supported when networkMode=host."));
        }
    } else if !(IPC_CONTROLS.contains(&name) || (name.starts_with("fs.mqueue.") && plain && !name.contains(".."))) {
        return Err(format!("systemControls '{name}' is not a container's own: net.*, fs.mqueue.* or one of IPC."));
    }
    if control.value.is_empty() || control.value.contains(['\0', '\n']) {
        return Err(format!("systemControls '{name}' needs a value."));
    }
    Ok(())
}

/// Characters of a name that others have. Source: RFC 1123.
const MAX_NAME: usize = 255;
/// Characters of a container's own. Source: the kernel, which takes no more.
const MAX_HOSTNAME: usize = 64;
/// Characters between two of its dots. Source: RFC 1123.
const MAX_LABEL: usize = 63;

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_HOSTNAME && text.split('.').all(label)
}

/// What can stand in a line of a file among others.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryMib;

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let refused = |mode: NetworkMode, words: &str, change: &dyn Fn(&mut ContainerDefinition)| {
            let mut c = ContainerDefinition { name: "web".into(), ..ContainerDefinition::default() };
            change(&mut c);
            match super::check(&c, mode) {
                Ok(()) => assert_eq!(words, "", "{c:?}"),
                Err(InvalidDefinition(text)) => assert!(!words.is_empty() && text.contains(words), "{text}"),
            }
        };
        let host = |name: &str, ip: &str| ExtraHost { hostname: name.into(), ip_address: ip.into() };
        let control = |name: &str, value: &str| SystemControl { namespace: name.into(), value: value.into() };
        let device = |from: &str, to: Option<&str>| Device {
            host_path: from.into(),
            container_path: to.map(str::to_owned),
            permissions: Vec::new(),
        };
        use NetworkMode::{Awsvpc, Bridge, Host};
        refused(Awsvpc, "dnsServers is not supported", &|c| c.dns_servers = vec!["10.0.0.2".into()]);
        refused(Awsvpc, "extraHosts is not supported", &|c| c.extra_hosts = vec![host("a", "10.0.0.2")]);
        refused(Host, "", &|c| c.extra_hosts = vec![host("a", "fd00::1")]);
        refused(Bridge, "'10.0.0' in 'dnsServers'", &|c| c.dns_servers = vec!["10.0.0".into()]);
        refused(Bridge, "is not a domain", &|c| c.dns_search_domains = vec!["a\nnameserver 6.6.6.6".into()]);
        refused(Bridge, "needs a name and an IP address", &|c| c.extra_hosts = vec![host("a b", "10.0.0.2")]);
        refused(Bridge, "needs a name and an IP address", &|c| c.extra_hosts = vec![host("a", "host-gateway")]);
        let long = format!("{}a", "a.".repeat(127));
        for name in ["h", "web-1.shop.local", "A", &long[..63]] {
            refused(Bridge, "", &|c| c.hostname = Some(name.into()));
        }
        refused(Bridge, "", &|c| c.extra_hosts = vec![host(&long, "10.0.0.2")]);
        let (over, label) = (format!("{long}.a"), "a".repeat(64));
        for name in ["é", "a b", "a_b", "-a", "a-", "a..b", ".a", &long[..65], label.as_str()] {
            refused(Bridge, "'hostname' needs letters", &|c| c.hostname = Some(name.into()));
        }
        for name in ["é", over.as_str()] {
            refused(Bridge, "needs a name and an IP address", &|c| c.extra_hosts = vec![host(name, "10.0.0.2")]);
        }
        refused(Bridge, "", &|c| c.system_controls = vec![control("net.core.somaxconn", "512")]);
        refused(Host, "networkMode=host", &|c| c.system_controls = vec![control("net.core.somaxconn", "512")]);
        refused(Host, "", &|c| c.system_controls = vec![control("kernel.msgmax", "65536")]);
        for name in ["kernel.panic", "net.../../x", "vm.overcommit_memory", "fs.mqueue...x"] {
            refused(Bridge, "is not a container's own", &|c| c.system_controls = vec![control(name, "1")]);
        }
        refused(Bridge, "needs a value", &|c| c.system_controls = vec![control("net.a", "")]);
        for mode in [Awsvpc, Host] {
            let words = format!("Links are not supported when networkMode={}.", mode.as_str());
            refused(mode, &words, &|c| c.links = vec!["db".into()]);
            refused(mode, "disableNetworking is not supported", &|c| c.disable_networking = Some(true));
        }
        refused(Bridge, "", &|c| c.links = vec!["db".into(), "db:data_base".into()]);
        for link in ["", ":x", "db:", "db:a:b", "db:a b", "db:a\n6.6.6.6 evil"] {
            refused(Bridge, "in 'links' is neither", &|c| c.links = vec![link.into()]);
        }
        refused(Bridge, "leaves no network", &|c| {
            (c.disable_networking, c.links) = (Some(true), vec!["db".into()]);
        });
        let swap = |max: Option<u32>, swappiness: Option<u32>| {
            Some(LinuxParameters { max_swap: max.map(MemoryMib), swappiness, ..LinuxParameters::default() })
        };
        for (memory, max, swappiness, words) in [
            (Some(9), Some(0), None, ""),
            (Some(9), Some(7), Some(100), ""),
            (Some(9), Some(7), Some(101), "between 0 and 100"),
            (Some(9), None, Some(0), "'swappiness' needs 'maxSwap'"),
            (None, Some(7), None, "'maxSwap' needs 'memory'"),
        ] {
            refused(Bridge, words, &|c| {
                (c.memory, c.linux_parameters) = (memory.map(MemoryMib), swap(max, swappiness));
            });
        }
        let restarts = |codes: i32, period: Option<u32>| RestartPolicy {
            enabled: true,
            ignored_exit_codes: (0..codes).collect(),
            restart_attempt_period: period,
        };
        for (codes, period, words) in [
            (50, None, ""),
            (0, Some(60), ""),
            (51, None, "at most 50"),
            (0, Some(59), "between 60 and 1800"),
            (0, Some(1801), "between 60 and 1800"),
        ] {
            refused(Bridge, words, &|c| c.restart_policy = Some(restarts(codes, period)));
        }
        let with = |d: Device| LinuxParameters { devices: vec![d], ..LinuxParameters::default() };
        refused(Bridge, "", &|c| c.linux_parameters = Some(with(device("/dev/null", None))));
        refused(Bridge, "absolute paths", &|c| c.linux_parameters = Some(with(device("/dev/null", Some("x")))));
        for (from, to) in
            [("/dev/null", Some("/dev/../../tmp/x")), ("/dev/../etc", None), ("/dev/null", Some("/dev/.."))]
        {
            refused(Bridge, "without '..'", &|c| c.linux_parameters = Some(with(device(from, to))));
        }
        refused(Bridge, "", &|c| c.linux_parameters = Some(with(device("/dev/null", Some("/dev/a..b")))));
    }

    #[test]
    fn security_options_are_dockers() {
        let check = |text: &str, want: Option<SecurityOption>| assert_eq!(SecurityOption::parse(text), want, "{text}");
        check("no-new-privileges", Some(SecurityOption::NoNewPrivileges));
        check("no-new-privileges=true", Some(SecurityOption::NoNewPrivileges));
        check("seccomp=unconfined", Some(SecurityOption::SeccompUnconfined));
        check("apparmor:unconfined", Some(SecurityOption::Nothing));
        check("apparmor:mine", None);
        check("label:type:mine", None);
    }
}
