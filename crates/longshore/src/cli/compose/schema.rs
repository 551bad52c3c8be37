//! Which keys a service may have: some are mapped, some are known and have no place in a task definition, which draws a
//! warning, and the rest are errors. Which is which differs between compose's generations.

use super::{super::say, file::Version};
use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// Known in all generations, without a place.
const SKIPPED: &[&str] = &[
    "build",
    "cgroup_parent",
    "container_name",
    "depends_on",
    "domainname",
    "expose",
    "external_links",
    "ipc",
    "mac_address",
    "network_mode",
    "networks",
    "pid",
    "restart",
    "stdin_open",
    "stop_signal",
];
/// Without a place in versions 1 and 2; version 3 forbids them.
const SKIPPED_BEFORE_3: &[&str] = &["cpu_quota", "cpuset", "mem_swappiness", "memswap_limit", "volume_driver"];
const SKIPPED_IN_2: &[&str] = &["group_add", "oom_score_adj"];
/// Without a place in version 3; unknown before.
const SKIPPED_IN_3: &[&str] = &["deploy", "shm_size", "sysctls", "userns_mode"];
/// What only later versions have, without a place.
const SKIPPED_LATER: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpus",
    "credential_spec",
    "develop",
    "isolation",
    "oom_kill_disable",
    "pids_limit",
    "platform",
    "profiles",
    "pull_policy",
    "runtime",
    "scale",
];
/// Mapped in all generations.
const MAPPED: &[&str] = &[
    "cap_add",
    "cap_drop",
    "command",
    "devices",
    "dns",
    "dns_search",
    "entrypoint",
    "env_file",
    "environment",
    "extra_hosts",
    "hostname",
    "image",
    "labels",
    "links",
    "ports",
    "privileged",
    "read_only",
    "security_opt",
    "tty",
    "ulimits",
    "user",
    "volumes",
    "working_dir",
];
const MAPPED_SINCE_2: &[&str] = &["logging", "stop_grace_period", "tmpfs"];
/// Mapped in versions 1 and 2; version 3 forbids them.
const MAPPED_BEFORE_3: &[&str] = &["cpu_shares", "extends", "mem_limit", "mem_reservation", "shm_size", "volumes_from"];
const RESOURCES: &str = "Skipping unsupported YAML option for service... service-level resources should be configured \
                         in the ecs-param.yml file.";

/// What becomes of a key.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Mapped,
    Skipped,
    Unknown,
    Forbidden,
}

fn fate(version: Version, key: &str) -> Fate {
    let any = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&key));
    let (mapped, skipped, forbidden) = match version {
        // AWS: version 1 knows mem_reservation and makes nothing of it.
        Version::V1 => (
            any(&[MAPPED, MAPPED_BEFORE_3, &["log_driver", "log_opt"]]) && key != "mem_reservation",
            any(&[SKIPPED, SKIPPED_BEFORE_3, &["net", "mem_reservation"]]) && key != "network_mode",
            false,
        ),
        Version::V2 => {
            (any(&[MAPPED, MAPPED_SINCE_2, MAPPED_BEFORE_3]), any(&[SKIPPED, SKIPPED_BEFORE_3, SKIPPED_IN_2]), false)
        }
        Version::V3 => (
            any(&[MAPPED, MAPPED_SINCE_2, &["healthcheck"]]),
            any(&[SKIPPED, SKIPPED_IN_3]),
            any(&[MAPPED_BEFORE_3, SKIPPED_BEFORE_3]),
        ),
        Version::Later => (
            any(&[MAPPED, MAPPED_SINCE_2, MAPPED_BEFORE_3, &["healthcheck", "init"]]),
            any(&[SKIPPED, SKIPPED_BEFORE_3, SKIPPED_IN_2, SKIPPED_IN_3, SKIPPED_LATER]),
            false,
        ),
    };
    match (mapped, skipped, forbidden) {
        (true, ..) => Fate::Mapped,
        (_, true, _) => Fate::Skipped,
        (.., true) => Fate::Forbidden,
        _ => Fate::Unknown,
    }
}

