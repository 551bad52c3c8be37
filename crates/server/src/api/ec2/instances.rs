//! Local instances: describe, start, stop, terminate. A change is recorded; the host's loop carries it out.

use super::{architecture, default_vpc, filter, invalid, tags};
use crate::{
    api::{ApiError, paging::Pages},
    context::{Caller, Context},
};
use model::{Machine, MachineState, attachment::private_dns_name, vpc::DefaultVpc};
use shapes::ec2 as aws;
use state::{Command, CommitError, Outcome, Rejected, Snapshot};
use std::{collections::BTreeMap, sync::Arc};

/// Instances of one page, the most and what is shown when nothing is asked for. Source: the model's documentation.
const MAX_PAGE: usize = 1000;
/// The reason that EC2 shows for what its user asked for.
const BY_USER: &str = "Client.UserInitiatedShutdown: User initiated shutdown";

const FILTERS: &[&str] = &[
    "architecture",
    "availability-zone",
    "client-token",
    "image-id",
    "instance-id",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "key-name",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "reservation-id",
    "subnet-id",
    "tag-key",
    "tag:*",
    "vpc-id",
];

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeInstancesRequest,
) -> Result<aws::DescribeInstancesResult, ApiError> {
    filter::known(request.filters.as_deref(), FILTERS)?;
    let snapshot = ctx.store.snapshot();
    let named = request.instance_ids.unwrap_or_default();
    if !named.is_empty() && request.max_results.is_some() {
        let text = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    let pages = Pages::of("DescribeInstances", &caller.scope);
    let after = pages.cursor(request.next_token.as_deref()).map_err(|error| invalid(error.message))?;
    let machines: Vec<_> = if named.is_empty() {
        snapshot.machines(&caller.scope, after.as_deref()).cloned().collect()
    } else {
        find(&snapshot, caller, &named)?
    };
    let vpc = default_vpc(ctx, caller);
    let kept = filter::keep(machines, request.filters.as_deref(), |machine, filter| values(&vpc, machine, filter))?;
    let limit = page(request.max_results)?;
    let (shown, next_token) = pages.cut(kept.into_iter(), limit, |machine| machine.id.clone());
    let reservations = reservations(&vpc, shown.iter().map(|machine| &**machine));
    Ok(aws::DescribeInstancesResult { reservations: Some(reservations), next_token })
}

fn page(asked: Option<i32>) -> Result<usize, ApiError> {
    let Some(asked) = asked.filter(|asked| *asked != 0) else { return Ok(MAX_PAGE) };
    let fits = usize::try_from(asked).ok().filter(|asked| (1..=MAX_PAGE).contains(asked));
    fits.ok_or_else(|| {
        invalid(format!("Value ( {asked} ) for parameter maxResults is invalid. Expecting a value up to 1000."))
    })
}

fn values(vpc: &DefaultVpc, machine: &Machine, filter: &str) -> Option<Vec<String>> {
    Some(match filter {
        "architecture" => vec![architecture().to_owned()],
        "availability-zone" => vec![machine.availability_zone.clone()],
        "client-token" => machine.client_token.iter().cloned().collect(),
        "image-id" => vec![machine.image_id.clone()],
        "instance-id" => vec![machine.id.clone()],
        "instance-state-code" => vec![machine.state.code().to_string()],
        "instance-state-name" => vec![machine.state.as_str().to_owned()],
        "instance-type" => vec![machine.instance_type.clone()],
        "key-name" => machine.key_name.iter().cloned().collect(),
        "owner-id" => vec![machine.scope.account.to_string()],
        "private-dns-name" => vec![private_dns_name(machine.private_ip, machine.scope.region.as_str())],
        "private-ip-address" => vec![machine.private_ip.to_string()],
        "reservation-id" => vec![machine.reservation_id.clone()],
        "subnet-id" => vec![machine.subnet_id.clone()],
        "vpc-id" => vec![vpc.id.clone()],
        "tag-key" => machine.tags.0.keys().cloned().collect(),
        tag => machine.tags.0.get(tag.strip_prefix("tag:")?).cloned().into_iter().collect(),
    })
}

/// The machines of those ids: all, or the error that names the ones that are not there.
pub(super) fn find(snapshot: &Snapshot, caller: &Caller, ids: &[String]) -> Result<Vec<Arc<Machine>>, ApiError> {
    let is_id = |id: &str| {
        let digits = id.strip_prefix("i-").unwrap_or_default();
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    if let Some(id) = ids.iter().find(|id| !is_id(id)) {
        return Err(ApiError::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let unknown: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| snapshot.machine(&caller.scope, id).is_none()).collect();
    match *unknown {
        [] => Ok(ids.iter().filter_map(|id| snapshot.machine(&caller.scope, id).cloned()).collect()),
        [id] => Err(ApiError::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))),
        _ => {
            let text = format!("The instance IDs '{}' do not exist", unknown.join(", "));
            Err(ApiError::new("InvalidInstanceID.NotFound", text))
        }
    }
}

pub(super) async fn start(
    ctx: &Context,
    caller: &Caller,
    request: aws::StartInstancesRequest,
) -> Result<aws::StartInstancesResult, ApiError> {
    let changes = change(ctx, caller, request.instance_ids, Wish::Start).await?;
    Ok(aws::StartInstancesResult { starting_instances: Some(changes) })
}

pub(super) async fn stop(
    ctx: &Context,
    caller: &Caller,
    request: aws::StopInstancesRequest,
) -> Result<aws::StopInstancesResult, ApiError> {
    let changes = change(ctx, caller, request.instance_ids, Wish::Stop).await?;
    Ok(aws::StopInstancesResult { stopping_instances: Some(changes) })
}

pub(super) async fn terminate(
    ctx: &Context,
    caller: &Caller,
    request: aws::TerminateInstancesRequest,
) -> Result<aws::TerminateInstancesResult, ApiError> {
    let changes = change(ctx, caller, request.instance_ids, Wish::Terminate).await?;
    Ok(aws::TerminateInstancesResult { terminating_instances: Some(changes) })
}

/// What is wished of an instance.
#[derive(Clone, Copy)]
enum Wish {
    Start,
    Stop,
    Terminate,
}

impl Wish {
    /// The state that the wish leads to from another; `None` if it cannot be had from there.
    fn from(self, state: MachineState) -> Option<MachineState> {
        use MachineState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        match self {
            Self::Start => match state {
                Stopped => Some(Pending),
                Pending | Running => Some(state),
                Stopping | ShuttingDown | Terminated => None,
            },
            Self::Stop => match state {
                Pending | Running => Some(Stopping),
                Stopping | Stopped => Some(state),
                ShuttingDown | Terminated => None,
            },
            Self::Terminate => match state {
                Pending | Running | Stopping | Stopped => Some(ShuttingDown),
                ShuttingDown | Terminated => Some(state),
            },
        }
    }

    fn reason(self) -> Option<String> {
        match self {
            Self::Start => None,
            Self::Stop | Self::Terminate => Some(BY_USER.to_owned()),
        }
    }

    fn refusal(self, id: &str) -> ApiError {
        let done = match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Terminate => "terminated",
        };
        let text = format!("The instance '{id}' is not in a state from which it can be {done}.");
        ApiError::new("IncorrectInstanceState", text)
    }
}

