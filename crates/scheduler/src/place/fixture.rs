//! Instances for tests, with what is derived from their tasks kept by the plain rules of `model`.

use super::{Constraint, InstanceView, PlacementRequest, Strategy};
use model::{
    AccountId, AgentInfo, Attribute, ClusterArn, ClusterName, ContainerInstance, ContainerInstanceArn,
    ContainerInstanceId, CpuUnits, InstanceStatus, MemoryMib, Region, Reservation, Resources, Scope, Tags, Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const GROUP: &str = "service:web";

/// An instance that the test owns.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) instance: ContainerInstance,
    pub(super) remaining: Resources,
    pub(super) groups: BTreeMap<Arc<str>, u32>,
    pub(super) pending: u32,
}

/// An ACTIVE, connected, empty t3.medium.
pub(super) fn row(number: usize) -> Row {
    let scope =
        Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() };
    let registered = Resources { cpu: CpuUnits(2048), memory: MemoryMib(4096), ..Resources::default() };
    let instance = ContainerInstance {
        arn: ContainerInstanceArn {
            cluster: ClusterArn { scope, name: ClusterName::parse("default").unwrap() },
            id: ContainerInstanceId::parse(format!("{number:032x}")).unwrap(),
        },
        status: InstanceStatus::Active,
        version: 1,
        ec2_instance_id: Some(format!("i-{number:017x}")),
        registered: registered.clone(),
        attributes: [("ecs.instance-type".to_owned(), Some("t3.medium".to_owned()))].into(),
        agent: AgentInfo { version: "1.82.0".into(), ..AgentInfo::default() },
        agent_connected: true,
        agent_changed_at: Timestamp(0),
        address: None,
        wireguard: None,
        registered_at: Timestamp(0),
        reclaimed_at: None,
        tags: Tags::default(),
    };
    Row { instance, remaining: registered, groups: BTreeMap::new(), pending: 0 }
}

impl Row {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.instance.attributes.insert(name.into(), Some(value.into()));
        self
    }
    pub(super) fn left(mut self, cpu: u32, memory: u32) -> Self {
        self.remaining.cpu = CpuUnits(cpu);
        self.remaining.memory = MemoryMib(memory);
        self
    }
    pub(super) fn hosting(mut self, group: &str, tasks: u32) -> Self {
        self.groups.insert(group.into(), tasks);
        self
    }
    pub(super) fn view(&self) -> InstanceView<'_> {
        InstanceView {
            instance: &self.instance,
            remaining: &self.remaining,
            running_tasks: self.groups.values().sum::<u32>() - self.pending,
            groups: &self.groups,
            zone: self.instance.availability_zone(),
            price_micro_usd_hour: self
                .instance
                .attribute("ecs.instance-type")
                .and_then(model::instance_type::find)
                .map_or(0, |kind| kind.price_micro_usd_hour),
        }
    }
    /// One more task of [`GROUP`] is here, and does not run yet.
    pub(super) fn accept_pending(&mut self, reservation: &Reservation) {
        self.remaining.take(reservation);
        self.pending += 1;
        *self.groups.entry(GROUP.into()).or_default() += 1;
    }
}

pub(super) fn reservation(cpu: u32, memory: u32) -> Reservation {
    Reservation { cpu: CpuUnits(cpu), memory: MemoryMib(memory), ..Reservation::default() }
}

/// A request that owns its parts.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) count: usize,
    pub(super) reservation: Reservation,
    pub(super) required: Vec<Attribute>,
    pub(super) zones: Vec<Arc<str>>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) strategy: Vec<Strategy>,
}

pub(super) fn wanted(count: usize) -> Wanted {
    Wanted {
        count,
        reservation: reservation(128, 256),
        required: vec![],
        zones: vec![],
        constraints: vec![],
        strategy: vec![],
    }
}

impl Wanted {
    /// Strategies as `type field`, field optional.
    pub(super) fn by(mut self, strategies: &[&str]) -> Self {
        self.strategy = strategies
            .iter()
            .map(|text| match text.split_once(' ') {
                Some((kind, field)) => Strategy::parse(kind, Some(field)).unwrap(),
                None => Strategy::parse(text, None).unwrap(),
            })
            .collect();
        self
    }
    pub(super) fn member_of(mut self, expression: &str) -> Self {
        self.constraints.push(Constraint::parse("memberOf", Some(expression)).unwrap());
        self
    }
    pub(super) fn distinct(mut self) -> Self {
        self.constraints.push(Constraint::DistinctInstance);
        self
    }
    pub(super) fn request(&self) -> PlacementRequest<'_> {
        PlacementRequest {
            count: self.count,
            reservation: &self.reservation,
            required_attributes: &self.required,
            zones: &self.zones,
            constraints: &self.constraints,
            strategy: &self.strategy,
            group: GROUP,
        }
    }
}

pub(super) fn place(rows: &[Row], wanted: &Wanted, seed: u64) -> super::Plan {
    let views: Vec<_> = rows.iter().map(Row::view).collect();
    super::place(&views, &wanted.request(), seed)
}
