//! Does a VPC still stand on this host as it was made? Somebody's `nft flush ruleset`, or an interface that was deleted by hand,
//! changes nothing that the server says: it is found by looking, and made good by [`super::ensure`] without `known`.
//!
//! Only looks. Of the rules it counts those of each chain and the elements of each set: what happens is that a table, a chain or
//! an interface is flushed or deleted, not that somebody writes others as many. What a task has inside its own namespace is
//! not looked at: one with the right to change it may.

use super::host;
use super::plumbing::{HOST_END, Plumbing, ROUTER_END};
use super::rules::{self, OVERLAY, UPLINK};
use super::ruleset::Ruleset;
use super::spec::{PORT_PREFIX, Place, Vpc};
use crate::context::set_thread_netns;
use crate::names::{Mac, TableName};
use crate::netlink::{Link, Netlink, Vxlan};
use crate::{Error, NetContext, Result, nft};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Whether all of it is there, and nothing in the router besides. Costs two processes of `nft` and a handful of listings.
pub async fn stands(context: &NetContext, place: &Place, wanted: &Vpc) -> Result<bool> {
    let (place, router, wanted) = (place.clone(), place.netns()?, wanted.clone());
    if !router.exists() {
        return Ok(false);
    }
    let work = async move || {
        let mut host = Netlink::open_here()?;
        let mut mtu = match host::underlay(&mut host, place.underlay).await {
            Ok(link) => link.mtu,
            // Without the machine's address nothing could be made good either.
            Err(Error::NoSuchLink(_)) => return Ok(true),
            Err(error) => return Err(error),
        };
        if !(has_shape(&place.host_table(), &host::shape(&wanted))?
            && leads_out(&place, &mut host, &wanted, mtu).await?)
        {
            return Ok(false);
        }
        mtu = mtu.saturating_sub(wanted.overhead());
        set_thread_netns(router.as_path())?;
        let mut inside = Netlink::open_here()?;
        let links = inside.links().await?;
        if !has_interfaces(&links, &wanted, mtu) || inside.vxlan(OVERLAY).await? != Some(wire(&place, &wanted)) {
            return Ok(false);
        }
        let routed = Plumbing::there(&mut inside, &links).await? == Plumbing::wanted(&wanted);
        Ok(routed && has_shape(&super::table(), &Shape::of(&rules::compile(&wanted)))?)
    };
    context.run(work).await
}

fn wire(place: &Place, wanted: &Vpc) -> Vxlan {
    Vxlan { vni: wanted.vni, local: place.underlay, port: host::VXLAN_PORT }
}

/// The host's end of the way out, and what is led to it.
async fn leads_out(place: &Place, host: &mut Netlink, wanted: &Vpc, mtu: u32) -> Result<bool> {
    let Some(pair) = host.link(place.uplink().as_str()).await? else { return Ok(false) };
    let right = pair.up && pair.kind == "veth" && pair.mtu == mtu && pair.mac == Some(Mac::for_ipv4(HOST_END));
    Ok(right && host::leads(place, host, pair.index, &wanted.publics()).await?)
}

/// The router's interfaces: all of them, as they were made, and none that looks like one of ours besides.
fn has_interfaces(links: &[Link], wanted: &Vpc, mtu: u32) -> bool {
    let gateway = |subnet: &String| wanted.subnets.get(subnet).map(|subnet| Mac::for_ipv4(subnet.gateway()));
    let ports: BTreeMap<String, Option<Mac>> =
        wanted.ports.values().map(|port| (port.ifname().to_string(), gateway(&port.subnet))).collect();
    let mut seen = BTreeSet::new();
    for link in links {
        let right = match link.name.as_str() {
            OVERLAY => link.up && link.mtu == mtu,
            UPLINK => link.up && link.kind == "veth" && link.mac == Some(Mac::for_ipv4(ROUTER_END)),
            name if name.starts_with(PORT_PREFIX) => {
                link.up && link.kind == "veth" && link.mtu == mtu && ports.get(name).is_some_and(|mac| *mac == link.mac)
            }
            _ => continue,
        };
        if !right {
            return false;
        }
        seen.insert(link.name.as_str());
    }
    seen.len() == ports.len() + 2
}

/// How many rules each chain of a table has, and how many elements each set and map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    pub(crate) chains: BTreeMap<String, usize>,
    pub(crate) sets: BTreeMap<String, usize>,
}

impl Shape {
    fn of(ruleset: &Ruleset) -> Self {
        Self {
            chains: ruleset.chains.iter().map(|(name, chain)| (name.clone(), chain.rules.len())).collect(),
            sets: ruleset.sets.iter().map(|(name, set)| (name.clone(), set.elements.len())).collect(),
        }
    }

    /// Reads `nft -j list table`: a list of objects `{"chain": {..}}`, `{"rule": {..}}`, `{"set": {..}}`, `{"map": {..}}`.
    fn read(listing: &str) -> Option<Self> {
        let listing: Value = serde_json::from_str(listing).ok()?;
        let mut shape = Self::default();
        for object in listing["nftables"].as_array()? {
            let named = |kind: &str, key: &str| Some(object.get(kind)?.get(key)?.as_str()?.to_owned());
            if let Some(name) = named("chain", "name") {
                shape.chains.entry(name).or_default();
            } else if let Some(chain) = named("rule", "chain") {
                *shape.chains.entry(chain).or_default() += 1;
            } else if let Some((kind, name)) = ["set", "map"].iter().find_map(|kind| Some((kind, named(kind, "name")?)))
            {
                let elements = object[*kind].get("elem").and_then(Value::as_array).map_or(0, Vec::len);
                shape.sets.insert(name, elements);
            }
        }
        Some(shape)
    }
}

/// Whether the table in the calling thread's namespace is of that shape.
fn has_shape(table: &TableName, wanted: &Shape) -> Result<bool> {
    let Some(listing) = nft::list_table_here(table)? else { return Ok(false) };
    let there = Shape::read(&listing).ok_or_else(|| {
        let begins: String = listing.chars().take(200).collect();
        Error::NftListing(format!("no table in {begins}"))
    })?;
    Ok(there == *wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_counted_as_nft_prints_it() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"table": {"family": "ip", "name": "t"}},
            {"set": {"family": "ip", "name": "none", "table": "t", "type": "ipv4_addr"}},
            {"set": {"name": "two", "elem": ["1.2.3.4", "1.2.3.5"]}}, {"map": {"name": "m", "elem": [["eni1", {"goto": {"target": "x"}}]]}},
            {"chain": {"name": "empty"}}, {"chain": {"name": "x"}}, {"rule": {"chain": "x", "expr": []}}, {"rule": {"chain": "x", "expr": []}}]}"#;
        let shape = Shape::read(text).expect("readable");
        let count = |pairs: &[(&str, usize)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let sets = count(&[("m", 1), ("none", 0), ("two", 2)]);
        assert_eq!(shape, Shape { chains: count(&[("empty", 0), ("x", 2)]), sets });
        assert_eq!(Shape::read("{}"), None);
        assert_eq!(Shape::read(""), None);
    }
}