/// Refuses what cannot be; warns of what has no place and takes it out.
pub(super) fn check(version: Version, name: &str, service: &mut Map<String, Value>) -> Result<()> {
    let is_note = |key: &str| version == Version::Later && key.starts_with("x-");
    service.retain(|key, value| !(value.is_null() || is_note(key)));
    if version == Version::V3 {
        long_forms(name, service)?;
    }
    if service.contains_key("memswap_limit") && !service.contains_key("mem_limit") {
        bail!(
            "Invalid 'memswap_limit' configuration for '{name}' service: when defining 'memswap_limit' you must set 'mem_limit' as well"
        );
    }
    let mut skipped = Vec::new();
    for key in service.keys() {
        match fate(version, key) {
            Fate::Mapped => {}
            Fate::Skipped => skipped.push(key.clone()),
            Fate::Forbidden => bail!("Configuration contains forbidden properties: {key}"),
            Fate::Unknown if matches!(key.as_str(), "secrets" | "configs") && version == Version::Later => {
                bail!(
                    "service {name}: {key} have no place in a task definition; use `secrets` of the service in ecs-params.yml"
                )
            }
            Fate::Unknown if version == Version::V3 => {
                bail!("services.{name} Additional property {key} is not allowed")
            }
            Fate::Unknown => bail!("Unsupported config option for a service: '{key}'"),
        }
    }
    // AWS: a file of version 1 gets a network by being read, and so always draws this warning.
    if version == Version::V1 && say::is_ecs_cli() {
        skipped.push("networks".to_owned());
    }
    warn(version, name, &skipped);
    let resources = service.get("deploy").and_then(|deploy| deploy.get("resources"));
    if resources.is_some_and(|resources| !resources.is_null()) {
        say::warn(RESOURCES, &[("option name", "deploy"), ("service name", name)]);
    }
    for key in skipped {
        service.remove(&key);
    }
    Ok(())
}

fn warn(version: Version, service: &str, keys: &[String]) {
    for key in keys {
        // AWS: version 3's names are made from those of fields.
        let option = match key.as_str() {
            "domainname" if version == Version::V3 => "domain_name",
            "userns_mode" if version == Version::V3 => "user_ns_mode",
            other => other,
        };
        let text = "Skipping unsupported YAML option for service...";
        say::warn(text, &[("option name", option), ("service name", service)]);
    }
}

/// Version 3.0 writes ports, volumes and files of variables as texts only.
fn long_forms(name: &str, service: &Map<String, Value>) -> Result<()> {
    for (key, what) in [("env_file", "a string"), ("ports", "a string or number"), ("volumes", "a string")] {
        let items = service.get(key).and_then(Value::as_array);
        if let Some(at) = items.into_iter().flatten().position(Value::is_object) {
            bail!("services.{name}.{key}.{at} must be {what}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fate::{Forbidden, Mapped, Skipped, Unknown};

    #[test]
    fn each_generation_has_its_keys() {
        let versions = [Version::V1, Version::V2, Version::V3, Version::Later];
        for (key, fates) in [
            ("image", [Mapped, Mapped, Mapped, Mapped]),
            ("build", [Skipped, Skipped, Skipped, Skipped]),
            ("net", [Skipped, Unknown, Unknown, Unknown]),
            ("network_mode", [Unknown, Skipped, Skipped, Skipped]),
            ("log_driver", [Mapped, Unknown, Unknown, Unknown]),
            ("logging", [Unknown, Mapped, Mapped, Mapped]),
            ("mem_limit", [Mapped, Mapped, Forbidden, Mapped]),
            ("mem_reservation", [Skipped, Mapped, Forbidden, Mapped]),
            ("volumes_from", [Mapped, Mapped, Forbidden, Mapped]),
            ("cpuset", [Skipped, Skipped, Forbidden, Skipped]),
            ("group_add", [Unknown, Skipped, Unknown, Skipped]),
            ("shm_size", [Mapped, Mapped, Skipped, Mapped]),
            ("healthcheck", [Unknown, Unknown, Mapped, Mapped]),
            ("sysctls", [Unknown, Unknown, Skipped, Skipped]),
            ("deploy", [Unknown, Unknown, Skipped, Skipped]),
            ("init", [Unknown, Unknown, Unknown, Mapped]),
            ("secrets", [Unknown, Unknown, Unknown, Unknown]),
            ("nonsense", [Unknown, Unknown, Unknown, Unknown]),
        ] {
            let got = versions.map(|version| fate(version, key));
            assert_eq!(got, fates, "{key}");
        }
    }

    #[test]
    fn refusals_have_the_originals_words() {
        for (version, service, words) in [
            (Version::V2, "{healthcheck: {}}", "Unsupported config option for a service: 'healthcheck'"),
            (Version::V3, "{init: true}", "services.app Additional property init is not allowed"),
            (Version::V3, "{mem_limit: 1g}", "Configuration contains forbidden properties: mem_limit"),
            (Version::V3, "{ports: ['1:1', {target: 1}]}", "services.app.ports.1 must be a string or number"),
            (Version::V3, "{volumes: [{type: bind}]}", "services.app.volumes.0 must be a string"),
            (Version::V3, "{env_file: [a, {path: b}]}", "services.app.env_file.1 must be a string"),
        ] {
            let mut service = serde_saphyr::from_str(service).unwrap();
            assert_eq!(check(version, "app", &mut service).unwrap_err().to_string(), words);
        }
        let mut service = serde_saphyr::from_str("{image: a, restart: always, 'x-note': b, command: null}").unwrap();
        check(Version::Later, "app", &mut service).unwrap();
        assert_eq!(Value::Object(service), serde_json::json!({"image": "a"}));
    }
}
