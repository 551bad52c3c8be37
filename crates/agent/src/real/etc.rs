//! The files every container is shown: `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, as Docker makes them.

use crate::{
    files::{self, Durable, Mode},
    plan::{Job, TaskPlan},
};
use model::{ExtraHost, NetworkMode};
use runtime::BindMount;
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

/// Used where the instance has no nameserver a container could reach. Source: Docker's defaults.
const PUBLIC_NAMESERVERS: &str = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";
/// What systemd-resolved asks, where `/etc/resolv.conf` names only its own loopback address.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What a container is shown.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) hostname: String,
    pub(super) mounts: Vec<BindMount>,
}

/// Writes the files into `dir`, made if absent.
pub(super) fn write(dir: &Path, job: &Job) -> io::Result<Files> {
    fs::create_dir_all(dir)?;
    let hostname = hostname(&job.task, job.at);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (hosts, resolv) = match job.mode() {
        NetworkMode::Host => (read("/etc/hosts"), read("/etc/resolv.conf")),
        NetworkMode::Bridge | NetworkMode::None => {
            let address = job.endpoint.as_ref().and_then(|e| e.address);
            (hosts(address, &hostname), resolv(&read("/etc/resolv.conf"), &read(RESOLVED)))
        }
        NetworkMode::Awsvpc => {
            let interface = job.task.assignment.interface.as_ref();
            (
                hosts(interface.map(|i| i.address), &hostname),
                resolv_in_vpc(interface.and_then(|i| i.resolver), &hostname),
            )
        }
    };
    let definition = job.container();
    let hosts = with_extra(with_links(hosts, job), &definition.extra_hosts);
    let resolv = with_servers(&resolv, &definition.dns_servers, &definition.dns_search_domains);
    let mut mounts = Vec::new();
    for (name, text) in [("hosts", hosts), ("hostname", format!("{hostname}\n")), ("resolv.conf", resolv)] {
        let source = dir.join(name);
        files::write(&source, text.as_bytes(), Mode::Public, Durable::ProcessDeath)?;
        mounts.push(BindMount { source, target: format!("/etc/{name}"), read_only: false, fill: None, as_is: false });
    }
    Ok(Files { hostname, mounts })
}

/// With the containers that it has links to, by the names that Docker gives them: the alias, the host name, the container's own.
fn with_links(mut hosts: String, job: &Job) -> String {
    for link in &job.links {
        let (name, id) = (hostname(&job.task, link.at), &job.task.ids[link.at]);
        hosts.push_str(&format!("{}\t{} {name} {id}\n", link.address, link.alias));
    }
    hosts
}

/// With the lines that the definition adds.
fn with_extra(mut hosts: String, extra: &[ExtraHost]) -> String {
    for host in extra {
        hosts.push_str(&format!("{}\t{}\n", host.ip_address, host.hostname));
    }
    hosts
}

/// With the definition's servers and search domains in place of the others. Docker: options stay.
fn with_servers(resolv: &str, servers: &[String], domains: &[String]) -> String {
    let replaced = |line: &&str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        (word == "nameserver" && !servers.is_empty()) || (matches!(word, "search" | "domain") && !domains.is_empty())
    };
    let mut text: String = resolv.lines().filter(|line| !replaced(line)).map(|line| format!("{line}\n")).collect();
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    text.extend(servers.iter().map(|server| format!("nameserver {server}\n")));
    text
}

/// Removes them.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn hostname(task: &TaskPlan, at: usize) -> String {
    let container = &task.containers[at];
    if let Some(given) = &container.hostname {
        return given.clone();
    }
    match container.network_mode(task.mode()) {
        NetworkMode::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        // Docker: the first twelve of the id's digits; ours has its digits at the end.
        NetworkMode::Bridge | NetworkMode::None => {
            let id = &*task.ids[at];
            let digits = id.rsplit('-').next().unwrap_or(id);
            digits[..digits.len().min(12)].to_owned()
        }
        // AWS: all of a task's containers are called as its interface is.
        NetworkMode::Awsvpc => {
            let assignment = &task.assignment;
            let region = assignment.task.cluster.scope.region.as_str();
            let name = |i: &link::AssignedInterface| model::attachment::private_dns_name(i.address, region);
            assignment.interface.as_ref().map(name).unwrap_or_default()
        }
    }
}

fn hosts(address: Option<Ipv4Addr>, hostname: &str) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    if let Some(address) = address {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    text
}

/// The VPC's resolver, and the domain that its instances' names are in.
fn resolv_in_vpc(resolver: Option<Ipv4Addr>, hostname: &str) -> String {
    let Some(resolver) = resolver else { return String::new() };
    let search = hostname.split_once('.').map(|(_, domain)| format!("search {domain}\n")).unwrap_or_default();
    format!("{search}nameserver {resolver}\noptions timeout:2 attempts:5\n")
}

/// The instance's own, without nameservers that only the instance itself can reach.
fn resolv(own: &str, resolved: &str) -> String {
    for text in [own, resolved] {
        let kept: String = text.lines().filter(|line| !is_loopback(line)).map(|line| format!("{line}\n")).collect();
        if kept.lines().any(|line| nameserver(line).is_some()) {
            return kept;
        }
    }
    let rest: String = own.lines().filter(|l| nameserver(l).is_none()).map(|line| format!("{line}\n")).collect();
    rest + PUBLIC_NAMESERVERS
}

fn nameserver(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next()).flatten()
}

fn is_loopback(line: &str) -> bool {
    nameserver(line).and_then(|a| a.parse::<IpAddr>().ok()).is_some_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_that_containers_cannot_reach_are_left_out() {
        let check = |own: &str, resolved: &str, want: &str| assert_eq!(resolv(own, resolved), want);
        check("search a\nnameserver 10.0.0.2\nnameserver 127.0.0.1\n", "", "search a\nnameserver 10.0.0.2\n");
        check("nameserver 127.0.0.53\nsearch a", "nameserver 10.0.0.2\n", "nameserver 10.0.0.2\n");
        check("nameserver ::1\nsearch a", "", &format!("search a\n{PUBLIC_NAMESERVERS}"));
        check("", "", PUBLIC_NAMESERVERS);
    }

    #[test]
    fn what_the_definition_says_takes_the_place_of_the_rest() {
        let own = "search a\nnameserver 10.0.0.2\noptions ndots:5\n";
        let check = |servers: &[&str], domains: &[&str], want: &str| {
            let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            assert_eq!(with_servers(own, &words(servers), &words(domains)), want);
        };
        check(&[], &[], own);
        check(&["10.9.9.9", "fd00::1"], &[], "search a\noptions ndots:5\nnameserver 10.9.9.9\nnameserver fd00::1\n");
        check(&[], &["b", "c.d"], "nameserver 10.0.0.2\noptions ndots:5\nsearch b c.d\n");
        let extra = ExtraHost { hostname: "db".into(), ip_address: "10.0.0.9".into() };
        assert_eq!(with_extra("127.0.0.1\tlocalhost\n".into(), &[extra]), "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n");
    }

    #[test]
    fn a_container_knows_itself() {
        let text = hosts(Some(Ipv4Addr::new(172, 17, 0, 2)), "web");
        assert!(text.ends_with("172.17.0.2\tweb\n"), "{text}");
        assert!(!hosts(None, "web").contains("web"));
    }
}
