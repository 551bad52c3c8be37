//! `ports` of a compose service.

use super::{
    super::say,
    value::{integer, text},
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use shapes::ecs;

/// The port mappings of a service.
pub(super) fn mappings(value: &Value, container: &str) -> Result<Vec<ecs::PortMapping>> {
    let Value::Array(items) = value else { bail!("must be a list") };
    let mut mappings = Vec::new();
    for item in items {
        match item {
            Value::Object(long) => mappings.push(long_form(long)?),
            short => {
                let given = text(short).context("must be a text or a number")?;
                short_form(&given, container, &mut mappings).with_context(|| format!("'{given}'"))?;
            }
        }
    }
    Ok(mappings)
}

fn mapping(host: i32, container: i32, protocol: &str) -> ecs::PortMapping {
    ecs::PortMapping {
        container_port: Some(container),
        host_port: Some(host),
        protocol: Some(protocol.to_owned()),
        ..Default::default()
    }
}

/// `[ip:]host:container[/protocol]`, `container`, and ranges of either.
fn short_form(given: &str, container: &str, mappings: &mut Vec<ecs::PortMapping>) -> Result<()> {
    let (ports, protocol) = given.split_once('/').unwrap_or((given, "tcp"));
    let (outside, inside) = ports.rsplit_once(':').map_or((None, ports), |(o, i)| (Some(o), i));
    let outside = outside.map(|outside| match outside.rsplit_once(':') {
        Some((_, host)) => {
            let text = "Ignoring the ip address while transforming it to task definition";
            say::warn(text, &[("container", container), ("portMapping", ports)]);
            host
        }
        None => outside,
    });
    let inside = range(inside)?;
    let outside = outside.filter(|host| !host.is_empty()).map(range).transpose()?;
    if outside.as_ref().is_some_and(|outside| outside.len() != inside.len()) {
        bail!("the two ranges differ in length");
    }
    for (at, port) in inside.into_iter().enumerate() {
        // 0 lets the instance choose.
        let host = outside.as_ref().map_or(0, |outside| outside[at]);
        mappings.push(mapping(i32::from(host), i32::from(port), protocol));
    }
    Ok(())
}

fn range(text: &str) -> Result<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let (first, last) = port(first).zip(port(last)).with_context(|| format!("{text} is not a port"))?;
    if first > last {
        bail!("{text} is not a range of ports");
    }
    Ok((first..=last).collect())
}

/// `{target, published, protocol}` of versions 3.2 and later.
fn long_form(long: &serde_json::Map<String, Value>) -> Result<ecs::PortMapping> {
    let (mut target, mut published, mut protocol) = (None, 0, "tcp".to_owned());
    for (key, value) in long {
        match key.as_str() {
            "target" => target = Some(integer(key, value)?),
            "published" => published = integer(key, value)?,
            "protocol" => protocol = text(value).context("protocol must be a text")?,
            // Every port of a task is published on its own instance.
            "mode" if value == "host" => {}
            other => bail!("{other} of a port cannot be honoured; remove it"),
        }
    }
    Ok(mapping(published, target.context("a port needs a target")?, &protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_read_in_every_form() {
        for (given, wanted) in [
            (json!(["80:8080"]), Some(vec![(80, 8080, "tcp")])),
            (json!([7000]), Some(vec![(0, 7000, "tcp")])),
            (json!(["91:90/udp", "127.0.0.1:9000:82/udp"]), Some(vec![(91, 90, "udp"), (9000, 82, "udp")])),
            (json!(["127.0.0.1::82"]), Some(vec![(0, 82, "tcp")])),
            (json!(["3000-3001:4000-4001"]), Some(vec![(3000, 4000, "tcp"), (3001, 4001, "tcp")])),
            (json!(["3000-3001"]), Some(vec![(0, 3000, "tcp"), (0, 3001, "tcp")])),
            (
                json!([{"target": 80, "published": "81", "protocol": "udp", "mode": "host"}]),
                Some(vec![(81, 80, "udp")]),
            ),
            (json!([{"target": 80, "mode": "ingress"}]), None),
            (json!(["1-3:1-2"]), None),
            (json!(["3-1"]), None),
            (json!(["http"]), None),
            (json!(["0"]), None),
            (json!(["70000"]), None),
        ] {
            let got = mappings(&given, "c").ok().map(|all| {
                let ports =
                    all.into_iter().map(|m| (m.host_port.unwrap(), m.container_port.unwrap(), m.protocol.unwrap()));
                ports.collect::<Vec<_>>()
            });
            let wanted = wanted.map(|all| all.into_iter().map(|(h, c, p)| (h, c, p.to_owned())).collect::<Vec<_>>());
            assert_eq!(got, wanted, "{given}");
        }
    }
}
