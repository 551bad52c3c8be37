//! Clusters. AWS: deleting leaves an INACTIVE cluster behind, and creating it again begins anew under the same ARN.

use super::Applied;
use crate::{
    command::{Outcome, Rejected},
    draft::Draft,
    snapshot::{ClusterRow, ServiceRow},
};
use model::{
    CapacityProvider, CapacityProviderStrategy, Cluster, ClusterArn, ClusterStatus, ExecLogging, Scope, ServiceStatus,
    discovery::NamespaceId,
};
use std::{collections::BTreeMap, sync::Arc};

impl Draft<'_> {
    pub(super) fn create_cluster(&mut self, cluster: Cluster) -> Applied {
        if let Some(row) = self.next.cluster(&cluster.arn) {
            match row.cluster.status {
                ClusterStatus::Active => {
                    let asked = (&cluster.capacity_providers, &cluster.default_capacity_provider_strategy);
                    let has = (&row.cluster.capacity_providers, &row.cluster.default_capacity_provider_strategy);
                    if !asked.0.is_empty() && asked != has {
                        return Err(Rejected::ClusterDiffers(cluster.arn));
                    }
                    return Ok(Outcome::Cluster(row.cluster.clone()));
                }
                ClusterStatus::Inactive => {}
            }
        }
        self.check_providers(&cluster.arn.scope, &cluster.capacity_providers)?;
        Ok(Outcome::Cluster(self.put_cluster(Cluster { status: ClusterStatus::Active, ..cluster })))
    }

    pub(super) fn update_cluster(
        &mut self,
        arn: &ClusterArn,
        settings: BTreeMap<String, String>,
        connect_namespace: Option<Option<NamespaceId>>,
        exec_logging: Option<ExecLogging>,
    ) -> Applied {
        let mut cluster = Cluster::clone(&self.active_cluster(arn)?.cluster);
        cluster.settings.extend(settings);
        cluster.connect_namespace = connect_namespace.unwrap_or(cluster.connect_namespace);
        cluster.exec_logging = exec_logging.or(cluster.exec_logging);
        Ok(Outcome::Cluster(self.put_cluster(cluster)))
    }

    pub(super) fn put_capacity_providers(
        &mut self,
        arn: &ClusterArn,
        providers: Vec<CapacityProvider>,
        default_strategy: CapacityProviderStrategy,
    ) -> Applied {
        let row = self.active_cluster(arn)?;
        if let Some(item) = default_strategy.items().iter().find(|item| !providers.contains(&item.provider)) {
            let provider = item.provider.clone();
            return Err(Rejected::CapacityProviderNotAssociated { cluster: arn.clone(), provider });
        }
        self.check_providers(&arn.scope, &providers)?;
        let dropped = row.cluster.capacity_providers.iter().filter(|known| !providers.contains(known));
        for provider in dropped {
            if uses(row, provider) {
                return Err(Rejected::CapacityProviderInUse { cluster: arn.clone(), provider: provider.clone() });
            }
        }
        let mut cluster = Cluster::clone(&row.cluster);
        (cluster.capacity_providers, cluster.default_capacity_provider_strategy) = (providers, default_strategy);
        Ok(Outcome::Cluster(self.put_cluster(cluster)))
    }

    /// Whether all of them are there.
    fn check_providers(&self, scope: &Scope, providers: &[CapacityProvider]) -> Result<(), Rejected> {
        providers.iter().try_for_each(|provider| match provider {
            CapacityProvider::Fargate | CapacityProvider::FargateSpot => Ok(()),
            CapacityProvider::AutoScaling(name) => self.active_provider(scope, name).map(drop),
        })
    }

    /// Whether tasks in a cluster may ask for that provider.
    pub(super) fn check_capacity_provider(
        &self,
        arn: &ClusterArn,
        provider: Option<&CapacityProvider>,
    ) -> Result<(), Rejected> {
        let row = self.active_cluster(arn)?;
        match provider.filter(|provider| !row.cluster.capacity_providers.contains(provider)) {
            Some(provider) => {
                Err(Rejected::CapacityProviderNotAssociated { cluster: arn.clone(), provider: provider.clone() })
            }
            None => Ok(()),
        }
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

/// Whether tasks that have not stopped, or services that are not INACTIVE, take a provider's room.
fn uses(row: &ClusterRow, provider: &CapacityProvider) -> bool {
    let lives = |row: &&Arc<ServiceRow>| row.service.status != ServiceStatus::Inactive;
    let mut specs = row.services().filter(lives).flat_map(|row| row.service.specs());
    specs.any(|spec| spec.capacity_provider_strategy.names(provider))
        || row.live().any(|task| task.capacity_provider.as_ref() == Some(provider))
}
