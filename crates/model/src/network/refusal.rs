//! Why something can not be done with a network: EC2's codes and words.

use super::{
    AddressAssociationId, AllocationId, InterfaceId, InternetGatewayId, RouteAssociationId, RouteTableId,
    SecurityGroupId, SubnetId, VpcId,
};
use crate::tags::InvalidTags;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A refusal. The text is what EC2 says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The text says it.
pub enum Refusal {
    /// An id that is misspelt, or that nothing has.
    #[error("{text}")]
    Id { code: &'static str, text: String },
    /// A value that breaks a rule which has no code of its own.
    #[error("{0}")]
    Value(String),
    #[error("The request must contain the parameter {0}")]
    Missing(&'static str),
    #[error("{0}")]
    Combination(&'static str),
    #[error("{0}")]
    Tags(InvalidTags),
    #[error("You do not have permission to access the specified resource.")]
    NotPermitted,

    #[error("The CIDR '{0}' is invalid.")]
    VpcRange(Ipv4Net),
    #[error("The CIDR '{0}' is invalid.")]
    SubnetRange(Ipv4Net),
    #[error("The CIDR '{0}' conflicts with another subnet")]
    SubnetConflict(Ipv4Net),
    #[error("The {what} '{id}' has dependencies and cannot be deleted.")]
    Dependencies { what: &'static str, id: String },
    #[error("resource {0} has a dependent object")]
    GroupInUse(SecurityGroupId),
    #[error(
        "Network {0} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
    )]
    AddressesMapped(VpcId),
    #[error("A Default VPC already exists for this account in this region.")]
    DefaultVpcExists,
    #[error("No default VPC for this user")]
    NoDefaultVpc,

    #[error("the specified association for route table {0} conflicts with an existing association")]
    RouteTableAssociated(RouteTableId),
    #[error("cannot disassociate the main route table association {0}")]
    MainAssociation(RouteAssociationId),
    #[error("Route table {0} and {1} belong to different networks")]
    RouteTableElsewhere(RouteTableId, String),
    #[error("The route identified by {0} already exists.")]
    RouteExists(Ipv4Net),
    #[error("no route with destination-cidr-block {0} in route table {1}")]
    RouteMissing(Ipv4Net, RouteTableId),
    #[error("cannot replace or remove local route {0} in route table {1}")]
    LocalRoute(Ipv4Net, RouteTableId),
    #[error(
        "The destination CIDR block {0} is equal to or more specific than one of this VPC's CIDR blocks. This route can \
         target only an interface or an instance."
    )]
    RouteInsideVpc(Ipv4Net),

    #[error("resource {0} is already attached to network {1}")]
    GatewayAttached(InternetGatewayId, VpcId),
    #[error("Network {0} already has an internet gateway attached")]
    VpcHasGateway(VpcId),
    #[error("resource {0} is not attached to network {1}")]
    GatewayNotAttached(InternetGatewayId, VpcId),
    #[error("Network {0} has no Internet gateway attached")]
    NoGateway(VpcId),

    #[error("resource {0} is already associated with associate-id {1}")]
    AddressAssociated(AllocationId, AddressAssociationId),
    #[error("resource {0} is already associated with associate-id {1}")]
    InterfaceAssociated(InterfaceId, AddressAssociationId),
    #[error("Address '{0}' not found.")]
    AddressMissing(Ipv4Addr),
    #[error("Address {0} is in use.")]
    AddressInUse(Ipv4Addr),
    #[error("The address with allocation id {0} is not associated")]
    AddressNotAssociated(AllocationId),
    #[error("The maximum number of addresses has been reached.")]
    NoPublicAddress,
    #[error("The specified subnet does not have enough free addresses to satisfy the request.")]
    SubnetFull(SubnetId),

    #[error("The security group '{0}' already exists for VPC '{1}'")]
    GroupExists(String, VpcId),
    #[error("the specified group: \"{0}\" name: \"default\" cannot be deleted by a user")]
    DefaultGroup(SecurityGroupId),
    #[error("The security group '{0}' does not exist in VPC '{1}'")]
    GroupNameMissing(String, VpcId),
    #[error("You have specified two resources that belong to different networks.")]
    GroupsApart,
    #[error("Security group {0} and subnet {1} belong to different networks.")]
    GroupElsewhere(SecurityGroupId, SubnetId),
    #[error("the specified rule \"{0}\" already exists")]
    RuleExists(String),
    #[error("The specified rule does not exist in this security group.")]
    RuleMissing,

    #[error("Network interface '{0}' is currently in use.")]
    InterfaceInUse(InterfaceId),

    /// More of something than there may be.
    #[error("The maximum number of {what} has been reached.")]
    Limit { code: &'static str, what: &'static str },
    #[error("Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")]
    TokenMismatch,
}

impl Refusal {
    /// EC2's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Id { code, .. } | Self::Limit { code, .. } => code,
            Self::Value(_)
            | Self::MainAssociation(_)
            | Self::RouteTableElsewhere(..)
            | Self::LocalRoute(..)
            | Self::RouteInsideVpc(_)
            | Self::VpcHasGateway(_)
            | Self::InterfaceInUse(_) => "InvalidParameterValue",
            Self::Missing(_) => "MissingParameter",
            Self::Combination(_) => "InvalidParameterCombination",
            Self::Tags(InvalidTags::TooMany) => "TagLimitExceeded",
            Self::Tags(_) => "InvalidParameterValue",
            Self::NotPermitted => "OperationNotPermitted",
            Self::VpcRange(_) => "InvalidVpc.Range",
            Self::SubnetRange(_) => "InvalidSubnet.Range",
            Self::SubnetConflict(_) => "InvalidSubnet.Conflict",
            Self::Dependencies { .. } | Self::GroupInUse(_) | Self::AddressesMapped(_) => "DependencyViolation",
            Self::DefaultVpcExists => "DefaultVpcAlreadyExists",
            Self::NoDefaultVpc => "VPCIdNotSpecified",
            Self::RouteTableAssociated(_)
            | Self::GatewayAttached(..)
            | Self::AddressAssociated(..)
            | Self::InterfaceAssociated(..) => "Resource.AlreadyAssociated",
            Self::RouteExists(_) => "RouteAlreadyExists",
            Self::RouteMissing(..) => "InvalidRoute.NotFound",
            Self::GatewayNotAttached(..) | Self::NoGateway(_) => "Gateway.NotAttached",
            Self::AddressMissing(_) => "InvalidAddress.NotFound",
            Self::AddressInUse(_) => "InvalidIPAddress.InUse",
            Self::AddressNotAssociated(_) => "InvalidAssociationID.NotFound",
            Self::NoPublicAddress => "AddressLimitExceeded",
            Self::SubnetFull(_) => "InsufficientFreeAddressesInSubnet",
            Self::GroupExists(..) => "InvalidGroup.Duplicate",
            Self::DefaultGroup(_) => "CannotDelete",
            Self::GroupNameMissing(..) | Self::GroupsApart => "InvalidGroup.NotFound",
            Self::GroupElsewhere(..) => "InvalidParameter",
            Self::RuleExists(_) => "InvalidPermission.Duplicate",
            Self::RuleMissing => "InvalidPermission.NotFound",
            Self::TokenMismatch => "IdempotentParameterMismatch",
        }
    }
}
