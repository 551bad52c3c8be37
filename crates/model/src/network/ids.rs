//! EC2's ids: a prefix that says what it is, and 17 hexadecimal digits. Those from before 2018 have 8 and are taken too, so that
//! a template that names one is told that it is not there, and not that it is misspelt.

use super::Refusal;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// 17 hexadecimal digits.
const DIGITS: u128 = (1 << 68) - 1;

fn is_id(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident, $prefix:literal, $malformed:literal, $missing:literal, $words:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $type(Arc<str>);

        impl $type {
            /// What it begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Checks the form and takes the id.
            pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Refusal> {
                let text: Arc<str> = text.into();
                if is_id(&text, $prefix) {
                    Ok(Self(text))
                } else {
                    let text = format!("Invalid id: \"{text}\" (expecting \"{}...\")", $prefix);
                    Err(Refusal::Id { code: $malformed, text })
                }
            }
            /// The id of that number, of which the lowest 68 bits are taken.
            pub fn of(number: u128) -> Self {
                Self(format!("{}{:017x}", $prefix, number & DIGITS).into())
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// The text behind the prefix.
            pub fn digits(&self) -> &str {
                self.0.strip_prefix($prefix).unwrap_or_default()
            }
            /// EC2's answer to an id that nothing has.
            pub fn missing(&self) -> Refusal {
                Refusal::Id { code: $missing, text: $words.replacen("{}", &self.0, 1) }
            }
        }
        impl TryFrom<Arc<str>> for $type {
            type Error = Refusal;
            fn try_from(text: Arc<str>) -> Result<Self, Refusal> {
                Self::parse(text)
            }
        }
        impl From<$type> for Arc<str> {
            fn from(id: $type) -> Self {
                id.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id!(
    /// A VPC's.
    VpcId, "vpc-", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "The vpc ID '{}' does not exist"
);
id!(
    /// A subnet's.
    SubnetId, "subnet-", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", "The subnet ID '{}' does not exist"
);
id!(
    /// A route table's.
    RouteTableId,
    "rtb-",
    "InvalidRouteTableId.Malformed",
    "InvalidRouteTableID.NotFound",
    "The routeTable ID '{}' does not exist"
);
id!(
    /// That of a route table's association with a subnet, or with its VPC as the main one.
    RouteAssociationId,
    "rtbassoc-",
    "InvalidAssociationID.Malformed",
    "InvalidAssociationID.NotFound",
    "The association ID '{}' does not exist"
);
id!(
    /// An internet gateway's.
    InternetGatewayId,
    "igw-",
    "InvalidInternetGatewayId.Malformed",
    "InvalidInternetGatewayID.NotFound",
    "The internetGateway ID '{}' does not exist"
);
id!(
    /// A NAT gateway's.
    NatGatewayId, "nat-", "NatGatewayMalformed", "NatGatewayNotFound", "The Nat Gateway {} was not found"
);
id!(
    /// An allocated address's.
    AllocationId,
    "eipalloc-",
    "InvalidAllocationID.Malformed",
    "InvalidAllocationID.NotFound",
    "The allocation ID '{}' does not exist"
);
id!(
    /// That of an allocated address's association with an interface.
    AddressAssociationId,
    "eipassoc-",
    "InvalidAssociationID.Malformed",
    "InvalidAssociationID.NotFound",
    "The association ID '{}' does not exist"
);
id!(
    /// A security group's.
    SecurityGroupId, "sg-", "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "The security group '{}' does not exist"
);
id!(
    /// A security group rule's.
    RuleId,
    "sgr-",
    "InvalidSecurityGroupRuleId.Malformed",
    "InvalidSecurityGroupRuleId.NotFound",
    "The security group rule ID '{}' does not exist"
);
id!(
    /// A network interface's.
    InterfaceId,
    "eni-",
    "InvalidNetworkInterfaceId.Malformed",
    "InvalidNetworkInterfaceID.NotFound",
    "The networkInterface ID '{}' does not exist"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_prefix_and_8_or_17_small_hexadecimal_digits() {
        for (text, good) in [
            ("vpc-0123456789abcdef0", true),
            ("vpc-01234567", true),
            ("vpc-0123456789ABCDEF0", false),
            ("vpc-0123456789abcdef", false),
            ("subnet-0123456789abcdef0", false),
            ("vpc-", false),
            ("", false),
        ] {
            assert_eq!(VpcId::parse(text).is_ok(), good, "{text}");
        }
        assert_eq!(VpcId::of(u128::MAX).as_str(), "vpc-fffffffffffffffff");
        assert_eq!(
            (VpcId::of(7).digits(), VpcId::of(7)),
            ("00000000000000007", VpcId::parse("vpc-00000000000000007").unwrap())
        );
        let missing = NatGatewayId::of(1).missing();
        assert_eq!(
            (missing.code(), missing.to_string().as_str()),
            ("NatGatewayNotFound", "The Nat Gateway nat-00000000000000001 was not found")
        );
    }
}
