//! Clusters. AWS: deleting leaves an INACTIVE cluster behind, and creating it again begins anew under the same ARN.

use super::Applied;
use crate::{
    command::{Outcome, Rejected},
    draft::Draft,
    snapshot::ClusterRow,
};
use model::{Cluster, ClusterArn, ClusterStatus, ServiceStatus, discovery::NamespaceId};
use std::{collections::BTreeMap, sync::Arc};

impl Draft<'_> {
    pub(super) fn create_cluster(&mut self, cluster: Cluster) -> Applied {
        if let Some(row) = self.next.cluster(&cluster.arn) {
            match row.cluster.status {
                ClusterStatus::Active => return Ok(Outcome::Cluster(row.cluster.clone())),
                ClusterStatus::Inactive => {}
            }
        }
        Ok(Outcome::Cluster(self.put_cluster(Cluster { status: ClusterStatus::Active, ..cluster })))
    }

    pub(super) fn update_cluster(
        &mut self,
        arn: &ClusterArn,
        settings: BTreeMap<String, String>,
        connect_namespace: Option<Option<NamespaceId>>,
    ) -> Applied {
        let mut cluster = Cluster::clone(&self.active_cluster(arn)?.cluster);
        cluster.settings.extend(settings);
        cluster.connect_namespace = connect_namespace.unwrap_or(cluster.connect_namespace);
        Ok(Outcome::Cluster(self.put_cluster(cluster)))
    }

    pub(super) fn delete_cluster(&mut self, arn: &ClusterArn) -> Applied {
        let row = self.next.cluster(arn).ok_or_else(|| Rejected::ClusterNotFound(arn.clone()))?;
        match row.cluster.status {
            ClusterStatus::Inactive => return Ok(Outcome::Cluster(row.cluster.clone())),
            ClusterStatus::Active => {}
        }
        if row.registered_instances() > 0 {
            return Err(Rejected::ClusterContainsContainerInstances(arn.clone()));
        }
        if row.services().any(|row| row.service.status != ServiceStatus::Inactive) {
            return Err(Rejected::ClusterContainsServices(arn.clone()));
        }
        if row.live_tasks() > 0 {
            return Err(Rejected::ClusterContainsTasks(arn.clone()));
        }
        let cluster = Cluster { status: ClusterStatus::Inactive, ..Cluster::clone(&row.cluster) };
        Ok(Outcome::Cluster(self.put_cluster(cluster)))
    }

    /// The cluster, if it can be used.
    pub(super) fn active_cluster(&self, arn: &ClusterArn) -> Result<&Arc<ClusterRow>, Rejected> {
        let scope = self.next.scopes.get(&arn.scope);
        let row =
            scope.and_then(|s| s.clusters.get(&arn.name)).ok_or_else(|| Rejected::ClusterNotFound(arn.clone()))?;
        match row.cluster.status {
            ClusterStatus::Active => Ok(row),
            ClusterStatus::Inactive => Err(Rejected::ClusterInactive(arn.clone())),
        }
    }
}
