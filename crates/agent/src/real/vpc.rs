//! Tasks' network interfaces, and the VPCs that they are in.
//!
//! What the server says of the VPCs ([`Views`]) and which interfaces this machine's tasks have make up what each VPC is to be
//! here; `network::vpc` makes it so, one VPC at a time and only what differs. Whoever wants an interface waits until its VPC
//! is known and the interface stands; what others bring about is done in the background and tried again until it holds.

use crate::{
    node::Failure,
    plan::TaskPlan,
    real::{
        chain,
        doors::{Doors, Open},
        encryption::{self, Encryption},
    },
};
use ::network::{
    self as net, Mac, NetContext, NetnsPath,
    vpc::{self, Group, Peer, Place, Port, Rule, Subnet, Traffic, Vpc, Way, tunnel::PrivateKey},
};
use effects::Effects;
use link::{AssignedInterface, InterfaceView, Networks, Views, VpcFacts, VpcView};
use model::network::{Allowed, Direction, VpcId};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// How long before what could not be made so is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often what stands is looked at: so long at most stays what somebody else flushed or deleted. A look costs two processes of
/// `nft` and some listings for each VPC, which is nothing at this pace.
const LOOK: Duration = Duration::from_secs(5);

/// All VPCs of this machine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Vpcs(Arc<Inner>);

struct Inner {
    context: NetContext,
    netns_dir: PathBuf,
    effects: Effects,
    /// This machine's address, at which others reach it.
    host: Option<Ipv4Addr>,
    wanted: Mutex<Wanted>,
    /// Counts what the server has said.
    heard: watch::Sender<u64>,
    /// What stands, by VPC. Held while a VPC is changed, so that one change follows the other.
    standing: tokio::sync::Mutex<BTreeMap<VpcId, Standing>>,
    /// What answers tasks in their VPCs; set before the server is heard.
    doors: OnceLock<Doors>,
    encryption: Encryption,
}

/// A VPC as it stands.
#[derive(Default)]
struct Standing {
    /// None while how much of it stands is unknown: the next look begins with what is there.
    vpc: Option<Vpc>,
    open: Option<Open>,
}

#[derive(Default)]
struct Wanted {
    /// None until the server has said something in this run.
    views: Option<Views>,
    /// The interfaces of this machine's tasks, by task.
    interfaces: BTreeMap<String, AssignedInterface>,
    /// VPCs that somebody is about to look at already.
    due: BTreeSet<VpcId>,
}

impl Vpcs {
    /// `key` is the one that others encrypt for, where this machine can.
    pub(super) fn new(netns_dir: PathBuf, host: Option<IpAddr>, key: Option<PrivateKey>, effects: Effects) -> Self {
        let host = match host {
            Some(IpAddr::V4(address)) => Some(address),
            Some(IpAddr::V6(_)) | None => None,
        };
        Self(Arc::new(Inner {
            encryption: Encryption::new(NetContext::own(), netns_dir.clone(), key),
            context: NetContext::own(),
            netns_dir,
            effects,
            host,
            wanted: Mutex::default(),
            heard: watch::channel(0).0,
            standing: tokio::sync::Mutex::default(),
            doors: OnceLock::new(),
        }))
    }

    /// Says what answers tasks in their VPCs, and begins to look whether they still stand.
    pub(crate) fn set_doors(&self, doors: Doors) {
        // There is one agent in a process, which does this once.
        if self.0.doors.set(doors).is_ok() {
            let this = self.clone();
            self.0.effects.spawn("look after vpcs", async move {
                while this.0.effects.sleep_unless_stopped(LOOK).await {
                    this.look().await;
                }
            });
        }
    }

    /// The namespace that all containers of a task share.
    pub(super) fn netns(&self, task: &TaskPlan) -> net::Result<NetnsPath> {
        NetnsPath::new(&self.0.netns_dir, task.id())
    }

    /// Names of namespaces that are ours as long as these tasks are there: theirs, and the VPCs' routers.
    pub(super) async fn kept(&self, tasks: &[Arc<TaskPlan>]) -> net::Result<HashSet<String>> {
        let mut kept: HashSet<String> = tasks.iter().map(|task| task.id().to_owned()).collect();
        for key in vpc::list(&self.0.netns_dir).await? {
            kept.extend(VpcId::parse(key).ok().and_then(|id| self.place(&id)).map(|place| place.netns_name()));
        }
        Ok(kept)
    }

