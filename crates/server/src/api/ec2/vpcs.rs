//! VPCs, their attributes, and the network ACL that each has.

use super::{
    default_vpc, filter,
    network::{self, not_honoured, required},
    tags,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::network::{Network, Subnet, Vpc, VpcId, cidr};
use shapes::ec2 as aws;
use std::sync::Arc;
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    // Honoured where they say what is so anyway: one tenancy, and no IPv6.
    row("CreateVpc", &["AmazonProvidedIpv6CidrBlock", "CidrBlock", "DryRun", "InstanceTenancy", "TagSpecifications.*"]),
    row("CreateDefaultVpc", &["DryRun"]),
    row("DeleteVpc", &["DryRun", "VpcId"]),
    row("DescribeVpcs", &["DryRun", "Filters.*", "MaxResults", "NextToken", "VpcIds"]),
    row("DescribeVpcAttribute", &["Attribute", "DryRun", "VpcId"]),
    row(
        "ModifyVpcAttribute",
        &["EnableDnsHostnames.*", "EnableDnsSupport.*", "EnableNetworkAddressUsageMetrics.*", "VpcId"],
    ),
    row("DescribeNetworkAcls", &["DryRun", "Filters.*", "MaxResults", "NetworkAclIds", "NextToken"]),
];

const FILTERS: &[&str] = &[
    "cidr",
    "cidr-block",
    "cidr-block-association.association-id",
    "cidr-block-association.cidr-block",
    "cidr-block-association.state",
    "cidrBlock",
    "dhcp-options-id",
    "dhcpOptionsId",
    "is-default",
    "isDefault",
    "owner-id",
    "state",
    "tag-key",
    "tag:*",
    "vpc-id",
];

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateVpcRequest,
) -> Result<aws::CreateVpcResult, ApiError> {
    if request.amazon_provided_ipv6_cidr_block == Some(true) {
        return Err(not_honoured("AmazonProvidedIpv6CidrBlock"));
    }
    if let Some(tenancy) = request.instance_tenancy.filter(|tenancy| tenancy != "default") {
        return Err(not_honoured(&format!("InstanceTenancy {tenancy}")));
    }
    let net = cidr::parameter("cidrBlock", request.cidr_block.as_deref())?;
    let tags = tags::specified(request.tag_specifications, "vpc")?;
    let (vpc, _) = network::change(ctx, caller, |edit| edit.create_vpc(net, tags.clone())).await?;
    Ok(aws::CreateVpcResult { vpc: Some(render(&vpc)) })
}

pub(super) async fn create_default(ctx: &Context, caller: &Caller) -> Result<aws::CreateDefaultVpcResult, ApiError> {
    let as_it_was = default_vpc(ctx, caller);
    let (vpc, _) = network::change(ctx, caller, |edit| edit.create_default_vpc(&as_it_was)).await?;
    Ok(aws::CreateDefaultVpcResult { vpc: Some(render(&vpc)) })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteVpcRequest,
) -> Result<NoOutput, ApiError> {
    let id = VpcId::parse(required("vpcId", request.vpc_id)?)?;
    network::change(ctx, caller, |edit| edit.delete_vpc(&id)).await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeVpcsRequest,
) -> Result<aws::DescribeVpcsResult, ApiError> {
    let all = network::now(ctx, caller);
    let asked = network::chosen(request.vpc_ids.as_deref(), VpcId::parse, |id| all.find_vpc(id), all.vpcs())?;
    let kept = filter::select(asked, request.filters.as_deref(), FILTERS, |vpc, name| values(vpc, name))?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeVpcs", caller, request.max_results, token, kept, |vpc| vpc.id.to_string())?;
    Ok(aws::DescribeVpcsResult { vpcs: Some(shown.into_iter().map(|vpc| render(vpc)).collect()), next_token })
}

fn values(vpc: &Vpc, name: &str) -> Vec<String> {
    match name {
        "vpc-id" => vec![vpc.id.to_string()],
        "cidr" | "cidr-block" | "cidrBlock" | "cidr-block-association.cidr-block" => vec![vpc.cidr.to_string()],
        "cidr-block-association.association-id" => vec![association_id(vpc)],
        "cidr-block-association.state" => vec!["associated".to_owned()],
        "dhcp-options-id" | "dhcpOptionsId" => vec![DHCP_OPTIONS.to_owned()],
        "is-default" | "isDefault" => vec![vpc.is_default.to_string()],
        "state" => vec!["available".to_owned()],
        "owner-id" => vec![vpc.scope.account.to_string()],
        tag => filter::of_tags(&vpc.tags, tag),
    }
}

/// AWS: the set of options that a VPC without one of its own has.
const DHCP_OPTIONS: &str = "default";

fn association_id(vpc: &Vpc) -> String {
    format!("vpc-cidr-assoc-{}", vpc.id.digits())
}

fn render(vpc: &Vpc) -> aws::Vpc {
    aws::Vpc {
        vpc_id: Some(vpc.id.to_string()),
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(vec![aws::VpcCidrBlockAssociation {
            association_id: Some(association_id(vpc)),
            cidr_block: Some(vpc.cidr.to_string()),
            cidr_block_state: Some(aws::VpcCidrBlockState {
                state: Some("associated".to_owned()),
                ..aws::VpcCidrBlockState::default()
            }),
        }]),
        dhcp_options_id: Some(DHCP_OPTIONS.to_owned()),
        instance_tenancy: Some("default".to_owned()),
        is_default: Some(vpc.is_default),
        owner_id: Some(vpc.scope.account.to_string()),
        state: Some("available".to_owned()),
        tags: tags::render(&vpc.tags),
        ..aws::Vpc::default()
    }
}

