//! RunInstances: records local instances; the host's loop makes them.

use super::{
    default_vpc, instances, invalid,
    network::{self, not_honoured},
    tags, user_data,
};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{
    Machine, MachineProfile, MachineState, MetadataOptions, Scope, Tags, instance_type,
    network::{Network, Refusal, SecurityGroupId, Subnet, SubnetId, cidr},
};
use shapes::ec2 as aws;
use state::{Command, CommitError, Outcome, Rejected, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

/// Local instances of one call: more than any one host holds, and few enough for one command.
pub(crate) const MAX_LAUNCH: usize = 100;
/// Source: `InstanceMetadataOptionsRequest$HttpPutResponseHopLimit`.
const MOST_HOPS: u8 = 64;
/// How often addresses are chosen anew when another call took one of them.
const TRIES: usize = 8;
/// The type of a request that names none. AWS's is m1.small, which is no longer to be had.
pub(crate) const DEFAULT_TYPE: &str = "t3.micro";
/// The image of a request that names none. Every local instance runs on the host's own system.
const DEFAULT_IMAGE: &str = "ami-0ec50000000000000";

/// A request, parsed.
pub(super) struct Launch {
    count: usize,
    /// Its subnets are taken in turn, the emptiest first.
    subnets: Vec<Arc<Subnet>>,
    /// What all of its instances have in common; id, place and address are still to be chosen.
    pub(super) like: Machine,
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
    for _ in 0..TRIES {
        // What it names and where it goes are one decision: a subnet or a profile may have gone since the last try.
        let snapshot = ctx.store.snapshot();
        let all = network::seen(ctx, caller, &snapshot);
        let launch = Launch::parse(ctx, &caller.scope, &snapshot, &all, request.clone())?;
        let machines = launch.machines(ctx, &snapshot, &all)?;
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
    pub(super) fn parse(
        ctx: &Context,
        scope: &Scope,
        snapshot: &Snapshot,
        all: &Network,
        request: aws::RunInstancesRequest,
    ) -> Result<Self, ApiError> {
        let count = count(request.min_count, request.max_count)?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let instance_type = set(request.instance_type).unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        if instance_type::find(&instance_type).is_none() {
            return Err(invalid(format!("Invalid value '{instance_type}' for InstanceType.")));
        }
        check_groups(all, request.security_group_ids.as_deref(), request.security_groups.as_deref())?;
        let zone = set(request.placement.and_then(|placement| placement.availability_zone));
        let subnets = subnets(all, ctx.config.vpc_cidr, set(request.subnet_id), zone)?;
        let instance_profile =
            request.iam_instance_profile.map(|given| profile(snapshot, scope, given)).transpose()?.flatten();
        let data = user_data::decode(request.user_data.as_deref())?;
        let hex = ctx.effects.hex32();
        let now = ctx.effects.now();
        let like = Machine {
            scope: scope.clone(),
            id: String::new(),
            reservation_id: format!("r-{}", &hex[..17]),
            instance_type,
            availability_zone: String::new(),
            subnet_id: String::new(),
            private_ip: Ipv4Addr::UNSPECIFIED,
            cluster: data.cluster,
            attributes: data.attributes,
            reserved_memory: data.reserved_memory,
            user_data: set(request.user_data),
            metadata_options: metadata_options(request.metadata_options.unwrap_or_default())?,
            instance_profile,
            state: MachineState::Pending,
            state_reason: None,
            state_changed_at: now,
            runs: Vec::new(),
            image_id: set(request.image_id).unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
            key_name: set(request.key_name),
            launched_at: now,
            client_token: set(request.client_token),
            launch_index: 0,
            group: None,
            tags: own_tags(request.tag_specifications.unwrap_or_default())?,
        };
        Ok(Self { count, subnets, like })
    }

    /// The machines, each with a place and an address that are free in `snapshot`.
    pub(super) fn machines(&self, ctx: &Context, snapshot: &Snapshot, all: &Network) -> Result<Vec<Machine>, ApiError> {
        let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
        for subnet in &self.subnets {
            let here = snapshot.machines(&self.like.scope, None);
            let here = here.filter(|m| m.subnet_id == subnet.id.as_str() && m.state != MachineState::Terminated);
            in_zone.insert(subnet.id.as_str(), here.count());
        }
        let mut taken = BTreeSet::new();
        let mut machines = Vec::with_capacity(self.count);
        for index in 0..self.count {
            // Of equally empty subnets the first one.
            let subnet = self.subnets.iter().min_by_key(|subnet| in_zone[subnet.id.as_str()]);
            let subnet = subnet.ok_or_else(|| ApiError::server("a VPC without subnets"))?;
            let address = free_address(snapshot, all, subnet, &taken).ok_or_else(|| {
                let text = format!("Not enough free addresses in subnet '{}'", subnet.id);
                ApiError::new("InsufficientFreeAddressesInSubnet", text)
            })?;
            taken.insert(address);
            in_zone.entry(subnet.id.as_str()).and_modify(|machines| *machines += 1);
            let hex = ctx.effects.hex32();
            machines.push(Machine {
                id: format!("i-{}", &hex[..17]),
                availability_zone: subnet.availability_zone.clone(),
                subnet_id: subnet.id.to_string(),
                private_ip: address,
                launch_index: u32::try_from(index).unwrap_or(u32::MAX),
                ..self.like.clone()
            });
        }
        Ok(machines)
    }
}

/// The instance profile that is named. Source of the words: EC2's users.
fn profile(
    snapshot: &Snapshot,
    scope: &Scope,
    given: aws::IamInstanceProfileSpecification,
) -> Result<Option<MachineProfile>, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (member, value) = match (set(given.name), set(given.arn)) {
        (None, None) => return Ok(None),
        (Some(name), None) => ("name", name),
        (None, Some(arn)) => ("arn", arn),
        (Some(_), Some(_)) => {
            let text =
                "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'";
            return Err(ApiError::new("InvalidParameterCombination", text));
        }
    };
    let directory = snapshot.directory(&scope.account);
    let found = directory.and_then(|directory| match member {
        "name" => directory.profile(&value),
        _ => directory.profile_by_arn(&value),
    });
    let Some(found) = found else {
        let what = if member == "name" { "name" } else { "ARN" };
        return Err(invalid(format!(
            "Value ({value}) for parameter iamInstanceProfile.{member} is invalid. Invalid IAM Instance Profile {what}"
        )));
    };
    Ok(Some(MachineProfile { arn: found.arn(), id: found.id.clone() }))
}

/// Who may ask the instances for their metadata.
fn metadata_options(given: aws::InstanceMetadataOptionsRequest) -> Result<MetadataOptions, ApiError> {
    let own = MetadataOptions::default();
    let hops = given.http_put_response_hop_limit.unwrap_or_else(|| own.hop_limit.into());
    let hop_limit = u8::try_from(hops).ok().filter(|hops| (1..=MOST_HOPS).contains(hops));
    let hop_limit = hop_limit.ok_or_else(|| {
        invalid(format!("Invalid value '{hops}' for HttpPutResponseHopLimit: it must be from 1 to {MOST_HOPS}."))
    })?;
    // What is no word of the service model has been refused already.
    let enabled = given.http_endpoint.is_none_or(|word| word == "enabled");
    let tokens_required = given.http_tokens.is_some_and(|word| word == "required");
    Ok(MetadataOptions { enabled, tokens_required, hop_limit })
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

/// Local instances are in the default VPC's own group, whose rules nobody enforces yet; in another they cannot be.
fn check_groups(all: &Network, ids: Option<&[String]>, names: Option<&[String]>) -> Result<(), ApiError> {
    let vpc = &all.default_vpc().ok_or(Refusal::NoDefaultVpc)?.id;
    let mut groups = Vec::new();
    for id in ids.unwrap_or_default() {
        groups.push(all.find_security_group(&SecurityGroupId::parse(id.as_str())?)?);
    }
    for name in names.unwrap_or_default() {
        groups.push(all.group_named(vpc, name)?);
    }
    let own = all.default_group(vpc);
    match groups.into_iter().find(|group| own.is_none_or(|own| own.id != group.id)) {
        Some(group) => Err(not_honoured(&format!("the security group {} for instances", group.id))),
        None => Ok(()),
    }
}

/// The subnets that instances may be put into: those of the default VPC, as far as its addresses are still the host's.
fn subnets(
    all: &Network,
    host: ipnet::Ipv4Net,
    id: Option<String>,
    zone: Option<String>,
) -> Result<Vec<Arc<Subnet>>, ApiError> {
    let vpc = &all.default_vpc().ok_or(Refusal::NoDefaultVpc)?.id;
    let is_possible = |subnet: &Arc<Subnet>| subnet.vpc == *vpc && host.contains(&subnet.cidr);
    let possible: Vec<Arc<Subnet>> = match id {
        None => all.subnets_of(vpc).filter(|subnet| subnet.default_for_az && is_possible(subnet)).cloned().collect(),
        Some(id) => {
            let subnet = all.find_subnet(&SubnetId::parse(id)?)?;
            if !is_possible(subnet) {
                return Err(not_honoured(&format!("{} for instances, which is not the default VPC's,", subnet.id)));
            }
            vec![subnet.clone()]
        }
    };
    if possible.is_empty() {
        let text = format!("No subnets found for the default VPC '{vpc}'. Please specify a subnet.");
        return Err(ApiError::new("MissingInput", text));
    }
    // The zones fill in their order.
    let mut possible = possible;
    possible.sort_by_key(|subnet| subnet.cidr.network());
    let Some(zone) = zone else { return Ok(possible) };
    possible.retain(|subnet| subnet.availability_zone == zone);
    if possible.is_empty() { Err(invalid(format!("Invalid availability zone: [{zone}]"))) } else { Ok(possible) }
}

fn own_tags(specifications: Vec<aws::TagSpecification>) -> Result<Tags, ApiError> {
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
    tags::parse(tags)
}

fn free_address(
    snapshot: &Snapshot,
    network: &Network,
    subnet: &Subnet,
    taken: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let mut all = cidr::usable(subnet.cidr).map(Ipv4Addr::from);
    all.find(|address| {
        snapshot.machine_at(*address).is_none()
            && network.holder(&subnet.id, *address).is_none()
            && !taken.contains(address)
    })
}