async fn change(
    ctx: &Context,
    caller: &Caller,
    ids: Option<Vec<String>>,
    wish: Wish,
) -> Result<Vec<aws::InstanceStateChange>, ApiError> {
    let ids = ids.unwrap_or_default();
    let machines = find(&ctx.store.snapshot(), caller, &ids)?;
    // All are looked at before any is changed, as in EC2.
    for machine in &machines {
        wish.from(machine.state).ok_or_else(|| wish.refusal(&machine.id))?;
    }
    let shown = |state: MachineState| {
        Some(aws::InstanceState { code: Some(state.code()), name: Some(state.as_str().to_owned()) })
    };
    let mut changes = Vec::new();
    for machine in machines {
        let (scope, id, before) = (machine.scope.clone(), machine.id.clone(), machine.state);
        let state = wish.from(before).ok_or_else(|| wish.refusal(&id))?;
        let command = Command::SetMachineState { scope, id, state, reason: wish.reason(), at: ctx.effects.now() };
        let now = match ctx.store.commit(command).await {
            Ok(committed) => {
                let Outcome::Machine(machine) = committed.outcome else {
                    return Err(ApiError::server("SetMachineState answered with something else than the machine"));
                };
                machine.state
            }
            // The host's loop brought it further meanwhile.
            Err(CommitError::Rejected(Rejected::MachineState { .. })) => return Err(wish.refusal(&machine.id)),
            Err(error) => return Err(error.into()),
        };
        changes.push(aws::InstanceStateChange {
            instance_id: Some(machine.id.clone()),
            current_state: shown(now),
            previous_state: shown(before),
        });
    }
    Ok(changes)
}

/// The machines as EC2 shows them, by the call they came from.
pub(super) fn reservations<'a>(vpc: &DefaultVpc, machines: impl Iterator<Item = &'a Machine>) -> Vec<aws::Reservation> {
    let mut by_call: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
    for machine in machines {
        by_call.entry(&machine.reservation_id).or_default().push(machine);
    }
    let mut calls: Vec<_> = by_call.into_iter().collect();
    for (_, machines) in &mut calls {
        machines.sort_by_key(|machine| machine.launch_index);
    }
    calls.sort_by_key(|(_, machines)| machines.first().map(|machine| machine.launched_at));
    let reservation = |(id, machines): (&str, Vec<&Machine>)| aws::Reservation {
        reservation_id: Some(id.to_owned()),
        owner_id: machines.first().map(|machine| machine.scope.account.to_string()),
        groups: Some(Vec::new()),
        instances: Some(machines.into_iter().map(|machine| render(vpc, machine)).collect()),
        ..aws::Reservation::default()
    };
    calls.into_iter().map(reservation).collect()
}

