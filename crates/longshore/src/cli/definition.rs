//! Task definitions as `run` and `deploy` use them: found by name, and the container that is meant when none is named.

use super::{client, config::Settings};
use crate::advice::Advice;
use anyhow::{Context, Result, bail};
use shapes::ecs;

/// A definition by family, `family:revision` or ARN, with its tags.
pub(super) async fn described(settings: &Settings, name: &str) -> Result<(ecs::TaskDefinition, Vec<ecs::Tag>)> {
    let request = ecs::DescribeTaskDefinitionRequest {
        task_definition: Some(name.to_owned()),
        include: Some(vec!["TAGS".to_owned()]),
    };
    let answer = match settings.client.call(&request).await {
        Ok(answer) => answer,
        // AWS: an unknown definition is a ClientException.
        Err(error) if client::code(&error) == Some("ClientException") => {
            let advice = "`aws ecs list-task-definitions` lists them; `longshore compose create` registers one of a compose file";
            return Err(error.context(format!("There is no task definition {name}")).context(Advice::new(advice)));
        }
        Err(error) => return Err(error),
    };
    let definition = answer.task_definition.context("the answer has no definition")?;
    Ok((definition, answer.tags.unwrap_or_default()))
}

fn is_essential(container: &ecs::ContainerDefinition) -> bool {
    container.essential != Some(false)
}

/// The place of the container that is meant: the named one, else the only one, else the only essential one.
pub(super) fn container(definition: &ecs::TaskDefinition, named: Option<&str>) -> Result<usize> {
    let containers = definition.container_definitions.as_deref().unwrap_or_default();
    let name = |c: &ecs::ContainerDefinition| c.name.clone().unwrap_or_default();
    let names = || containers.iter().map(name).collect::<Vec<_>>().join(", ");
    let of = definition.family.as_deref().unwrap_or_default();
    if let Some(named) = named {
        let found = containers.iter().position(|c| c.name.as_deref() == Some(named));
        return found.with_context(|| format!("{of} has no container {named}; it has: {}", names()));
    }
    let essential: Vec<_> = containers.iter().enumerate().filter(|(_, c)| is_essential(c)).collect();
    match (containers.len(), essential.as_slice()) {
        (1, _) => Ok(0),
        (_, [(at, _)]) => Ok(*at),
        (_, _) => bail!("{of} has several containers; say which is meant: {}", names()),
    }
}

/// The names of the containers with whose end a task ends.
pub(super) fn essential(definition: &ecs::TaskDefinition) -> Vec<&str> {
    let containers = definition.container_definitions.iter().flatten().filter(|c| is_essential(c));
    containers.filter_map(|c| c.name.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_that_is_meant() {
        let definition = |containers: &[(&str, bool)]| ecs::TaskDefinition {
            family: Some("web".into()),
            container_definitions: Some(
                containers
                    .iter()
                    .map(|(name, essential)| ecs::ContainerDefinition {
                        name: Some((*name).to_owned()),
                        essential: Some(*essential),
                        ..Default::default()
                    })
                    .collect(),
            ),
            ..Default::default()
        };
        for (containers, named, wanted) in [
            (&[("app", true)][..], None, Ok(0)),
            (&[("app", true)], Some("app"), Ok(0)),
            (&[("app", true)], Some("db"), Err("web has no container db; it has: app")),
            (&[("log", false), ("app", true)], None, Ok(1)),
            (&[("log", false), ("app", true)], Some("log"), Ok(0)),
            (&[("a", true), ("b", true)], None, Err("web has several containers; say which is meant: a, b")),
            (&[], None, Err("web has several containers; say which is meant: ")),
        ] {
            let got = container(&definition(containers), named).map_err(|error| error.to_string());
            assert_eq!(got, wanted.map_err(str::to_owned), "{containers:?} {named:?}");
        }
    }
}
