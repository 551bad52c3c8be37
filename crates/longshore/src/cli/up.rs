//! `up`: a cluster and its container instances, through CreateCluster and RunInstances.

use super::{
    Where, code,
    config::{self, Settings},
    group,
    instances::{self, Launch},
    say, tags, user_data,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use shapes::{ec2, ecs, iam};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many container instances; 1 if not given.
    #[arg(long)]
    size: Option<usize>,
    /// Their type; t2.micro if not given.
    #[arg(long)]
    instance_type: Option<String>,
    /// Zones to spread them over, separated by commas; all of the region if not given.
    #[arg(long, value_delimiter = ',', conflicts_with = "vpc")]
    azs: Vec<String>,
    /// The network to use; for instances it must be the region's default VPC. Needs --subnets.
    #[arg(long, requires = "subnets")]
    vpc: Option<String>,
    /// Its subnets to spread the instances over, separated by commas.
    #[arg(long, value_delimiter = ',', requires = "vpc")]
    subnets: Vec<String>,
    /// Security groups of that network, separated by commas.
    #[arg(long, value_delimiter = ',', requires = "vpc")]
    security_group: Vec<String>,
    /// A key pair's name; kept and shown, nothing here uses SSH.
    #[arg(long)]
    keypair: Option<String>,
    /// The image that instances are said to run; they run on the host's own system.
    #[arg(long)]
    image_id: Option<String>,
    /// The instances' role, which has to be there: their agents and metadata have its credentials.
    #[arg(long, conflicts_with = "capability_iam")]
    instance_role: Option<String>,
    /// Accepted for the original's sake, where it is required: this makes no roles.
    #[arg(long)]
    capability_iam: bool,
    /// Leave instances without a public address; local ones have none.
    #[arg(long)]
    no_associate_public_ip_address: bool,
    /// Have the instances' metadata service answer only who has a token of it (IMDSv2).
    #[arg(long)]
    imdsv2: bool,
    /// A file of more user data; may be given more than once. The agent's settings in it are honoured.
    #[arg(long)]
    extra_user_data: Vec<PathBuf>,
    /// Tags of the cluster and its instances, key=value,key2=value2.
    #[arg(long, value_parser = tags::parse)]
    tags: Option<tags::Tags>,
    /// Only the cluster, no instances.
    #[arg(long, short = 'e')]
    empty: bool,
    /// End instances that an earlier `up` made, and make new ones.
    #[arg(long, short = 'f')]
    force: bool,
    /// The launch type; FARGATE needs no instances.
    #[arg(long, value_parser = config::LAUNCH_TYPES)]
    launch_type: Option<String>,
    #[command(flatten)]
    group: group::GroupArgs,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    refused: RefusedArgs,
    #[command(flatten)]
    place: Where,
}

/// Known, and not to be had here.
#[derive(Debug, Args)]
struct RefusedArgs {
    #[arg(long, hide = true)]
    spot_price: Option<String>,
}

impl RefusedArgs {
    fn check(&self) -> Result<()> {
        if self.spot_price.is_some() {
            bail!("--spot-price cannot be honoured: instances on your own machines have no price. Leave it out");
        }
        Ok(())
    }
}

