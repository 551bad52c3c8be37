//! `check-attributes`: which attributes a task definition needs and container instances lack.

use super::{Where, config, say};
use anyhow::{Context, Result, bail};
use clap::Args;
use shapes::ecs;
use std::collections::BTreeSet;

#[derive(Debug, Args)]
pub(crate) struct CheckAttributesArgs {
    /// The task definition.
    #[arg(long)]
    task_def: String,
    /// Container instances, ids or ARNs, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    container_instances: Vec<String>,
    #[command(flatten)]
    place: Where,
}

pub(crate) async fn check(args: CheckAttributesArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    let request =
        ecs::DescribeTaskDefinitionRequest { task_definition: Some(args.task_def.clone()), ..Default::default() };
    let definition = settings.client.call(&request).await?.task_definition.context("the answer has no definition")?;
    let required = attributes(definition.requires_attributes);
    if required.is_empty() {
        say::info("The given task definition does not have any attributes", &[]);
        return Ok(());
    }
    let request = ecs::DescribeContainerInstancesRequest {
        cluster: Some(settings.cluster.clone()),
        container_instances: Some(args.container_instances),
        ..Default::default()
    };
    let answer = settings.client.call(&request).await?;
    if let Some(failure) = answer.failures.into_iter().flatten().next() {
        bail!(
            "The container instance {} is not in the cluster {} ({}); `aws ecs list-container-instances` lists those that are",
            failure.arn.unwrap_or_default(),
            settings.cluster,
            failure.reason.unwrap_or_default()
        );
    }
    let rows = answer.container_instances.into_iter().flatten().map(|instance| {
        let arn = instance.container_instance_arn.unwrap_or_default();
        // AWS: the original takes the wrong part of a long ARN and shows the cluster's name.
        let id = arn.rsplit('/').next().unwrap_or_default().to_owned();
        vec![id, missing(&required, &attributes(instance.attributes))]
    });
    say::table(&["Container Instance", "Missing Attributes"], &rows.collect::<Vec<_>>());
    Ok(())
}

type Attributes = BTreeSet<(String, Option<String>)>;

fn attributes(given: Option<Vec<ecs::Attribute>>) -> Attributes {
    given.into_iter().flatten().filter_map(|a| Some((a.name?, a.value.filter(|value| !value.is_empty())))).collect()
}

/// Names of what is required and not there. One that is required without a value may have any.
fn missing(required: &Attributes, there: &Attributes) -> String {
    let has = |(name, value): &(String, Option<String>)| {
        there.iter().any(|(n, v)| n == name && (value.is_none() || v == value))
    };
    let missing: Vec<_> = required.iter().filter(|wanted| !has(wanted)).map(|(name, _)| name.as_str()).collect();
    if missing.is_empty() { "None".to_owned() } else { missing.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let of = |pairs: &[(&str, Option<&str>)]| -> Attributes {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), v.map(str::to_owned))).collect()
        };
        let there = of(&[("a", None), ("b", Some("1")), ("c", Some("x"))]);
        for (required, wanted) in [
            (of(&[("a", None)]), "None"),
            (of(&[("a", None), ("b", None), ("c", Some("x"))]), "None"),
            (of(&[("b", Some("2")), ("d", None)]), "b, d"),
        ] {
            assert_eq!(missing(&required, &there), wanted);
        }
    }
}
