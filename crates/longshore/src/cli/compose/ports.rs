//! `ports` of a compose service.

use super::{
    super::say,
    value::{integer, scalar, text},
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use shapes::ecs;
use std::net::{Ipv4Addr, Ipv6Addr};

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
    let protocol = known_protocol(protocol)?;
    let (outside, inside) = ports.rsplit_once(':').map_or((None, ports), |(o, i)| (Some(o), i));
    let (address, host) = match outside.map(|outside| (outside, outside.rsplit_once(':'))) {
        Some((_, Some((address, host)))) => (address, host),
        Some((host, None)) => ("", host),
        None => ("", ""),
    };
    if !address.is_empty() {
        if !is_address(address) {
            bail!("{address} is not an IP address; write [address:][host:]container[/protocol]");
        }
        let text = "Ignoring the ip address while transforming it to task definition";
        say::warn(text, &[("container", container), ("portMapping", ports)]);
    }
    let inside = range(inside)?;
    // 0 lets the instance choose, as no port does.
    let outside = (!matches!(host, "" | "0")).then(|| range(host)).transpose()?;
    if outside.as_ref().is_some_and(|outside| outside.len() != inside.len()) {
        bail!("the two ranges differ in length");
    }
    for (at, port) in inside.into_iter().enumerate() {
        let host = outside.as_ref().map_or(0, |outside| outside[at]);
        mappings.push(mapping(i32::from(host), i32::from(port), &protocol));
    }
    Ok(())
}

/// An IPv6 address stands in brackets.
fn is_address(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv4Addr>().is_ok(),
    }
}

fn known_protocol(given: &str) -> Result<String> {
    let lower = given.to_ascii_lowercase();
    if !matches!(lower.as_str(), "tcp" | "udp") {
        bail!("the protocol must be tcp or udp, not '{given}'");
    }
    Ok(lower)
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
            "protocol" => protocol = known_protocol(&scalar(key, value)?)?,
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
            (json!(["[::1]:81:82", ":83:84"]), Some(vec![(81, 82, "tcp"), (83, 84, "tcp")])),
            (json!(["0:80", ":81"]), Some(vec![(0, 80, "tcp"), (0, 81, "tcp")])),
            (json!(["80/TCP", "81:82/Udp"]), Some(vec![(0, 80, "tcp"), (81, 82, "udp")])),
            (json!(["080:0443"]), Some(vec![(80, 443, "tcp")])),
            (json!([{"target": 80, "protocol": "UDP"}]), Some(vec![(0, 80, "udp")])),
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
            (json!(["80:0"]), None),
            (json!(["0-1:80-81"]), None),
            (json!(["80:80:80:80"]), None),
            (json!(["foo:80:80"]), None),
            (json!(["::1:80:80"]), None),
            (json!(["80/sctp"]), None),
            (json!(["80/"]), None),
            (json!([{"target": 80, "protocol": "icmp"}]), None),
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
