//! Who an agent is: the URI in its certificate, written by the server's CA when the machine joined.

use model::{AccountId, ClusterArn, ClusterName, ContainerInstanceArn, ContainerInstanceId, Region, Scope};
use std::{fmt, str::FromStr};

/// The holder of a certificate. As text it is the certificate's only URI name:
/// `longshore://account/region/cluster/container-instance-id[/ec2-instance-id]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The container instance it speaks for, and no other.
    pub container_instance: ContainerInstanceArn,
    /// The machine it was made for, if it is a local instance (`i-…`), else the name it was given (`mi-…`).
    pub ec2_instance_id: Option<String>,
}

/// A URI that is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's name '{0}' is not that of a container instance")]
pub struct InvalidIdentity(String);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ContainerInstanceArn { cluster, id } = &self.container_instance;
        write!(f, "longshore://{}/{}/{}/{id}", cluster.scope.account, cluster.scope.region, cluster.name)?;
        match &self.ec2_instance_id {
            Some(machine) => write!(f, "/{machine}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let invalid = || InvalidIdentity(text.chars().take(512).collect());
        let parts: Vec<_> = text.strip_prefix("longshore://").ok_or_else(invalid)?.split('/').collect();
        let (core, machine) = match *parts {
            [a, r, c, i] => ([a, r, c, i], None),
            [a, r, c, i, m] => ([a, r, c, i], Some(m.to_owned())),
            _ => return Err(invalid()),
        };
        let scope = Scope {
            account: AccountId::parse(core[0]).map_err(|_| invalid())?,
            region: Region::parse(core[1]).map_err(|_| invalid())?,
        };
        let cluster = ClusterArn { scope, name: ClusterName::parse(core[2]).map_err(|_| invalid())? };
        let id = ContainerInstanceId::parse(core[3]).map_err(|_| invalid())?;
        Ok(Self { container_instance: ContainerInstanceArn { cluster, id }, ec2_instance_id: machine })
    }
}