    /// Takes over the interfaces of tasks that were here before. What stands stays as it is until the server has spoken.
    pub(super) fn adopt(&self, tasks: &[Arc<TaskPlan>]) {
        let interfaces =
            tasks.iter().filter_map(|task| Some((task.id().to_owned(), task.assignment.interface.clone()?)));
        self.wanted().interfaces.extend(interfaces);
    }

    /// Lays news over what is known, and has it be so.
    pub(super) fn carry(&self, news: Networks) {
        let whole = news.whole;
        let touched = {
            let mut wanted = self.wanted();
            news.lay_over(wanted.views.get_or_insert_default())
        };
        self.0.heard.send_modify(|heard| *heard += 1);
        for id in touched {
            self.settle_aside(id);
        }
        if whole {
            let this = self.clone();
            self.0.effects.spawn("look for vpcs", async move { this.settle_leftovers().await });
        }
    }

    /// What stands from a former run and is not carried any more goes.
    async fn settle_leftovers(&self) {
        match vpc::list(&self.0.netns_dir).await {
            Ok(keys) => keys.into_iter().filter_map(|key| VpcId::parse(key).ok()).for_each(|id| self.settle_aside(id)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a former run's VPCs were not found")
            }
        }
        while let Err(error) = self.settle_encryption().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a former run's device was not taken away; trying again"
            );
            if !self.0.effects.sleep_unless_stopped(AGAIN).await {
                return;
            }
        }
    }

    /// Makes a task's interface: returns when packets can pass.
    pub(super) async fn attach(&self, task: &TaskPlan) -> Result<(), Failure> {
        let fail = |text: &dyn std::fmt::Display| Failure::new("ResourceInitializationError", text);
        let Some(interface) = task.assignment.interface.clone() else {
            return Err(fail(&"the task has no network interface"));
        };
        let id = interface.vpc.clone();
        // It may be there before the VPC is known.
        let mut heard = self.0.heard.subscribe();
        while self.view(&id).is_none() {
            if heard.changed().await.is_err() {
                return Err(fail(&"the agent stops"));
            }
        }
        self.wanted().interfaces.insert(task.id().to_owned(), interface);
        match self.settle_to_the_end(id).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(fail(&format_args!("failed to create the network interface: {}", chain(&error)))),
            None => Err(fail(&"the agent stops")),
        }
    }

    /// Takes a task's interface away.
    pub(super) async fn detach(&self, task: &TaskPlan) -> Result<(), Failure> {
        let Some(interface) = &task.assignment.interface else { return Ok(()) };
        let fail = |error: net::Error| Failure::new("CannotRemoveContainerError", chain(&error));
        self.wanted().interfaces.remove(task.id());
        // A change that began before this makes the namespace still, or counts on it; one that begins now knows nothing of it.
        drop(self.0.standing.lock().await);
        // The pair goes with the namespace; what is left in the VPC goes with the next look at it.
        self.netns(task).map_err(fail)?.remove().await.map_err(fail)?;
        self.settle_aside(interface.vpc.clone());
        Ok(())
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.wanted.lock().expect("nothing here panics while it holds the lock")
    }

    fn view(&self, id: &VpcId) -> Option<()> {
        self.wanted().views.as_ref()?.get(id).map(drop)
    }

    fn place(&self, id: &VpcId) -> Option<Place> {
        let underlay = self.0.host?;
        Some(Place { netns_dir: self.0.netns_dir.clone(), key: id.to_string(), underlay })
    }

    /// Has a VPC be as it is to be, in the background and until it is. Those who ask meanwhile are served by the same look.
    fn settle_aside(&self, id: VpcId) {
        if !self.wanted().due.insert(id.clone()) {
            return;
        }
        let this = self.clone();
        self.0.effects.spawn("settle vpc", async move {
            while let Err(error) = this.settle(&id).await {
                tracing::warn!(vpc = %id, error = &error as &dyn std::error::Error, "a VPC is not as it is to be; trying again");
                if !this.0.effects.sleep_unless_stopped(AGAIN).await {
                    return;
                }
            }
        });
    }

    /// Has what goes to other machines be encrypted for those that the VPCs name, or for none.
    async fn settle_encryption(&self) -> net::Result<()> {
        let peers = self.wanted().views.as_ref().map(encryption::peers);
        match (self.0.host, peers) {
            (Some(host), Some(peers)) => self.0.encryption.settle(host, peers).await,
            // Without an address it carries no VPC; and what stands stays as it is until the server has spoken.
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// Makes good what somebody else flushed or deleted in a VPC.
    async fn look(&self) {
        self.0.encryption.look().await;
        let standing = self.0.standing.lock().await;
        let all: Vec<(VpcId, Vpc)> =
            standing.iter().filter_map(|(id, one)| Some((id.clone(), one.vpc.clone()?))).collect();
        drop(standing);
        for (id, vpc) in all {
            // First without holding up who wants an interface meanwhile: then what is seen can be half of a change.
            if self.stands(&id, &vpc).await {
                continue;
            }
            let mut standing = self.0.standing.lock().await;
            let Some(one) = standing.get_mut(&id).filter(|one| one.vpc.as_ref() == Some(&vpc)) else { continue };
            // One whose task leaves, or that is to change, is about to be settled anyway.
            if self.is_to_be(&id).as_ref() != Some(&vpc) {
                continue;
            }
            if self.stands(&id, &vpc).await {
                continue;
            }
            tracing::warn!(vpc = %id, "somebody else changed this VPC's network on this machine; making it good");
            one.vpc = None;
            if self.place(&id).is_some_and(|place| !vpc::has_router(&place)) {
                // The sockets are in the router that went.
                one.open = None;
            }
            drop(standing);
            self.settle_aside(id);
        }
    }

    /// Whether a VPC is as it was made. Where that cannot be found out, nothing is done about it.
    async fn stands(&self, id: &VpcId, vpc: &Vpc) -> bool {
        let Some(place) = self.place(id) else { return true };
        match vpc::stands(&self.0.context, &place, vpc).await {
            Ok(stands) => stands,
            Err(error) => {
                tracing::warn!(vpc = %id, error = &error as &dyn std::error::Error, "a VPC's network could not be looked at");
                true
            }
        }
    }

    /// Goes on to its end whatever becomes of who asks, with the VPC held: what the kernel was told cannot be untold half-way, and
    /// two changes of one VPC at once would take away from under each other what they make. `None` if the agent ends before.
    async fn settle_to_the_end(&self, id: VpcId) -> Option<net::Result<()>> {
        let (told, outcome) = oneshot::channel();
        let this = self.clone();
        self.0.effects.spawn("settle vpc for a task", async move {
            // Whoever asked may not want to know any more.
            let _ = told.send(this.settle(&id).await);
        });
        outcome.await.ok()
    }

    async fn settle(&self, id: &VpcId) -> net::Result<()> {
        let mut standing = self.0.standing.lock().await;
        let Some(place) = self.place(id) else { return Err(no_address()) };
        let wanted = {
            let mut wanted = self.wanted();
            wanted.due.remove(id);
            let Some(views) = &wanted.views else { return Ok(()) };
            views.get(id).map(|view| (self.build(id, view, &wanted.interfaces), view.clone()))
        };
        let Some((wanted, view)) = wanted else {
            // Sockets in it would keep the router alive.
            standing.remove(id);
            vpc::remove(&self.0.context, &place).await?;
            return self.settle_encryption().await;
        };
        self.settle_encryption().await?;
        let one = standing.entry(id.clone()).or_default();
        if one.vpc.as_ref() != Some(&wanted) {
            let known = one.vpc.take();
            vpc::ensure(&self.0.context, &place, known.as_ref(), &wanted).await?;
            one.vpc = Some(wanted);
        }
        match self.0.doors.get() {
            Some(doors) => doors.ensure(&mut one.open, &vpc::router(&place), id, &view).await,
            None => Ok(()),
        }
    }

    /// What a VPC is to be here by what is known now.
    fn is_to_be(&self, id: &VpcId) -> Option<Vpc> {
        let wanted = self.wanted();
        Some(self.build(id, wanted.views.as_ref()?.get(id)?, &wanted.interfaces))
    }

    fn build(&self, id: &VpcId, view: &VpcView, interfaces: &BTreeMap<String, AssignedInterface>) -> Vpc {
        let VpcFacts { vni, ref cidrs, encrypted, .. } = *view.facts;
        let mut built = Vpc { vni, cidrs: cidrs.clone(), encrypted, ..Vpc::default() };
        for (subnet, known) in &view.facts.subnets {
            let routes = known.routes.iter().map(|(to, way)| (*to, self.way(*way, &mut built.nat_here))).collect();
            built.subnets.insert(subnet.to_string(), Subnet { cidr: known.cidr, routes });
        }
        let here = interfaces.iter().filter(|(_, interface)| interface.vpc == *id);
        let mut own = BTreeSet::new();
        for (task, interface) in here {
            // One that the server does not show any more is on its way out: it passes nothing.
            let Some(known) = view.interfaces.get(&interface.id) else { continue };
            own.insert(interface.address);
            built.ports.insert(interface.id.to_string(), port(self.0.netns_dir.join(task), interface, known));
        }
        for other in
            view.interfaces.values().filter(|other| !own.contains(&other.address) && Some(other.host) != self.0.host)
        {
            built.remote.insert(other.address, other.host);
        }
        for (group, rules) in &view.facts.groups {
            if built.ports.values().any(|port| port.groups.contains(group.as_str())) {
                built.groups.insert(group.to_string(), compile(rules));
            }
        }
        for alias in view.aliases.iter().flat_map(|all| all.values()).flat_map(|names| names.values()) {
            let ports = alias.ports.iter().map(|(port, all)| ((alias.address, *port), all.clone()));
            built.aliases.extend(ports);
        }
        let named: BTreeSet<String> = built.groups.values().flat_map(named).collect();
        for group in named {
            let members = view.interfaces.values().filter(|one| one.groups.iter().any(|id| id.as_str() == group));
            let members = members.map(|one| one.address).collect();
            built.members.insert(group, members);
        }
        built
    }

    /// Where a route leads, seen from here; a NAT gateway whose place this is, is noted.
    fn way(&self, way: link::Way, nat_here: &mut BTreeMap<Ipv4Addr, Option<Ipv4Addr>>) -> Way {
        match way {
            link::Way::Nowhere => Way::Nowhere,
            link::Way::Internet => Way::Internet,
            link::Way::Nat { home: None, .. } => Way::Nowhere,
            link::Way::Nat { gateway, public, home: Some(home) } if Some(home) == self.0.host => {
                nat_here.insert(gateway, public);
                Way::Nat { gateway, home: None }
            }
            link::Way::Nat { gateway, home: Some(home), .. } => Way::Nat { gateway, home: Some(home) },
        }
    }
}

/// Only instances that can be reached are given tasks with interfaces.
fn no_address() -> net::Error {
    net::Error::NoSuchLink("this instance's own IPv4 address".to_owned())
}

fn port(netns: PathBuf, interface: &AssignedInterface, known: &InterfaceView) -> Port {
    Port {
        netns,
        address: interface.address,
        mac: mac(&interface.mac).unwrap_or_else(|| Mac::for_ipv4(interface.address)),
        subnet: known.subnet.to_string(),
        groups: known.groups.iter().map(ToString::to_string).collect(),
        source_dest_check: true,
        public: known.public,
        connected: known.connect.is_some(),
    }
}

fn mac(text: &str) -> Option<Mac> {
    let mut parts = text.split(':').map(|part| u8::from_str_radix(part, 16).ok());
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        *byte = parts.next()??;
    }
    parts.next().is_none().then_some(Mac(bytes))
}

