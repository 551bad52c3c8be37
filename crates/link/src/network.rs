//! What an instance is told of the VPCs that it carries: whole at first, then what differs.
//!
//! Both sides keep [`Views`]; the server sends the difference between what it sent last and what holds now, and the agent
//! lays it over what it has. An interface of a VPC with a thousand others costs a message about one.

use ipnet::Ipv4Net;
use model::WireguardKey;
use model::discovery::NamespaceId;
use model::network::{Allowed, InterfaceId, SecurityGroupId, SubnetId, VpcId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

/// The VPCs that an instance carries: those its tasks are in, and those whose NAT gateway has its place there.
pub type Views = BTreeMap<VpcId, VpcView>;

/// A VPC as every instance that carries it knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VpcView {
    /// All but its interfaces.
    pub facts: Arc<VpcFacts>,
    /// The interfaces of tasks, wherever they are.
    pub interfaces: BTreeMap<InterfaceId, InterfaceView>,
    /// What its resolver answers besides the names of addresses.
    pub names: Arc<Names>,
    /// What the instance's tasks know by Service Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Arc<Aliases>>,
    /// The public keys of the other instances that carry it; none where it is not encrypted.
    #[serde(default, skip_serializing_if = "no_keys")]
    pub keys: Arc<Keys>,
}

/// Instances' public keys of WireGuard, by the addresses at which others reach them.
pub type Keys = BTreeMap<Ipv4Addr, WireguardKey>;

fn no_keys(keys: &Keys) -> bool {
    keys.is_empty()
}

/// The names of Service Connect, by namespace: those whose names any task of the instance knows.
pub type Aliases = BTreeMap<NamespaceId, BTreeMap<String, AliasView>>;

/// What is behind one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasView {
    /// The address that the name has for clients, nobody's own.
    pub address: Ipv4Addr,
    /// By port, who answers: addresses and ports of tasks.
    pub ports: BTreeMap<u16, BTreeSet<(Ipv4Addr, u16)>>,
}

/// The private namespaces that are a VPC's, and the names in them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// What each namespace is called, and for how many seconds it may be kept that a name is not in it.
    pub zones: BTreeMap<String, u32>,
    /// The names that there are, in small letters and without a dot at the end.
    pub names: BTreeMap<String, NameView>,
}

/// What there is of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NameView {
    /// Seconds for which an answer may be kept.
    pub ttl: u32,
    /// Values of one answer; all of them stand here.
    pub most: u16,
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub a: Vec<Ipv4Addr>,
    /// Ports, and the names of the addresses they are at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub srv: Vec<SrvView>,
}

/// A port, and the name of the address it is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // As in RFC 2782.
pub struct SrvView {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// What is said of a VPC as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VpcFacts {
    /// Its number on the wire between instances, no other VPC's.
    pub vni: u32,
    /// Its addresses.
    pub cidrs: Vec<Ipv4Net>,
    /// Its region, which is part of its instances' names.
    pub region: String,
    /// Whether its resolver answers.
    pub dns_support: bool,
    /// Whether what instances send each other of it is encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Its subnets, each with its routes.
    pub subnets: BTreeMap<SubnetId, SubnetView>,
    /// Its security groups.
    pub groups: BTreeMap<SecurityGroupId, Vec<Allowed>>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetView {
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Where what leaves the VPC goes.
    pub routes: Vec<(Ipv4Net, Way)>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// To something that is gone.
    Nowhere,
    /// To the internet, for who has a public address.
    Internet,
    /// To a NAT gateway.
    Nat {
        /// Its address in the VPC.
        gateway: Ipv4Addr,
        /// Its public address, if it has one.
        public: Option<Ipv4Addr>,
        /// The address of the instance that it has its place on; none while no instance can be that.
        home: Option<Ipv4Addr>,
    },
}

/// A task's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its address.
    pub address: Ipv4Addr,
    /// The address of the instance that it is on.
    pub host: Ipv4Addr,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its security groups.
    pub groups: Vec<SecurityGroupId>,
    /// Its public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Ipv4Addr>,
    /// Whose names its task knows by Service Connect; told to its own instance alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<NamespaceId>,
}

/// What has become different.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Networks {
    /// The first of a session: what was known before counts no more.
    pub whole: bool,
    /// VPCs that are new or have changed.
    pub changed: BTreeMap<VpcId, VpcNews>,
    /// VPCs that the instance carries no more.
    pub gone: BTreeSet<VpcId>,
}

/// What of a VPC is different.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VpcNews {
    /// All but its interfaces, if anything of that is different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Arc<VpcFacts>>,
    /// Interfaces that are new or have changed.
    #[serde(default)]
    pub put: BTreeMap<InterfaceId, InterfaceView>,
    /// Interfaces that are no more.
    #[serde(default)]
    pub gone: BTreeSet<InterfaceId>,
    /// All names, if any of them is different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Arc<Names>>,
    /// All names of Service Connect, if anything of them is different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Arc<Aliases>>,
    /// All keys, if any of them is different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Arc<Keys>>,
}

