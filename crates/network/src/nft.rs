//! nftables: text we render ourselves, given to `nft -f -`, one process and one kernel transaction per batch.
//!
//! A transaction is whole or absent, so a crash leaves no half table. Tables are `ensure`d without reading them first: add
//! table, chains and maps (no-ops when there), flush the chains, add the rules again; elements of maps stay.

use crate::names::{IfName, TableName};
use crate::{Error, Result};
use ipnet::Ipv4Net;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// `nft` lives in sbin, which is not on every service's PATH.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// A base chain and its rules.
struct Chain<'a> {
    name: &'a str,
    /// Type, hook and priority, as nft writes them.
    hook: &'a str,
    rules: Vec<String>,
}

/// Masquerades what leaves `net`, or the public addresses of `pool`, for anywhere else. Among themselves all keep their own,
/// but who asks a public address from `net` does so under the pool's first address, which nobody is given: a VPC of that very
/// range would look for `net` within itself and never answer.
pub(crate) fn masquerade_table(table: &TableName, net: Ipv4Net, pool: Option<Ipv4Net>) -> String {
    let mut chain = masquerade_chain(net, pool);
    // A pool of one or two addresses gives its first one away too.
    if let Some(pool) = pool.filter(|pool| pool.prefix_len() < 31) {
        let (net, pool) = (net.trunc(), pool.trunc());
        chain.rules.push(format!("ip saddr {net} ip daddr {pool} snat to {}", pool.network()));
    }
    table_text(table, "", &[chain])
}

fn masquerade_chain(net: Ipv4Net, pool: Option<Ipv4Net>) -> Chain<'static> {
    let both: Vec<Ipv4Net> = [Some(net), pool].into_iter().flatten().map(|net| net.trunc()).collect();
    let elsewhere: String = both.iter().map(|net| format!("ip daddr != {net} ")).collect();
    let rules =
        both.iter().map(|net| format!("ip saddr {net} {elsewhere}ip daddr != 224.0.0.0/4 masquerade")).collect();
    Chain { name: "postrouting", hook: "type nat hook postrouting priority srcnat; policy accept;", rules }
}

/// As [`masquerade_table`], and keeps containers from the instance's 127.0.0.1, which `route_localnet` would open to them.
/// At raw priority the replies to localhost, whose addresses are not translated back yet, do not match.
pub(crate) fn task_table(table: &TableName, bridge: &IfName, net: Ipv4Net) -> String {
    let guard = Chain {
        name: "guard",
        hook: "type filter hook prerouting priority raw; policy accept;",
        rules: vec![
            format!("iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop"),
            format!("iifname \"{bridge}\" ip saddr 127.0.0.0/8 drop"),
        ],
    };
    table_text(table, "", &[guard, masquerade_chain(net, None)])
}

/// The address of loopback at which no port of a container is published: whoever listens there gets what is sent there.
pub const UNPUBLISHED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Host ports to containers: from outside, from the instance itself and its localhost, and from the containers themselves.
pub(crate) fn ports_table(table: &TableName, bridge: &IfName, net: Ipv4Net) -> String {
    let net = net.trunc();
    let dnat = || {
        vec!["fib daddr type local meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @ports".to_owned()]
    };
    let post = vec![
        // From the instance's localhost: the container must answer to the bridge, not to its own 127.0.0.1.
        format!("ct status dnat oifname \"{bridge}\" ip saddr 127.0.0.0/8 masquerade"),
        // From a container on the same bridge: the answer must come back through here to be translated back.
        format!("ct status dnat oifname \"{bridge}\" ip saddr {net} masquerade"),
    ];
    let chains = [
        Chain { name: "prerouting", hook: "type nat hook prerouting priority dstnat; policy accept;", rules: dnat() },
        // The name `dstnat` is refused for this hook; -100 is what it stands for.
        Chain {
            name: "output",
            hook: "type nat hook output priority -100; policy accept;",
            rules: [vec![format!("ip daddr {UNPUBLISHED} accept")], dnat()].concat(),
        },
        Chain { name: "postrouting", hook: "type nat hook postrouting priority srcnat; policy accept;", rules: post },
    ];
    table_text(table, "map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }", &chains)
}

/// Keeps those outside the instance from its link-local addresses: only its own processes and its tasks' bridge may ask there.
/// The bridge need not be there yet.
pub(crate) fn link_local_table(table: &TableName, bridge: &IfName, addresses: &[Ipv4Addr]) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let rule = format!("iifname != {{ \"lo\", \"{bridge}\" }} ip daddr {{ {} }} drop", all.join(", "));
    let guard =
        Chain { name: "guard", hook: "type filter hook input priority filter; policy accept;", rules: vec![rule] };
    table_text(table, "", &[guard])
}

fn table_text(table: &TableName, map: &str, chains: &[Chain<'_>]) -> String {
    let mut text = format!("add table ip {table}\n");
    if let Some(map) = map.strip_prefix("map ") {
        let (name, body) = map.split_once(' ').expect("our own maps have a name and a body");
        text.push_str(&format!("add map ip {table} {name} {body}\n"));
    }
    for Chain { name, hook, rules } in chains {
        text.push_str(&format!("add chain ip {table} {name} {{ {hook} }}\nflush chain ip {table} {name}\n"));
        for rule in rules {
            text.push_str(&format!("add rule ip {table} {name} {rule}\n"));
        }
    }
    text
}

/// Deletes a table, which needs to exist for `delete`, so it is added first; all in one transaction.
pub(crate) fn delete_table(table: &TableName) -> String {
    format!("add table ip {table}\ndelete table ip {table}\n")
}

/// Applies a batch in the calling thread's network namespace, which the child inherits.
pub(crate) fn apply_here(batch: &str) -> Result<()> {
    begin_here(batch)?.finish()
}

/// A batch that `nft` is working on. Dropped unfinished, the process is waited for all the same.
pub(crate) struct Pending(Option<Child>);

impl Pending {
    /// Waits for the outcome.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |child| finish(child).map(drop))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Nobody wants to know any more; this only leaves no dead process behind.
            drop(child.wait());
        }
    }
}

/// As [`apply_here`], without waiting: for work that can be done meanwhile, in whatever namespace.
pub(crate) fn begin_here(batch: &str) -> Result<Pending> {
    let mut child = start(&["-f", "-"], Stdio::piped)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A refusal closes the pipe early; its reason is on stderr.
        match stdin.write_all(batch.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(Error::NftMissing(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(Pending(Some(child)))
}

/// A map as JSON, or nothing when table or map is not there.
pub(crate) fn list_map_here(table: &TableName, map: &str) -> Result<Option<String>> {
    listed(&["-j", "list", "map", "ip", table.as_str(), map])
}

/// A table as JSON, or nothing when it is not there.
pub(crate) fn list_table_here(table: &TableName) -> Result<Option<String>> {
    listed(&["-j", "list", "table", "ip", table.as_str()])
}

fn listed(arguments: &[&str]) -> Result<Option<String>> {
    match finish(start(arguments, Stdio::null)?) {
        Ok(text) => Ok(Some(text)),
        Err(Error::Nft { stderr }) if stderr.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error),
    }
}

fn start(arguments: &[&str], stdin: fn() -> Stdio) -> Result<Child> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for program in PROGRAMS {
        // The C locale, because one message is recognised by its text.
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").stdin(stdin()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            Err(error) => return Err(Error::NftMissing(error)),
            Ok(child) => return Ok(child),
        }
    }
    Err(Error::NftMissing(missing))
}

fn finish(child: Child) -> Result<String> {
    let output = child.wait_with_output().map_err(Error::NftMissing)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Nft { stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}