impl UpArgs {
    /// The flags that were given and are about instances.
    fn about_instances(&self) -> Vec<&'static str> {
        let given = [
            ("--size", self.size.is_some()),
            ("--instance-type", self.instance_type.is_some()),
            ("--keypair", self.keypair.is_some()),
            ("--image-id", self.image_id.is_some()),
            ("--instance-role", self.instance_role.is_some()),
            ("--extra-user-data", !self.extra_user_data.is_empty()),
            ("--no-associate-public-ip-address", self.no_associate_public_ip_address),
            ("--imdsv2", self.imdsv2),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    fn check(&self, fargate: bool) -> Result<()> {
        self.refused.check()?;
        let flags = self.about_instances();
        if !self.empty && !fargate {
            self.group.refuse_for_instances()?;
        }
        if self.empty {
            for flag in flags.iter().copied().chain(self.force.then_some("--force")).chain(self.group.given()) {
                say::warn("The flag means nothing for an empty cluster", &[("flag", flag)]);
            }
        } else if fargate && !flags.is_empty() {
            bail!("{} cannot be used with launch type FARGATE, which needs no instances", flags.join(", "));
        }
        // AWS: asked for before anything is made. Only scripts of the original know it, so it is asked for under that name only.
        let acknowledged = self.capability_iam || self.instance_role.is_some() || self.empty || fargate;
        if say::is_ecs_cli() && !acknowledged {
            bail!("Please acknowledge that this command may create IAM resources with the '--capability-iam' flag");
        }
        Ok(())
    }
}

pub(crate) async fn up(args: UpArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    let launch_type = args.launch_type.as_ref().or(settings.launch_type.as_ref());
    let fargate = launch_type.is_some_and(|launch_type| launch_type == "FARGATE");
    args.check(fargate)?;
    let json = args.output.is_json();
    let mut made = Vec::new();
    let launch = match (args.empty, fargate) {
        (false, false) => Some(launch(&args, &settings).await?),
        (false, true) => {
            // Nothing is put there, but who names it means to.
            if let Some(vpc) = &args.vpc {
                in_network(&settings, vpc, &args.subnets, &args.security_group).await?;
            }
            None
        }
        (true, _) => None,
    };
    make_room(&args, &settings).await?;
    let request = ecs::CreateClusterRequest {
        cluster_name: Some(settings.cluster.clone()),
        tags: args.tags.as_ref().map(tags::Tags::ecs),
        ..Default::default()
    };
    settings.client.call(&request).await?;
    say::info("Created cluster", &[("cluster", &settings.cluster), ("region", &settings.region)]);
    if let Some(launch) = launch {
        let size = args.size.unwrap_or(1);
        say::info("Waiting for your cluster resources to be created...", &[]);
        made = instances::launch(&settings, &launch, size).await?;
        say::info("Container instances are ready", &[("cluster", &settings.cluster), ("count", &size.to_string())]);
    }
    let group = match args.group.wanted().filter(|_| !args.empty) {
        Some(wanted) => Some(made_group(&args, &settings, wanted).await?),
        None => None,
    };
    if json {
        let instances = made.iter().map(|instance| {
            json!({ "containerInstanceArn": instance.container_instance_arn, "ec2InstanceId": instance.ec2_instance_id })
        });
        let instances: Vec<_> = instances.collect();
        return say::json(&json!({
            "cluster": settings.cluster, "region": settings.region, "containerInstances": instances,
            "securityGroup": group,
        }));
    }
    if !args.empty && args.vpc.is_none() {
        show_network(&settings, group.as_deref()).await?;
    } else if let Some(group) = group {
        say::out(format_args!("Security Group{}: {group}", created()));
    }
    say::out("Cluster creation succeeded.");
    Ok(())
}

/// The group for tasks, in the network that was named or else in the default one.
async fn made_group(args: &UpArgs, settings: &Settings, wanted: group::Wanted) -> Result<String> {
    let vpc = match &args.vpc {
        Some(vpc) => vpc.clone(),
        None => default_vpc(settings).await?.context(
            "There is no default VPC to make the security group in; `aws ec2 create-default-vpc` makes one, or name              another with --vpc and --subnets",
        )?,
    };
    group::ensure(settings, &vpc, wanted, args.force).await
}

/// What the instances have in common. All that can be wrong is found before anything is made.
async fn launch(args: &UpArgs, settings: &Settings) -> Result<Launch> {
    let instance_type = args.instance_type.clone().unwrap_or_else(|| "t2.micro".to_owned());
    known_type(settings, &instance_type).await?;
    match &args.vpc {
        Some(vpc) => in_network(settings, vpc, &args.subnets, &args.security_group).await?,
        None if !args.azs.is_empty() => {
            let request =
                ec2::DescribeAvailabilityZonesRequest { zone_names: Some(args.azs.clone()), ..Default::default() };
            settings.client.call(&request).await?;
        }
        None => {}
    }
    if args.keypair.is_none() && say::is_ecs_cli() {
        say::warn("You will not be able to SSH into your EC2 instances without a key pair.", &[]);
    }
    if !args.extra_user_data.is_empty() {
        let text = "Instances run on this host and run none of the user data; of it ECS_CLUSTER, ECS_INSTANCE_ATTRIBUTES and \
                    ECS_RESERVED_MEMORY are honoured";
        say::warn(text, &[]);
    }
    let places = if args.vpc.is_some() { args.subnets.clone() } else { args.azs.clone() };
    let pair = |key: &str, value: String| ec2::Tag { key: Some(key.to_owned()), value: Some(value) };
    let tags = args.tags.as_ref().map(tags::Tags::ec2).unwrap_or_default();
    let mut all = tags.clone();
    all.push(pair("Name", instances::name(&settings.stack)));
    if !places.is_empty() {
        all.push(pair(instances::PLACES_TAG, places.join(" ")));
    }
    if !args.extra_user_data.is_empty() {
        all.push(pair(instances::USER_DATA_TAG, "yes".to_owned()));
    }
    if let Some(role) = &args.instance_role {
        profile(settings, role).await?;
    }
    let template = ec2::RunInstancesRequest {
        instance_type: Some(instance_type),
        image_id: args.image_id.clone(),
        key_name: args.keypair.clone(),
        iam_instance_profile: args
            .instance_role
            .clone()
            .map(|role| ec2::IamInstanceProfileSpecification { name: Some(role), ..Default::default() }),
        metadata_options: args.imdsv2.then(|| instances::metadata_options("required")),
        security_group_ids: (!args.security_group.is_empty()).then(|| args.security_group.clone()),
        user_data: Some(user_data::encode(&settings.cluster, &args.extra_user_data)?),
        tag_specifications: Some(vec![ec2::TagSpecification {
            resource_type: Some("instance".to_owned()),
            tags: Some(all),
        }]),
        ..Default::default()
    };
    Ok(Launch { template, places, tags })
}

/// The instance profile of a role's name, made if there is none, as the original makes one in its stack.
async fn profile(settings: &Settings, role: &str) -> Result<()> {
    let (client, name) = (&settings.client, Some(role.to_owned()));
    client.call(&iam::GetRoleRequest { role_name: name.clone() }).await?;
    let create = iam::CreateInstanceProfileRequest { instance_profile_name: name.clone(), ..Default::default() };
    match client.call(&create).await {
        Ok(_) => {}
        // Of an earlier `up`, or somebody's own.
        Err(error) if code(&error) == Some("EntityAlreadyExists") => return Ok(()),
        Err(error) => return Err(error),
    }
    client.call(&iam::AddRoleToInstanceProfileRequest { instance_profile_name: name.clone(), role_name: name }).await?;
    Ok(())
}

async fn known_type(settings: &Settings, instance_type: &str) -> Result<()> {
    let filter = ec2::Filter { name: Some("instance-type".to_owned()), values: Some(vec![instance_type.to_owned()]) };
    let request = ec2::DescribeInstanceTypeOfferingsRequest { filters: Some(vec![filter]), ..Default::default() };
    let offered = settings.client.call(&request).await?.instance_type_offerings.unwrap_or_default();
    if offered.is_empty() {
        bail!(
            "Instance type {instance_type} not supported in region {}; `aws ec2 describe-instance-types` lists those that are",
            settings.region
        );
    }
    Ok(())
}

async fn in_network(settings: &Settings, vpc: &str, subnets: &[String], groups: &[String]) -> Result<()> {
    if !groups.is_empty() {
        let request = ec2::DescribeSecurityGroupsRequest { group_ids: Some(groups.to_vec()), ..Default::default() };
        settings.client.call(&request).await?;
    }
    let request = ec2::DescribeSubnetsRequest { subnet_ids: Some(subnets.to_vec()), ..Default::default() };
    let found = settings.client.call(&request).await?.subnets.unwrap_or_default();
    let other = found.iter().find(|subnet| subnet.vpc_id.as_deref() != Some(vpc));
    if let Some(subnet) = other.and_then(|subnet| subnet.subnet_id.as_ref()) {
        bail!(
            "The subnet {subnet} is not in {vpc}; `aws ec2 describe-subnets --filters Name=vpc-id,Values={vpc}` lists its subnets"
        );
    }
    Ok(())
}

/// An earlier `up` of the same stack: refused, or undone first.
async fn make_room(args: &UpArgs, settings: &Settings) -> Result<()> {
    let there = instances::of_stack(settings).await?;
    let alive = there.into_iter().filter(instances::is_alive).filter_map(|instance| instance.instance_id);
    let alive: Vec<_> = alive.collect();
    if alive.is_empty() {
        return Ok(());
    }
    if !args.force || args.empty {
        bail!(
            "The stack {} already has {} instances for the cluster {}. Please specify '--force' to clean up your existing \
             resources, or use `scale`",
            settings.stack,
            alive.len(),
            settings.cluster
        );
    }
    say::info("Waiting for your cluster resources to be deleted...", &[]);
    instances::terminate(settings, &alive).await
}

/// What the original says of what its stack has made.
fn created() -> &'static str {
    if say::is_ecs_cli() { " created" } else { "" }
}

