//! Is an address range free on this machine? Asked before we take one, because shadowing somebody's route is the kind of
//! damage nobody connects with us.

use crate::netlink::Netlink;
use crate::{Error, Result};
use ipnet::Ipv4Net;

/// Routes this wide are "everything" (default routes, and the two halves VPN clients use); a narrower range inside is fine.
const EVERYTHING: u8 = 1;

/// Finds an address or route outside interface `ours` that overlaps `wanted`: the interface's name and the range.
pub(crate) async fn find(netlink: &mut Netlink, wanted: Ipv4Net, ours: &str) -> Result<Option<(String, Ipv4Net)>> {
    let links = netlink.links().await?;
    let mut taken = netlink.addresses().await?;
    taken.extend(netlink.routes().await?);
    let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    Ok(pick(wanted, &taken).find_map(|(index, existing)| {
        let interface = name(index).unwrap_or_else(|| format!("number {index}"));
        (interface != ours).then_some((interface, existing))
    }))
}

/// As [`find`], as an error that names the flag.
pub(crate) async fn refuse(netlink: &mut Netlink, wanted: Ipv4Net, ours: &str, flag: &'static str) -> Result<()> {
    match find(netlink, wanted, ours).await? {
        None => Ok(()),
        Some((interface, existing)) => Err(Error::Overlap { wanted: wanted.trunc(), existing, interface, flag }),
    }
}

fn pick(wanted: Ipv4Net, taken: &[(u32, Ipv4Net)]) -> impl Iterator<Item = (u32, Ipv4Net)> {
    let overlaps = move |net: &Ipv4Net| wanted.contains(&net.network()) || net.contains(&wanted.network());
    taken.iter().copied().filter(move |(_, net)| net.prefix_len() > EVERYTHING && overlaps(net))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_table() {
        let net = |text: &str| text.parse::<Ipv4Net>().expect("a range");
        for (wanted, taken, overlaps) in [
            ("172.31.0.1/16", "172.31.5.9/24", true),
            ("172.31.0.1/16", "172.16.0.0/12", true),
            ("172.31.0.1/16", "172.31.0.0/16", true),
            ("172.31.0.1/16", "172.31.7.7/32", true),
            ("172.31.0.1/16", "172.30.0.0/16", false),
            ("172.31.0.1/16", "0.0.0.0/0", false),
            ("172.31.0.1/16", "128.0.0.0/1", false),
        ] {
            assert_eq!(pick(net(wanted), &[(7, net(taken))]).count() == 1, overlaps, "{wanted} {taken}");
        }
    }
}
