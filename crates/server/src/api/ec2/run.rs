//! RunInstances: records local instances; the host's loop makes them.

use super::{default_vpc, instances, invalid, network, user_data};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{Machine, MachineState, Tags, instance_type, vpc::Subnet};
use shapes::ec2 as aws;
use state::{Command, CommitError, Outcome, Rejected, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Local instances of one call: more than any one host holds, and few enough for one command.
const MAX_LAUNCH: usize = 100;
/// How often addresses are chosen anew when another call took one of them.
const TRIES: usize = 8;
/// The type of a request that names none. AWS's is m1.small, which is no longer to be had.
const DEFAULT_TYPE: &str = "t3.micro";
/// The image of a request that names none. Every local instance runs on the host's own system.
const DEFAULT_IMAGE: &str = "ami-0ec50000000000000";
/// EC2's own addresses at a subnet's beginning: network, router, name server and one for the future.
const FIRST_FREE: u32 = 4;

/// A request, parsed.
struct Launch {
    count: usize,
    /// Its subnets are taken in turn, the emptiest first.
    subnets: Vec<Subnet>,
    /// What all of its instances have in common; id, place and address are still to be chosen.
    like: Machine,
}

pub(super) async fn run(
    ctx: &Context,
    caller: &Caller,
    request: aws::RunInstancesRequest,
) -> Result<aws::Reservation, ApiError> {
    if !ctx.config.local_instances {
        let text = "This server makes no local instances. Start it with `longshore dev`, or with `--local-instances`, or \
                    attach machines with `longshore agent`.";
        return Err(ApiError::new("UnsupportedOperation", text));
    }
    let launch = Launch::parse(ctx, caller, request)?;
    for _ in 0..TRIES {
        let machines = launch.machines(ctx, &ctx.store.snapshot())?;
        match ctx.store.commit(Command::RunMachines { machines }).await {
            Ok(committed) => {
                let Outcome::Machines { machines, replayed } = committed.outcome else {
                    return Err(ApiError::server("RunMachines answered with something else than machines"));
                };
                if replayed && machines.iter().any(|machine| machine.instance_type != launch.like.instance_type) {
                    let text = "Arguments on this idempotent request are inconsistent with arguments used in previous \
                                request(s).";
                    return Err(ApiError::new("IdempotentParameterMismatch", text));
                }
                let vpc = default_vpc(ctx, caller);
                let reservation = instances::reservations(&vpc, machines.iter().map(|machine| &**machine)).pop();
                return reservation.ok_or_else(|| ApiError::server("RunMachines answered with no machine"));
            }
            Err(CommitError::Rejected(Rejected::AddressTaken(_) | Rejected::MachineExists(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::new("RequestLimitExceeded", "Too many launches at the same time; try again.").with_status(503))
}

impl Launch {
    fn parse(ctx: &Context, caller: &Caller, request: aws::RunInstancesRequest) -> Result<Self, ApiError> {
        let count = count(request.min_count, request.max_count)?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let instance_type = set(request.instance_type).unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        if instance_type::find(&instance_type).is_none() {
            return Err(invalid(format!("Invalid value '{instance_type}' for InstanceType.")));
        }
        let vpc = default_vpc(ctx, caller);
        if let Some(id) = request.security_group_ids.iter().flatten().find(|id| **id != vpc.security_group_id) {
            return Err(network::unknown_group(id));
        }
        if let Some(name) = request.security_groups.iter().flatten().find(|name| *name != "default") {
            return Err(network::unknown_group(name));
        }
        let zone = set(request.placement.and_then(|placement| placement.availability_zone));
        let subnets = subnets(vpc.subnets, set(request.subnet_id), zone)?;
        let data = user_data::decode(request.user_data.as_deref())?;
        let hex = ctx.effects.hex32();
        let now = ctx.effects.now();
        let like = Machine {
            scope: caller.scope.clone(),
            id: String::new(),
            reservation_id: format!("r-{}", &hex[..17]),
            instance_type,
            availability_zone: String::new(),
            subnet_id: String::new(),
            private_ip: Ipv4Addr::UNSPECIFIED,
            cluster: data.cluster,
            attributes: data.attributes,
            reserved_memory: data.reserved_memory,
            state: MachineState::Pending,
            state_reason: None,
            state_changed_at: now,
            image_id: set(request.image_id).unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
            key_name: set(request.key_name),
            launched_at: now,
            client_token: set(request.client_token),
            launch_index: 0,
            tags: tags(request.tag_specifications.unwrap_or_default())?,
        };
        Ok(Self { count, subnets, like })
    }

    /// The machines, each with a place and an address that are free in `snapshot`.
    fn machines(&self, ctx: &Context, snapshot: &Snapshot) -> Result<Vec<Machine>, ApiError> {
        let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
        for subnet in &self.subnets {
            let here = snapshot.machines(&self.like.scope, None);
            let here = here.filter(|m| m.subnet_id == subnet.id && m.state != MachineState::Terminated);
            in_zone.insert(&subnet.id, here.count());
        }
        let mut taken = BTreeSet::new();
        let mut machines = Vec::with_capacity(self.count);
        for index in 0..self.count {
            // Of equally empty subnets the first one: the zones fill in their order.
            let subnet = self.subnets.iter().min_by_key(|subnet| in_zone[subnet.id.as_str()]);
            let subnet = subnet.ok_or_else(|| ApiError::server("a VPC without subnets"))?;
            let address = free_address(snapshot, subnet, &taken).ok_or_else(|| {
                let text = format!("Not enough free addresses in subnet '{}'", subnet.id);
                ApiError::new("InsufficientFreeAddressesInSubnet", text)
            })?;
            taken.insert(address);
            in_zone.entry(&subnet.id).and_modify(|machines| *machines += 1);
            let hex = ctx.effects.hex32();
            machines.push(Machine {
                id: format!("i-{}", &hex[..17]),
                availability_zone: subnet.availability_zone.clone(),
                subnet_id: subnet.id.clone(),
                private_ip: address,
                launch_index: u32::try_from(index).unwrap_or(u32::MAX),
                ..self.like.clone()
            });
        }
        Ok(machines)
    }
}

/// How many to make: as many as may be, since nothing here runs out half-way.
fn count(min: Option<i32>, max: Option<i32>) -> Result<usize, ApiError> {
    let (min, max) = (min.unwrap_or(1), max.unwrap_or(1));
    if min < 1 || max < min {
        return Err(invalid(format!(
            "Invalid value '{max}' for MaxCount: it must be at least MinCount, and that at least 1."
        )));
    }
    let count = usize::try_from(max).ok().filter(|count| *count <= MAX_LAUNCH);
    count.ok_or_else(|| {
        let text = format!("You have requested more instances ({max}) than one call may launch ({MAX_LAUNCH}).");
        ApiError::new("InstanceLimitExceeded", text)
    })
}

fn subnets(all: Vec<Subnet>, id: Option<String>, zone: Option<String>) -> Result<Vec<Subnet>, ApiError> {
    let all: Vec<Subnet> = match id {
        None => all,
        Some(id) => {
            let one: Vec<_> = all.into_iter().filter(|subnet| subnet.id == id).collect();
            if one.is_empty() {
                return Err(network::unknown_subnet(&id));
            }
            one
        }
    };
    let Some(zone) = zone else { return Ok(all) };
    let one: Vec<_> = all.into_iter().filter(|subnet| subnet.availability_zone == zone).collect();
    if one.is_empty() { Err(invalid(format!("Invalid availability zone: [{zone}]"))) } else { Ok(one) }
}

fn tags(specifications: Vec<aws::TagSpecification>) -> Result<Tags, ApiError> {
    let mut tags = Vec::new();
    for specification in specifications {
        match specification.resource_type.as_deref() {
            Some("instance") => tags.extend(specification.tags.unwrap_or_default()),
            // A local instance's disk is no volume of its own, and it has one interface: their tags would be nobody's.
            Some("volume" | "network-interface") => {}
            other => {
                let other = other.unwrap_or_default();
                return Err(invalid(format!("'{other}' is not a valid taggable resource type for this operation.")));
            }
        }
    }
    let pairs = tags.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    Tags::parse(pairs).map_err(|error| invalid(error.to_string()))
}

fn free_address(snapshot: &Snapshot, subnet: &Subnet, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let first = u32::from(subnet.cidr.network()).saturating_add(FIRST_FREE);
    let mut all = (first..u32::from(subnet.cidr.broadcast())).map(Ipv4Addr::from);
    all.find(|address| snapshot.machine_at(*address).is_none() && !taken.contains(address))
}