fn only(name: &str, value: &str) -> ec2::Filter {
    ec2::Filter { name: Some(name.to_owned()), values: Some(vec![value.to_owned()]) }
}

async fn default_vpc(settings: &Settings) -> Result<Option<String>> {
    let request = ec2::DescribeVpcsRequest { filters: Some(vec![only("is-default", "true")]), ..Default::default() };
    let vpcs = settings.client.call(&request).await?.vpcs;
    Ok(vpcs.into_iter().flatten().find_map(|vpc| vpc.vpc_id))
}

/// The network, where scripts of the original look for what its stack has made; with the group that was made, if one was.
async fn show_network(settings: &Settings, group: Option<&str>) -> Result<()> {
    let (client, made) = (&settings.client, created());
    // Instances are in the default one, whatever others people have made.
    let Some(vpc) = default_vpc(settings).await? else { return Ok(()) };
    say::out(format_args!("VPC{made}: {vpc}"));
    let of_vpc = only("vpc-id", &vpc);
    let groups = match group {
        Some(group) => vec![group.to_owned()],
        None => {
            let filters = Some(vec![of_vpc.clone(), only("group-name", "default")]);
            let request = ec2::DescribeSecurityGroupsRequest { filters, ..Default::default() };
            let groups = client.call(&request).await?.security_groups;
            groups.into_iter().flatten().filter_map(|group| group.group_id).collect()
        }
    };
    for group in groups {
        say::out(format_args!("Security Group{made}: {group}"));
    }
    let request = ec2::DescribeSubnetsRequest { filters: Some(vec![of_vpc]), ..Default::default() };
    let subnets = client.call(&request).await?.subnets;
    for subnet in subnets.into_iter().flatten().filter_map(|subnet| subnet.subnet_id) {
        say::out(format_args!("Subnet{made}: {subnet}"));
    }
    Ok(())
}
