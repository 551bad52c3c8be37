//! Network modes: an endpoint and published ports per container in bridge mode, the instance's own network in host mode,
//! none in mode none. Addresses and ports taken are remembered here and rebuilt from the ledger.

use super::userns::UserNamespaces;
use crate::{
    node::Failure,
    plan::{Job, TaskPlan},
    task::Endpoint,
};
use ::network::{
    self as net, BridgeSpec, EndpointSpec, IfName, Ipv4Net, Mac, NetContext, NetnsPath, PortMap, PortsSpec, Protocol,
    ipam,
};
use model::{NetworkBinding, NetworkMode, PortMapping, PortSpec, definition_rules::RESERVED_PORTS};
use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, SocketAddrV4},
    ops::RangeInclusive,
    path::PathBuf,
};
use tokio::sync::{Mutex, MutexGuard};

/// Where published ports answer: every address of the instance.
const BIND_IP: &str = "0.0.0.0";

/// The most connections that gVisor lets wait to be accepted. Source: maxListenBacklog, pkg/sentry/syscalls/linux/sys_socket.go.
const GVISOR_BACKLOG: u64 = 1024;

pub(super) struct TaskNetwork {
    context: NetContext,
    netns_dir: PathBuf,
    candidates: Vec<Ipv4Net>,
    users: UserNamespaces,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// Set once the bridge stands.
    bridge: Option<Bridge>,
    /// By container id.
    endpoints: BTreeMap<String, Endpoint>,
    last_address: Option<Ipv4Addr>,
    last_port: Option<u16>,
}

#[derive(Clone)]
struct Bridge {
    spec: BridgeSpec,
    ports: PortsSpec,
    dynamic: RangeInclusive<u16>,
}

impl TaskNetwork {
    pub(super) fn new(netns_dir: PathBuf, candidates: Vec<Ipv4Net>, users: UserNamespaces) -> Self {
        Self { context: NetContext::own(), netns_dir, candidates, users, taken: Mutex::default() }
    }

    /// The namespace that a task's container at this position lives in.
    pub(super) fn netns_of(&self, task: &TaskPlan, at: usize) -> net::Result<PathBuf> {
        let id = match task.containers[at].network_mode(task.mode()) {
            // By our number, because in the runtime's eyes `self` would be somebody else.
            NetworkMode::Host => return Ok(format!("/proc/{}/ns/net", std::process::id()).into()),
            NetworkMode::None | NetworkMode::Bridge => &*task.ids[at],
            NetworkMode::Awsvpc => task.id(),
        };
        Ok(self.netns(id)?.as_path().to_owned())
    }

    /// Makes the namespace of a container without a network, which is there for the others by now. Not left to the runtime: gVisor
    /// would not even have a loopback.
    pub(super) async fn isolate(&self, job: &Job) -> Result<(), Failure> {
        if job.mode() != NetworkMode::None {
            return Ok(());
        }
        let fail = |e: &dyn std::error::Error| Failure::new("CannotCreateContainerError", super::chain(e));
        let netns = self.netns(job.id()).map_err(|e| fail(&e))?;
        self.users.own_network(&job.task, netns.clone()).await.map_err(|e| fail(&e))?;
        net::ensure_isolated(&netns).await.map_err(|e| fail(&e))
    }

    fn netns(&self, id: &str) -> net::Result<NetnsPath> {
        NetnsPath::new(&self.netns_dir, id)
    }