fn metadata_options(machine: &Machine) -> aws::InstanceMetadataOptionsResponse {
    let options = machine.metadata_options;
    let word = |holds: bool, yes: &str, no: &str| Some(if holds { yes } else { no }.to_owned());
    aws::InstanceMetadataOptionsResponse {
        state: Some("applied".to_owned()),
        http_tokens: word(options.tokens_required, "required", "optional"),
        http_put_response_hop_limit: Some(options.hop_limit.into()),
        http_endpoint: word(options.enabled, "enabled", "disabled"),
        http_protocol_ipv6: Some("disabled".to_owned()),
        instance_metadata_tags: Some("disabled".to_owned()),
    }
}

fn render(vpc: &DefaultVpc, machine: &Machine) -> aws::Instance {
    // A terminated instance has left its network.
    let is_there = machine.state != MachineState::Terminated;
    let there = |text: String| Some(text).filter(|_| is_there);
    let group = || aws::GroupIdentifier {
        group_id: Some(vpc.security_group_id.clone()),
        group_name: Some("default".to_owned()),
    };
    let interface = || aws::InstanceNetworkInterface {
        network_interface_id: Some(machine.id.replacen("i-", "eni-", 1)),
        private_ip_address: Some(machine.private_ip.to_string()),
        private_dns_name: Some(private_dns_name(machine.private_ip, machine.scope.region.as_str())),
        subnet_id: Some(machine.subnet_id.clone()),
        vpc_id: Some(vpc.id.clone()),
        owner_id: Some(machine.scope.account.to_string()),
        status: Some("in-use".to_owned()),
        interface_type: Some("interface".to_owned()),
        groups: Some(vec![group()]),
        ..aws::InstanceNetworkInterface::default()
    };
    let reason = machine.state_reason.as_deref();
    let (code, _) = reason.and_then(|reason| reason.split_once(": ")).unzip();
    aws::Instance {
        instance_id: Some(machine.id.clone()),
        image_id: Some(machine.image_id.clone()),
        instance_type: Some(machine.instance_type.clone()),
        iam_instance_profile: machine
            .instance_profile
            .as_ref()
            .map(|profile| aws::IamInstanceProfile { arn: Some(profile.arn.clone()), id: Some(profile.id.clone()) }),
        ami_launch_index: i32::try_from(machine.launch_index).ok(),
        architecture: Some(architecture().to_owned()),
        client_token: machine.client_token.clone(),
        hypervisor: Some("xen".to_owned()),
        key_name: machine.key_name.clone(),
        launch_time: Some(::wire::Timestamp::from_millis(machine.launched_at.0)),
        metadata_options: Some(metadata_options(machine)),
        monitoring: Some(aws::Monitoring { state: Some("disabled".to_owned()), ..aws::Monitoring::default() }),
        network_interfaces: Some(Some(interface()).filter(|_| is_there).into_iter().collect()),
        placement: Some(aws::Placement {
            availability_zone: Some(machine.availability_zone.clone()),
            tenancy: Some("default".to_owned()),
            ..aws::Placement::default()
        }),
        private_dns_name: Some(if is_there {
            private_dns_name(machine.private_ip, machine.scope.region.as_str())
        } else {
            String::new()
        }),
        private_ip_address: there(machine.private_ip.to_string()),
        public_dns_name: Some(String::new()),
        root_device_name: Some("/dev/xvda".to_owned()),
        root_device_type: Some("ebs".to_owned()),
        security_groups: Some(Some(group()).filter(|_| is_there).into_iter().collect()),
        state: Some(aws::InstanceState {
            code: Some(machine.state.code()),
            name: Some(machine.state.as_str().to_owned()),
        }),
        state_reason: reason
            .map(|reason| aws::StateReason { code: code.map(str::to_owned), message: Some(reason.to_owned()) }),
        state_transition_reason: Some(match code {
            Some(code) if !code.starts_with("Client.") => code.to_owned(),
            Some(_) => "User initiated".to_owned(),
            None => String::new(),
        }),
        subnet_id: there(machine.subnet_id.clone()),
        vpc_id: there(vpc.id.clone()),
        tags: tags::render(&machine.tags),
        virtualization_type: Some("hvm".to_owned()),
        ..aws::Instance::default()
    }
}