pub(super) fn describe_attribute(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeVpcAttributeRequest,
) -> Result<aws::DescribeVpcAttributeResult, ApiError> {
    let id = VpcId::parse(required("vpcId", request.vpc_id)?)?;
    let all = network::now(ctx, caller);
    let vpc = all.find_vpc(&id)?;
    let value = |value| Some(aws::AttributeBooleanValue { value: Some(value) });
    let mut answer = aws::DescribeVpcAttributeResult { vpc_id: Some(id.to_string()), ..Default::default() };
    match required("attribute", request.attribute)?.as_str() {
        "enableDnsSupport" => answer.enable_dns_support = value(vpc.dns_support),
        "enableDnsHostnames" => answer.enable_dns_hostnames = value(vpc.dns_hostnames),
        _ => answer.enable_network_address_usage_metrics = value(vpc.usage_metrics),
    }
    Ok(answer)
}

pub(super) async fn modify_attribute(
    ctx: &Context,
    caller: &Caller,
    request: aws::ModifyVpcAttributeRequest,
) -> Result<NoOutput, ApiError> {
    let id = VpcId::parse(required("vpcId", request.vpc_id)?)?;
    let value = |attribute: Option<aws::AttributeBooleanValue>| attribute.and_then(|attribute| attribute.value);
    let support = value(request.enable_dns_support);
    let hostnames = value(request.enable_dns_hostnames);
    let metrics = value(request.enable_network_address_usage_metrics);
    network::change(ctx, caller, |edit| edit.modify_vpc(&id, support, hostnames, metrics)).await?;
    Ok(NoOutput {})
}

const ACL_FILTERS: &[&str] = &[
    "association.association-id",
    "association.network-acl-id",
    "association.subnet-id",
    "default",
    "network-acl-id",
    "owner-id",
    "tag-key",
    "tag:*",
    "vpc-id",
];

/// The one that each VPC has, which lets everything through and cannot be changed.
pub(super) fn describe_acls(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeNetworkAclsRequest,
) -> Result<aws::DescribeNetworkAclsResult, ApiError> {
    let all = network::now(ctx, caller);
    let named = request.network_acl_ids.as_deref().unwrap_or_default();
    if let Some(id) = named.iter().find(|id| !all.vpcs().any(|vpc| acl_id(vpc) == **id)) {
        let text = format!("The networkAcl ID '{id}' does not exist");
        return Err(ApiError::new("InvalidNetworkAclID.NotFound", text));
    }
    let asked = all.vpcs().filter(|vpc| named.is_empty() || named.contains(&acl_id(vpc)));
    let kept = filter::select(asked, request.filters.as_deref(), ACL_FILTERS, |vpc, name| {
        let subnets = |what: fn(&Subnet) -> String| all.subnets_of(&vpc.id).map(|subnet| what(subnet)).collect();
        match name {
            "vpc-id" => vec![vpc.id.to_string()],
            "network-acl-id" => vec![acl_id(vpc)],
            "owner-id" => vec![vpc.scope.account.to_string()],
            "default" => vec!["true".to_owned()],
            "association.subnet-id" => subnets(|subnet| subnet.id.to_string()),
            "association.association-id" => subnets(acl_association_id),
            "association.network-acl-id" => all.subnets_of(&vpc.id).map(|_| acl_id(vpc)).collect(),
            _ => Vec::new(),
        }
    })?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeNetworkAcls", caller, request.max_results, token, kept, |vpc| acl_id(vpc))?;
    let network_acls = Some(shown.into_iter().map(|vpc| render_acl(&all, vpc)).collect());
    Ok(aws::DescribeNetworkAclsResult { network_acls, next_token })
}

fn acl_id(vpc: &Vpc) -> String {
    format!("acl-{}", vpc.id.digits())
}

fn acl_association_id(subnet: &Subnet) -> String {
    format!("aclassoc-{}", subnet.id.digits())
}

fn render_acl(all: &Network, vpc: &Vpc) -> aws::NetworkAcl {
    let association = |subnet: &Arc<Subnet>| aws::NetworkAclAssociation {
        network_acl_association_id: Some(acl_association_id(subnet)),
        network_acl_id: Some(acl_id(vpc)),
        subnet_id: Some(subnet.id.to_string()),
    };
    // AWS: number 100 is the one that can be changed there, the last one what becomes of all else.
    let entry = |egress: bool, number: i32, action: &str| aws::NetworkAclEntry {
        cidr_block: Some("0.0.0.0/0".to_owned()),
        egress: Some(egress),
        protocol: Some("-1".to_owned()),
        rule_action: Some(action.to_owned()),
        rule_number: Some(number),
        ..aws::NetworkAclEntry::default()
    };
    let both = |egress| [entry(egress, 100, "allow"), entry(egress, 32_767, "deny")];
    aws::NetworkAcl {
        associations: Some(all.subnets_of(&vpc.id).map(association).collect()),
        entries: Some(both(true).into_iter().chain(both(false)).collect()),
        is_default: Some(true),
        network_acl_id: Some(acl_id(vpc)),
        owner_id: Some(vpc.scope.account.to_string()),
        vpc_id: Some(vpc.id.to_string()),
        tags: None,
    }
}