    /// Sets what a container under gVisor says of its network: its sockets are those of the network that it is given, and so the
    /// kernel holds to it. Under runc that is the runtime's to do.
    pub(super) async fn control(&self, job: &Job) -> Result<(), Failure> {
        let fail = |e: &dyn std::fmt::Display| Failure::new("CannotCreateContainerError", e);
        let controls = job.container().system_controls.iter().filter(|control| control.is_of_network());
        let parameters: Vec<_> = controls.map(|control| (control.namespace.clone(), control.value.clone())).collect();
        if parameters.is_empty() {
            return Ok(());
        }
        // No definition that says so is let in; and runc does not believe them either.
        if job.mode() == NetworkMode::Host {
            return Err(fail(&"the network's kernel parameters are the machine's in network mode host"));
        }
        for (name, value) in &parameters {
            if let Some(why) = not_under_gvisor(name, value) {
                return Err(fail(&format_args!(
                    "{name}={value} cannot be had under the runtime runsc (gVisor), where {why}"
                )));
            }
        }
        let netns = self.netns_of(&job.task, job.at).map_err(|e| fail(&super::chain(&e)))?;
        net::set_parameters(&NetContext::at(netns), parameters).await.map_err(|e| fail(&super::chain(&e)))
    }

    pub(super) async fn connect(&self, job: &Job) -> Result<Endpoint, Failure> {
        match job.mode() {
            // The interface of mode awsvpc is the task's: it is there already, and no port needs to be published.
            NetworkMode::None | NetworkMode::Awsvpc => Ok(Endpoint::default()),
            NetworkMode::Host => {
                let bindings = job.container().port_mappings.iter().map(in_host_mode).collect();
                Ok(Endpoint { address: None, bindings })
            }
            NetworkMode::Bridge => self.connect_bridged(job).await,
        }
    }

    async fn connect_bridged(&self, job: &Job) -> Result<Endpoint, Failure> {
        // AWS: Docker makes the network as part of starting.
        let fail = |e: &dyn std::error::Error| Failure::new("CannotStartContainerError", super::chain(e));
        let (bridge, endpoint) = {
            let mut taken = self.taken.lock().await;
            let bridge = self.bridge(&mut taken).await.map_err(|e| fail(&e))?;
            let endpoint = self.reserve(&mut taken, &bridge, job).await?;
            (bridge, endpoint)
        };
        let address = endpoint.address.expect("bridged endpoints have an address");
        let spec = self.endpoint(&bridge, job.id(), address).map_err(|e| fail(&e))?;
        self.users.own_network(&job.task, spec.netns.clone()).await.map_err(|e| fail(&e))?;
        net::ensure_endpoint(&self.context, &spec).await.map_err(|e| fail(&e))?;
        net::add_ports(&self.context, &bridge.ports.table, &port_maps(&endpoint)).await.map_err(|e| fail(&e))?;
        Ok(endpoint)
    }

    fn endpoint(&self, bridge: &Bridge, id: &str, address: Ipv4Addr) -> net::Result<EndpointSpec> {
        let prefix = bridge.spec.gateway.prefix_len();
        Ok(EndpointSpec {
            netns: self.netns(id)?,
            ifname: IfName::new("eth0")?,
            host_veth: host_veth(id),
            bridge: bridge.spec.bridge.clone(),
            address: Ipv4Net::new(address, prefix).expect("the prefix length is that of a range"),
            gateway: bridge.spec.gateway.addr(),
            mac: Mac::for_ipv4(address),
        })
    }

    /// The bridge, made at its first use: an instance whose tasks use other modes needs none.
    async fn bridge(&self, taken: &mut MutexGuard<'_, Taken>) -> net::Result<Bridge> {
        if let Some(bridge) = &taken.bridge {
            return Ok(bridge.clone());
        }
        let name = BridgeSpec::standard(self.candidates[0]).bridge;
        let gateway = net::choose_task_net(&self.context, &name, &self.candidates).await?;
        let spec = BridgeSpec::standard(gateway);
        net::ensure_task_bridge(&self.context, &spec).await?;
        let ports = PortsSpec::standard(&spec.bridge, gateway);
        net::ensure_ports_table(&self.context, &ports).await?;
        let dynamic = net::ephemeral_range(&self.context).await?;
        Ok(taken.bridge.insert(Bridge { spec, ports, dynamic }).clone())
    }