fn compile(rules: &[Allowed]) -> Group {
    let mut group = Group::default();
    for allowed in rules {
        let traffic = match allowed.traffic {
            model::network::Traffic::All => Traffic::All,
            model::network::Traffic::Tcp(from, to) => Traffic::Tcp(from, to),
            model::network::Traffic::Udp(from, to) => Traffic::Udp(from, to),
            model::network::Traffic::Icmp(kind, code) => Traffic::Icmp(kind, code),
            model::network::Traffic::Other(number) => Traffic::Other(number),
            // There are no IPv6 packets here that it could let pass.
            model::network::Traffic::Icmpv6(..) => continue,
        };
        let peer = match &allowed.peer {
            model::network::Peer::V4(net) => Peer::Net(*net),
            model::network::Peer::Group(id) => Peer::Group(id.to_string()),
            model::network::Peer::V6(_) => continue,
        };
        let rules = match allowed.direction {
            Direction::Ingress => &mut group.ingress,
            Direction::Egress => &mut group.egress,
        };
        rules.push(Rule { traffic, peer });
    }
    group
}

/// The groups that a group's rules name.
fn named(group: &Group) -> impl Iterator<Item = String> + '_ {
    group.ingress.iter().chain(&group.egress).filter_map(|rule| match &rule.peer {
        Peer::Group(id) => Some(id.clone()),
        Peer::Net(_) => None,
    })
}
