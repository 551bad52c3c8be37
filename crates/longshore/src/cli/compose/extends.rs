//! One service over another: what `extends` takes from elsewhere, and later files over earlier ones.

use super::{
    file::{Reader, Services},
    value::pairs,
};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::path::Path;

/// Longest chain of services that extend one another; more is a circle.
const MAX_DEPTH: usize = 16;
/// What a service does not take over, since it names other services of its own file.
const NOT_INHERITED: [&str; 3] = ["depends_on", "links", "volumes_from"];
/// Lists of which a later one replaces an earlier one: they are one thing each, no collection.
const WHOLE: [&str; 3] = ["command", "entrypoint", "test"];
/// Written as a mapping or as a list of `key=value`; both forms can meet.
const PAIRS: [&str; 3] = ["environment", "labels", "log_opt"];

/// The services of a file with everything they extend laid below them.
pub(super) fn resolve(reader: &mut Reader<'_>, path: &Path, services: &Services) -> Result<Services> {
    let all = services.keys().map(|name| Ok((name.clone(), resolved(reader, path, services, name, 0)?)));
    all.collect()
}

fn resolved(
    reader: &mut Reader<'_>,
    path: &Path,
    services: &Services,
    name: &str,
    depth: usize,
) -> Result<Map<String, Value>> {
    if depth > MAX_DEPTH {
        bail!("service {name} extends itself over {MAX_DEPTH} others; break the circle");
    }
    let service = services.get(name);
    let mut own = service.cloned().with_context(|| format!("Cannot find service {name} in {}", path.display()))?;
    let Some(extends) = own.remove("extends") else { return Ok(own) };
    let of = |key: &str| extends.get(key).and_then(Value::as_str);
    let base = extends.as_str().or_else(|| of("service"));
    let base = base.with_context(|| format!("service {name}: extends must name a service"))?;
    let mut base = match of("file") {
        None => resolved(reader, path, services, base, depth + 1)?,
        Some(file) => {
            let path = path.parent().unwrap_or(Path::new("/")).join(file);
            let other = reader.services(&path)?;
            resolved(reader, &path, &other, base, depth + 1)?
        }
    };
    for key in NOT_INHERITED {
        base.remove(key);
    }
    merge(&mut base, own)?;
    Ok(base)
}

/// Lays `over` on `base`: mappings and lists grow, everything else is replaced.
pub(super) fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) -> Result<()> {
    for (key, value) in over {
        // A service is either built or pulled.
        match key.as_str() {
            "image" => drop(base.remove("build")),
            "build" => drop(base.remove("image")),
            _ => {}
        }
        let Some(old) = base.get_mut(&key) else {
            base.insert(key, value);
            continue;
        };
        if PAIRS.contains(&key.as_str()) && !old.is_null() && !value.is_null() {
            let both = pairs(&key, old)?.into_iter().chain(pairs(&key, &value)?);
            *old = Value::Object(both.map(|(k, v)| (k, v.map_or(Value::Null, Value::String))).collect());
            continue;
        }
        match (old, value) {
            (Value::Object(old), Value::Object(new)) => merge(old, new)?,
            (Value::Array(old), Value::Array(new)) if !WHOLE.contains(&key.as_str()) => {
                for item in new {
                    if !old.contains(&item) {
                        old.push(item);
                    }
                }
            }
            (old, value) => *old = value,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_later_file_grows_collections_and_replaces_the_rest() {
        let Value::Object(mut base) = json!({
            "build": ".", "command": ["a"], "ports": ["80:80"], "environment": ["A=1", "B=2"],
            "logging": {"driver": "syslog", "options": {"a": "b"}}, "mem_limit": "1g",
        }) else {
            unreachable!()
        };
        let Value::Object(over) = json!({
            "image": "busybox", "command": ["b"], "ports": ["81:81", "80:80"], "environment": {"B": "3", "C": null},
            "logging": {"options": {"c": "d"}}, "mem_limit": "2g",
        }) else {
            unreachable!()
        };
        merge(&mut base, over).unwrap();
        let wanted = json!({
            "image": "busybox", "command": ["b"], "ports": ["80:80", "81:81"],
            "environment": {"A": "1", "B": "3", "C": null},
            "logging": {"driver": "syslog", "options": {"a": "b", "c": "d"}}, "mem_limit": "2g",
        });
        assert_eq!(Value::Object(base), wanted);
    }
}