    /// Address and ports, remembered as taken. The same again if it was asked before.
    async fn reserve(
        &self,
        taken: &mut MutexGuard<'_, Taken>,
        bridge: &Bridge,
        job: &Job,
    ) -> Result<Endpoint, Failure> {
        if let Some(known) = taken.endpoints.get(job.id()) {
            return Ok(known.clone());
        }
        let fail = |e: &net::Error| Failure::new("CannotStartContainerError", super::chain(e));
        let used: HashSet<Ipv4Addr> = taken.endpoints.values().filter_map(|e| e.address).collect();
        let address = ipam::allocate_after(bridge.spec.gateway, &used, taken.last_address).map_err(|e| fail(&e))?;
        let mut ports: HashSet<(Protocol, u16)> =
            taken.endpoints.values().flat_map(port_maps).map(|map| (map.protocol, map.host_port)).collect();
        let mut bindings = Vec::new();
        for mapping in &job.container().port_mappings {
            let binding = match mapping.spec {
                PortSpec::Single { container, host: Some(host) } if host != 0 => {
                    self.take_static(&mut ports, mapping, container, host).await?
                }
                PortSpec::Single { container, .. } => {
                    let host = self.take_dynamic(taken, &mut ports, bridge, mapping, 1).await.map_err(|e| fail(&e))?;
                    binding(mapping, (container, container), host)
                }
                PortSpec::Range { first, last } => {
                    let count = last - first + 1;
                    let host =
                        self.take_dynamic(taken, &mut ports, bridge, mapping, count).await.map_err(|e| fail(&e))?;
                    binding(mapping, (first, last), host)
                }
            };
            bindings.push(binding);
        }
        let endpoint = Endpoint { address: Some(address), bindings };
        taken.last_address = Some(address);
        taken.endpoints.insert(job.id().to_owned(), endpoint.clone());
        Ok(endpoint)
    }

    async fn take_static(
        &self,
        ports: &mut HashSet<(Protocol, u16)>,
        mapping: &PortMapping,
        container: u16,
        host: u16,
    ) -> Result<NetworkBinding, Failure> {
        let protocol = protocol(mapping);
        let free = ports.insert((protocol, host))
            && net::is_port_free(&self.context, protocol, host)
                .await
                .map_err(|e| Failure::new("CannotStartContainerError", super::chain(&e)))?;
        if free {
            return Ok(binding(mapping, (container, container), host));
        }
        // AWS: Docker's words.
        let text = format!("Bind for {BIND_IP}:{host} failed: port is already allocated");
        Err(Failure::new("CannotStartContainerError", text))
    }

    /// The first of `count` free host ports in a row.
    async fn take_dynamic(
        &self,
        taken: &mut Taken,
        ports: &mut HashSet<(Protocol, u16)>,
        bridge: &Bridge,
        mapping: &PortMapping,
        count: u16,
    ) -> net::Result<u16> {
        let protocol = protocol(mapping);
        let kept = RESERVED_PORTS.iter().flat_map(|p| [(Protocol::Tcp, *p), (Protocol::Udp, *p)]);
        let busy: HashSet<_> = ports.iter().copied().chain(kept).collect();
        let (low, high) = (*bridge.dynamic.start(), *bridge.dynamic.end());
        let first = if count == 1 {
            let range = bridge.dynamic.clone();
            net::find_free_ports(&self.context, &[protocol], range, &busy, taken.last_port).await?[0]
        } else {
            self.find_row(protocol, count, (low, high), &busy, taken.last_port).await?
        };
        let last = first + (count - 1);
        ports.extend((first..=last).map(|port| (protocol, port)));
        taken.last_port = Some(last);
        Ok(first)
    }

