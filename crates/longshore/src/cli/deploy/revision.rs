//! The next revision of a task definition: the same with other images. Pure.

use crate::cli::definition;
use anyhow::{Context, Result};
use shapes::ecs;

/// `--image [CONTAINER=]IMAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    container: Option<String>,
    image: String,
}

/// Reads the flag. An image's name has no `=`.
pub(super) fn image(text: &str) -> Result<Image, String> {
    let (container, image) = text.split_once('=').map_or((None, text), |(container, image)| (Some(container), image));
    let empty = image.is_empty() || container.is_some_and(str::is_empty);
    if empty || image.contains(char::is_whitespace) {
        return Err(format!("'{text}' is not an image; write IMAGE, or CONTAINER=IMAGE"));
    }
    Ok(Image { container: container.map(str::to_owned), image: image.to_owned() })
}

/// What is to be registered so that the containers have these images. `None` if they have them already.
pub(super) fn next(
    definition: ecs::TaskDefinition,
    tags: Vec<ecs::Tag>,
    images: &[Image],
) -> Result<Option<ecs::RegisterTaskDefinitionRequest>> {
    let mut containers = definition.container_definitions.clone().unwrap_or_default();
    let mut changed = false;
    for image in images {
        let at = definition::container(&definition, image.container.as_deref())
            .context("--image [CONTAINER=]IMAGE does not say which container it is for")?;
        let now = Some(image.image.clone());
        changed |= containers[at].image != now;
        containers[at].image = now;
    }
    // What a definition is given when it is registered, and nothing that it is told afterwards.
    Ok(changed.then(|| ecs::RegisterTaskDefinitionRequest {
        container_definitions: Some(containers),
        cpu: definition.cpu,
        enable_fault_injection: definition.enable_fault_injection,
        ephemeral_storage: definition.ephemeral_storage,
        execution_role_arn: definition.execution_role_arn,
        family: definition.family,
        inference_accelerators: definition.inference_accelerators,
        ipc_mode: definition.ipc_mode,
        memory: definition.memory,
        network_mode: definition.network_mode,
        pid_mode: definition.pid_mode,
        placement_constraints: definition.placement_constraints,
        proxy_configuration: definition.proxy_configuration,
        requires_compatibilities: definition.requires_compatibilities,
        runtime_platform: definition.runtime_platform,
        // AWS: an empty list of tags is refused.
        tags: (!tags.is_empty()).then_some(tags),
        task_role_arn: definition.task_role_arn,
        trusted_execution_configuration: definition.trusted_execution_configuration,
        volumes: definition.volumes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read() {
        let read = |container: Option<&str>, image: &str| {
            Ok(Image { container: container.map(str::to_owned), image: image.to_owned() })
        };
        for (text, wanted) in [
            ("web:2", read(None, "web:2")),
            ("web=registry:5000/shop/web:2", read(Some("web"), "registry:5000/shop/web:2")),
            ("web=web@sha256:00", read(Some("web"), "web@sha256:00")),
            ("", Err(())),
            ("web=", Err(())),
            ("=web", Err(())),
            ("a b", Err(())),
        ] {
            assert_eq!(image(text).map_err(drop), wanted, "{text}");
        }
    }

    #[test]
    fn the_next_revision_differs_in_its_images_only() {
        let container = |name: &str, essential| ecs::ContainerDefinition {
            name: Some(name.to_owned()),
            image: Some(format!("{name}:1")),
            memory: Some(64),
            essential: Some(essential),
            ..Default::default()
        };
        let definition = ecs::TaskDefinition {
            family: Some("web".into()),
            revision: Some(3),
            network_mode: Some("bridge".into()),
            requires_compatibilities: Some(vec!["EC2".into()]),
            container_definitions: Some(vec![container("log", false), container("app", true)]),
            ..Default::default()
        };
        let images = |texts: &[&str]| texts.iter().map(|text| image(text).unwrap()).collect::<Vec<_>>();
        let tags = vec![ecs::Tag { key: Some("k".into()), value: Some("v".into()) }];
        let made = next(definition.clone(), tags.clone(), &images(&["app:2", "log=log:7"])).unwrap().unwrap();
        let of = |made: &ecs::RegisterTaskDefinitionRequest| {
            let containers = made.container_definitions.iter().flatten();
            containers.map(|c| c.image.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(&made), ["log:7", "app:2"]);
        assert_eq!((made.family.as_deref(), made.network_mode.as_deref()), (Some("web"), Some("bridge")));
        assert_eq!(
            (made.tags, made.requires_compatibilities),
            (Some(tags), definition.requires_compatibilities.clone())
        );
        assert!(made.container_definitions.iter().flatten().all(|c| c.memory == Some(64)));
        assert!(next(definition.clone(), Vec::new(), &images(&["app:1"])).unwrap().is_none(), "nothing is new");
        assert!(next(definition.clone(), Vec::new(), &[]).unwrap().is_none());
        let error = next(definition, Vec::new(), &images(&["db=db:1"])).unwrap_err();
        assert!(format!("{error:#}").contains("web has no container db; it has: log, app"), "{error:#}");
    }
}