impl Networks {
    /// What makes `now` of `before`; `None` if nothing is different. Without `before` it is the whole, even of nothing.
    pub fn between(before: Option<&Views>, now: &Views) -> Option<Self> {
        let mut news = Self { whole: before.is_none(), ..Self::default() };
        let nothing = Views::new();
        let known = before.unwrap_or(&nothing);
        news.gone = known.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        for (id, view) in now {
            let of_vpc = known.get(id).map_or_else(|| VpcNews::of(view), |known| VpcNews::between(known, view));
            if of_vpc != VpcNews::default() {
                news.changed.insert(id.clone(), of_vpc);
            }
        }
        (news.whole || !news.changed.is_empty() || !news.gone.is_empty()).then_some(news)
    }

    /// Lays it over what is known; the VPCs that it says anything of.
    pub fn lay_over(self, known: &mut Views) -> BTreeSet<VpcId> {
        let mut touched = self.gone;
        if self.whole {
            touched.extend(known.keys().cloned());
            known.clear();
        }
        for id in &touched {
            known.remove(id);
        }
        for (id, news) in self.changed {
            let view = known.entry(id.clone()).or_default();
            view.facts = news.facts.unwrap_or_else(|| view.facts.clone());
            view.names = news.names.unwrap_or_else(|| view.names.clone());
            view.aliases =
                news.aliases.map_or_else(|| view.aliases.clone(), |all| Some(all).filter(|all| !all.is_empty()));
            view.keys = news.keys.unwrap_or_else(|| view.keys.clone());
            view.interfaces.retain(|id, _| !news.gone.contains(id));
            view.interfaces.extend(news.put);
            touched.insert(id);
        }
        touched
    }
}

impl VpcNews {
    fn of(view: &VpcView) -> Self {
        let names = (*view.names != Names::default()).then(|| view.names.clone());
        Self {
            facts: Some(view.facts.clone()),
            put: view.interfaces.clone(),
            gone: BTreeSet::new(),
            names,
            aliases: view.aliases.clone(),
            keys: (!view.keys.is_empty()).then(|| view.keys.clone()),
        }
    }

    fn between(known: &VpcView, now: &VpcView) -> Self {
        let put = now.interfaces.iter().filter(|(id, interface)| known.interfaces.get(*id) != Some(*interface));
        let gone = known.interfaces.keys().filter(|id| !now.interfaces.contains_key(*id));
        Self {
            facts: (known.facts != now.facts).then(|| now.facts.clone()),
            put: put.map(|(id, interface)| (id.clone(), interface.clone())).collect(),
            gone: gone.cloned().collect(),
            names: (known.names != now.names).then(|| now.names.clone()),
            // None at all are told as an empty list, since nothing said means that they are as they were.
            aliases: (known.aliases != now.aliases).then(|| now.aliases.clone().unwrap_or_default()),
            keys: (known.keys != now.keys).then(|| now.keys.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn views() -> impl Strategy<Value = Views> {
        let interface = (0u8..4, 0u8..3).prop_map(|(last, host)| InterfaceView {
            address: Ipv4Addr::new(10, 0, 0, last),
            host: Ipv4Addr::new(172, 31, 0, host),
            subnet: SubnetId::of(1),
            groups: vec![SecurityGroupId::of(1)],
            public: None,
            connect: (host == 1).then(|| NamespaceId::of(1)),
        });
        let interfaces = proptest::collection::btree_map((0u128..5).prop_map(InterfaceId::of), interface, 0..5);
        let zone = |ttl: u32| Names { zones: [("internal".to_owned(), ttl)].into(), ..Names::default() };
        let names = proptest::option::of((1u32..3).prop_map(zone));
        let alias = |last: u8| {
            let ports = [(80, [(Ipv4Addr::new(10, 0, 0, last), 8080)].into())].into();
            let view = AliasView { address: Ipv4Addr::new(169, 254, 64, 1), ports };
            Arc::new(Aliases::from([(NamespaceId::of(1), [("web".to_owned(), view)].into())]))
        };
        let aliases = proptest::option::of((0u8..2).prop_map(alias));
        let key = |last: u8| {
            let key = WireguardKey::parse(&format!("{last}{}=", "A".repeat(42))).expect("a key");
            Arc::new(Keys::from([(Ipv4Addr::new(172, 31, 0, last), key)]))
        };
        let keys = proptest::option::of((0u8..2).prop_map(key));
        let view =
            (0u32..3, interfaces, names, aliases, keys).prop_map(|(vni, interfaces, names, aliases, keys)| VpcView {
                facts: Arc::new(VpcFacts { vni, ..VpcFacts::default() }),
                interfaces,
                names: Arc::new(names.unwrap_or_default()),
                aliases,
                keys: keys.unwrap_or_default(),
            });
        proptest::collection::btree_map((0u128..3).prop_map(VpcId::of), view, 0..3)
    }

    proptest! {
        #[test]
        fn what_differs_makes_the_one_of_the_other(before in proptest::option::of(views()), now in views()) {
            let mut known = before.clone().unwrap_or_default();
            match Networks::between(before.as_ref(), &now) {
                None => prop_assert_eq!(before, Some(now)),
                Some(news) => {
                    // What an agent knows from an earlier session is not what this server has sent.
                    if before.is_none() {
                        known.insert(VpcId::of(77), VpcView::default());
                    }
                    let text = serde_json::to_string(&news).unwrap();
                    serde_json::from_str::<Networks>(&text).unwrap().lay_over(&mut known);
                    prop_assert_eq!(known, now);
                }
            }
        }
    }
}