    async fn find_row(
        &self,
        protocol: Protocol,
        count: u16,
        (low, high): (u16, u16),
        busy: &HashSet<(Protocol, u16)>,
        last: Option<u16>,
    ) -> net::Result<u16> {
        let wanted = vec![protocol; usize::from(count)];
        let start = last.filter(|l| (low..high).contains(l)).map_or(low, |l| l + 1);
        let mut candidates = (start..=high).chain(low..start);
        while let Some(first) = candidates.next() {
            let Some(end) = first.checked_add(count - 1).filter(|end| *end <= high) else { continue };
            // What the ledger knows is skipped without asking the kernel.
            if let Some(taken) = (first..=end).rev().find(|port| busy.contains(&(protocol, *port))) {
                for _ in first..taken {
                    candidates.next();
                }
                continue;
            }
            if net::find_free_ports(&self.context, &wanted, first..=end, busy, None).await.is_ok() {
                return Ok(first);
            }
        }
        Err(net::Error::PortsExhausted(low, high))
    }

    /// Takes away what `connect` or `isolate` made, whole or half.
    pub(super) async fn remove(&self, job: &Job) -> net::Result<()> {
        match job.mode() {
            NetworkMode::Host | NetworkMode::Awsvpc => return Ok(()),
            NetworkMode::None => {
                self.users.settle().await;
                return self.netns(job.id())?.remove().await;
            }
            NetworkMode::Bridge => self.users.settle().await,
        }
        let (known, table) = {
            let taken = self.taken.lock().await;
            let table = taken.bridge.as_ref().map(|b| b.ports.table.clone());
            (taken.endpoints.get(job.id()).or(job.endpoint.as_ref()).cloned(), table)
        };
        if let (Some(endpoint), Some(table)) = (&known, &table) {
            net::remove_ports(&self.context, table, &port_maps(endpoint)).await?;
        }
        net::remove_endpoint(&self.context, &self.netns(job.id())?, &host_veth(job.id())).await?;
        self.taken.lock().await.endpoints.remove(job.id());
        Ok(())
    }

    /// What the ledger knows is taken and made whole again; everything else of ours but the namespaces in `kept` is removed.
    pub(super) async fn adopt(&self, known: &[Job], kept: HashSet<String>) -> net::Result<()> {
        let bridged: Vec<_> = known
            .iter()
            .filter(|job| job.mode() == NetworkMode::Bridge)
            .filter_map(|job| Some((job, job.endpoint.as_ref()?, job.endpoint.as_ref()?.address?)))
            .collect();
        let isolated = known.iter().filter(|job| job.mode() == NetworkMode::None);
        let ours = bridged.iter().map(|(job, ..)| *job).chain(isolated).map(|job| job.id().to_owned());
        let keep = ours.chain(kept).collect();
        net::sweep(&self.netns_dir, &keep).await?;
        let mut taken = self.taken.lock().await;
        let link = BridgeSpec::standard(self.candidates[0]).bridge;
        let there = net::Netlink::open(&self.context).await?.link(link.as_str()).await?.is_some();
        if bridged.is_empty() && !there {
            return Ok(());
        }
        let bridge = self.bridge(&mut taken).await?;
        for (job, endpoint, _) in &bridged {
            taken.endpoints.insert(job.id().to_owned(), (*endpoint).clone());
        }
        drop(taken);
        let wanted: HashSet<PortMap> = bridged.iter().flat_map(|(_, endpoint, _)| port_maps(endpoint)).collect();
        let mut stale = net::list_ports(&self.context, &bridge.ports.table).await?;
        stale.retain(|map| !wanted.contains(map));
        net::remove_ports(&self.context, &bridge.ports.table, &stale).await?;
        let wanted: Vec<_> = wanted.into_iter().collect();
        net::add_ports(&self.context, &bridge.ports.table, &wanted).await
    }
}

/// Why sockets of gVisor would not feel what the kernel would hold to.
fn not_under_gvisor(name: &str, value: &str) -> Option<String> {
    let number = value.trim().parse::<u64>().ok();
    match (name.replace('/', ".").as_str(), number) {
        ("net.core.somaxconn", Some(most)) if most > GVISOR_BACKLOG => {
            Some(format!("no more than {GVISOR_BACKLOG} connections wait to be accepted"))
        }
        // For the kernel it is the sandbox that binds, by the capabilities of the container.
        ("net.ipv4.ip_unprivileged_port_start", Some(1..)) => Some("each user binds each port".to_owned()),
        _ => None,
    }
}

