//! A cluster and its container instances, as several commands look at them.

use super::Client;
use anyhow::{Result, anyhow};
use shapes::ecs;

/// Refuses to go on with a cluster that is not there.
pub(super) async fn must_be_active(client: &Client, cluster: &str) -> Result<()> {
    let request = ecs::DescribeClustersRequest { clusters: Some(vec![cluster.to_owned()]), ..Default::default() };
    let known = client.call(&request).await?.clusters.into_iter().flatten().next();
    if known.and_then(|cluster| cluster.status).as_deref() != Some("ACTIVE") {
        let error = anyhow!("Cluster '{cluster}' is not active. Ensure that it exists; `up` makes one");
        return Err(client.advise_on_cluster(error, Some(cluster)).await);
    }
    Ok(())
}

/// The cluster's container instances that match a filter of the cluster query language, described.
pub(super) async fn container_instances(
    client: &Client,
    cluster: &str,
    filter: Option<&str>,
) -> Result<Vec<ecs::ContainerInstance>> {
    let mut all = Vec::new();
    let mut next_token = None;
    loop {
        let list = ecs::ListContainerInstancesRequest {
            cluster: Some(cluster.to_owned()),
            filter: filter.map(str::to_owned),
            next_token,
            ..Default::default()
        };
        let page = client.call(&list).await?;
        let arns = page.container_instance_arns.unwrap_or_default();
        if !arns.is_empty() {
            let request = ecs::DescribeContainerInstancesRequest {
                cluster: Some(cluster.to_owned()),
                container_instances: Some(arns),
                ..Default::default()
            };
            all.extend(client.call(&request).await?.container_instances.unwrap_or_default());
        }
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(all);
        }
    }
}
