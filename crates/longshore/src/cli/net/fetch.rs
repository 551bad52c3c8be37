//! What there is: EC2's network and whose its interfaces are.

use super::{
    super::{Client, config::Settings, ps},
    parse::{self, Seen},
};
use anyhow::Result;
use model::{
    AccountId, Region, Scope,
    network::{InterfaceId, Network, Record, Vpc, VpcId},
};
use shapes::{ec2, ecs};
use std::collections::BTreeMap;

/// All that is known of a region's network.
pub(super) struct World {
    pub(super) network: Network,
    /// As EC2 shows them: names, free addresses, to whom interfaces belong.
    pub(super) seen: Seen,
    /// Tasks that are to run, by id.
    pub(super) tasks: BTreeMap<String, Task>,
}

/// A task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) cluster: String,
    /// `service:NAME` or `family:NAME`.
    pub(super) group: String,
    pub(super) interface: Option<InterfaceId>,
    pub(super) container_instance: Option<String>,
}

impl Task {
    /// The service whose it is.
    pub(super) fn service(&self) -> Option<&str> {
        self.group.strip_prefix("service:")
    }
}

impl World {
    pub(super) fn shown(&self, id: &InterfaceId) -> Option<&ec2::NetworkInterface> {
        self.seen.interfaces.iter().find(|shown| shown.network_interface_id.as_deref() == Some(id.as_str()))
    }

    /// The task that has an interface.
    pub(super) fn task_of(&self, id: &InterfaceId) -> Option<(&str, &Task)> {
        let found = self.tasks.iter().find(|(_, task)| task.interface.as_ref() == Some(id));
        found.map(|(id, task)| (id.as_str(), task))
    }
}

/// The machine whose own interface it is: where a task's is attached, the second one, is not meant.
pub(super) fn machine(shown: &ec2::NetworkInterface) -> Option<&str> {
    let attachment = shown.attachment.as_ref().filter(|attachment| attachment.device_index == Some(0))?;
    attachment.instance_id.as_deref()
}

/// Whether it belongs to something.
pub(super) fn is_used(shown: &ec2::NetworkInterface) -> bool {
    shown.status.as_deref() == Some("in-use")
}

/// All pages of a list.
macro_rules! pages {
    ($client:expr, $request:ident, $members:ident) => {{
        let (mut all, mut next_token) = (Vec::new(), None);
        loop {
            let page = $client.call(&ec2::$request { next_token, ..Default::default() }).await?;
            all.extend(page.$members.into_iter().flatten());
            next_token = page.next_token;
            if next_token.is_none() {
                break all;
            }
        }
    }};
}

/// Asks for it. Tasks are asked for where they are wanted anyhow or somebody has an interface that may be a task's; of one
/// cluster, or of all.
pub(super) async fn world(settings: &Settings, cluster: Option<&str>, tasks: bool) -> Result<World> {
    let client = &settings.client;
    let seen = Seen {
        vpcs: pages!(client, DescribeVpcsRequest, vpcs),
        subnets: pages!(client, DescribeSubnetsRequest, subnets),
        route_tables: pages!(client, DescribeRouteTablesRequest, route_tables),
        internet_gateways: pages!(client, DescribeInternetGatewaysRequest, internet_gateways),
        nat_gateways: pages!(client, DescribeNatGatewaysRequest, nat_gateways),
        addresses: client.call(&ec2::DescribeAddressesRequest::default()).await?.addresses.unwrap_or_default(),
        groups: pages!(client, DescribeSecurityGroupsRequest, security_groups),
        rules: pages!(client, DescribeSecurityGroupRulesRequest, security_group_rules),
        interfaces: pages!(client, DescribeNetworkInterfacesRequest, network_interfaces),
    };
    let account = seen.vpcs.iter().find_map(|vpc| vpc.owner_id.as_deref()).unwrap_or("000000000000");
    let scope = Scope { account: AccountId::parse(account)?, region: Region::parse(&*settings.region)? };
    let network = parse::network(&seen, &scope)?;
    let may_be_a_tasks = |shown: &ec2::NetworkInterface| is_used(shown) && machine(shown).is_none();
    let asks = tasks || seen.interfaces.iter().any(may_be_a_tasks);
    let tasks = if asks { self::tasks(client, cluster).await? } else { BTreeMap::new() };
    Ok(World { network, seen, tasks })
}

async fn tasks(client: &Client, cluster: Option<&str>) -> Result<BTreeMap<String, Task>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => clusters(client).await?,
    };
    let mut all = BTreeMap::new();
    for cluster in clusters {
        for task in ps::tasks(client, &cluster, "RUNNING", ps::Of::Cluster).await? {
            let Some(id) = task.task_arn.as_deref().and_then(|arn| arn.rsplit('/').next()) else { continue };
            let interface = ps::interface(&task).and_then(|own| ps::detail(own, "networkInterfaceId"));
            let known = Task {
                cluster: cluster.rsplit('/').next().unwrap_or(&cluster).to_owned(),
                group: task.group.clone().unwrap_or_default(),
                interface: interface.map(InterfaceId::parse).transpose()?,
                container_instance: task.container_instance_arn.clone(),
            };
            all.insert(id.to_owned(), known);
        }
    }
    Ok(all)
}

async fn clusters(client: &Client) -> Result<Vec<String>> {
    let (mut all, mut next_token) = (Vec::new(), None);
    loop {
        let page = client.call(&ecs::ListClustersRequest { next_token, ..Default::default() }).await?;
        all.extend(page.cluster_arns.into_iter().flatten());
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(all);
        }
    }
}

/// Whether a VPC has a resolver, which EC2 shows only when asked for that alone.
pub(super) async fn dns_support(settings: &Settings, world: &mut World, vpc: &VpcId) -> Result<()> {
    let request = ec2::DescribeVpcAttributeRequest {
        attribute: Some("enableDnsSupport".to_owned()),
        vpc_id: Some(vpc.to_string()),
        ..Default::default()
    };
    let answer = settings.client.call(&request).await?;
    let supported = answer.enable_dns_support.and_then(|attribute| attribute.value) != Some(false);
    if let Some(known) = world.network.vpc(vpc) {
        let record = Record::from(Vpc { dns_support: supported, ..Vpc::clone(known) });
        world.network.put(record);
    }
    Ok(())
}