fn host_veth(id: &str) -> IfName {
    IfName::derive("le", id)
}

fn protocol(mapping: &PortMapping) -> Protocol {
    from_model(mapping.effective_protocol())
}

fn from_model(protocol: model::Protocol) -> Protocol {
    match protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
    }
}

fn binding(mapping: &PortMapping, (first, last): (u16, u16), host: u16) -> NetworkBinding {
    let ranged = matches!(mapping.spec, PortSpec::Range { .. });
    let range = |from: u16| ranged.then(|| format!("{from}-{}", from + (last - first)).into());
    NetworkBinding {
        bind_ip: BIND_IP.into(),
        container_port: first,
        host_port: host,
        protocol: mapping.effective_protocol(),
        container_port_range: range(first),
        host_port_range: range(host),
    }
}

fn in_host_mode(mapping: &PortMapping) -> NetworkBinding {
    match mapping.spec {
        PortSpec::Single { container, .. } => binding(mapping, (container, container), container),
        PortSpec::Range { first, last } => binding(mapping, (first, last), first),
    }
}

/// Every single port of an endpoint's bindings.
fn port_maps(endpoint: &Endpoint) -> Vec<PortMap> {
    let Some(address) = endpoint.address else { return Vec::new() };
    let maps = endpoint.bindings.iter().flat_map(|binding| {
        let count =
            binding.container_port_range.as_deref().and_then(|r| r.split_once('-')).map_or(1, |(first, last)| {
                let number = |text: &str| text.parse::<u16>().unwrap_or(binding.container_port);
                number(last).saturating_sub(number(first)).saturating_add(1)
            });
        (0..count).map(move |offset| PortMap {
            protocol: from_model(binding.protocol),
            host_port: binding.host_port + offset,
            target: SocketAddrV4::new(address, binding.container_port + offset),
        })
    });
    maps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gvisors_sockets_would_not_feel_is_known() {
        for (name, value, felt) in [
            ("net.core.somaxconn", "1024", true),
            ("net.core.somaxconn", "1025", false),
            ("net.core/somaxconn", " 65535", false),
            ("net.ipv4.ip_unprivileged_port_start", "0", true),
            ("net.ipv4.ip_unprivileged_port_start", "1024", false),
            ("net.ipv4.tcp_keepalive_time", "7200", true),
        ] {
            assert_eq!(not_under_gvisor(name, value).is_none(), felt, "{name}={value}");
        }
    }

    #[test]
    fn ranges_are_told_as_ecs_tells_them_and_mapped_port_by_port() {
        let mapping = |spec| PortMapping { spec, protocol: None, name: None, app_protocol: None };
        let range = mapping(PortSpec::Range { first: 100, last: 102 });
        let single = mapping(PortSpec::Single { container: 80, host: None });
        let bindings = vec![binding(&range, (100, 102), 40_000), binding(&single, (80, 80), 32_768)];
        assert_eq!(bindings[0].host_port_range.as_deref(), Some("40000-40002"));
        assert_eq!(bindings[0].container_port_range.as_deref(), Some("100-102"));
        assert_eq!(bindings[1].host_port_range, None);
        let endpoint = Endpoint { address: Some(Ipv4Addr::new(172, 17, 0, 2)), bindings };
        let told: Vec<_> = port_maps(&endpoint).iter().map(|m| format!("{} {}", m.host_port, m.target)).collect();
        let want = ["40000 172.17.0.2:100", "40001 172.17.0.2:101", "40002 172.17.0.2:102", "32768 172.17.0.2:80"];
        assert_eq!(told, want);
    }
}
