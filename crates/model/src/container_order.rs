//! `dependsOn`: which containers of a task wait for which, and what of.

use crate::{ContainerDefinition, InvalidDefinition, definition_rules::refuse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDependency {
    /// Its name.
    pub container_name: String,
    /// What is waited for.
    pub condition: DependencyCondition,
}

/// What of another container is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DependencyCondition {
    /// That it has started.
    Start,
    /// That it has ended.
    Complete,
    /// That it has ended with 0.
    Success,
    /// That its health check has passed.
    Healthy,
}

impl DependencyCondition {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Start, Self::Complete, Self::Success, Self::Healthy];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Success => "SUCCESS",
            Self::Healthy => "HEALTHY",
        }
    }

    /// The one of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.as_str() == text)
    }
}

/// That every container can have its turn.
pub(crate) fn check(containers: &[ContainerDefinition]) -> Result<(), InvalidDefinition> {
    let by_name: BTreeMap<&str, &ContainerDefinition> = containers.iter().map(|c| (c.name.as_str(), c)).collect();
    for c in containers {
        let setting = |what: String| refuse(format!("Invalid 'dependsOn' setting for container '{}'. {what}", c.name));
        for (what, name) in c.used() {
            let found = by_name.get(name);
            let linked = found.filter(|on| what == "links" && on.disable_networking == Some(true));
            if found.is_none() || linked.is_some() {
                let but = if linked.is_some() { " with a network" } else { "" };
                return refuse(format!(
                    "Invalid '{what}' setting for container '{}'. There is no container '{name}'{but}.",
                    c.name
                ));
            }
        }
        for (name, condition) in c.dependencies() {
            let Some(on) = by_name.get(name) else {
                return setting(format!("There is no container '{name}'."));
            };
            match condition {
                // AWS: the task would end with it.
                DependencyCondition::Complete | DependencyCondition::Success if on.essential => {
                    return setting(format!("'{name}' is essential, so {} cannot be waited for.", condition.as_str()));
                }
                DependencyCondition::Healthy if !on.is_checked() => {
                    return setting(format!("'{name}' has no health check, so HEALTHY cannot be waited for."));
                }
                DependencyCondition::Start
                | DependencyCondition::Complete
                | DependencyCondition::Success
                | DependencyCondition::Healthy => {}
            }
        }
    }
    // Whoever waits for nobody that is left is done with, until none is left or all that are wait for each other.
    let mut left = by_name;
    loop {
        let waits = |c: &ContainerDefinition| c.dependencies().any(|(name, _)| left.contains_key(name));
        let done: Vec<&str> = left.iter().filter(|(_, c)| !waits(c)).map(|(name, _)| *name).collect();
        if done.is_empty() {
            break;
        }
        left.retain(|name, _| !done.contains(name));
    }
    match left.keys().next() {
        Some(name) => refuse(format!(
            "Invalid 'dependsOn', 'links' or 'volumesFrom' setting for container '{name}'. It depends on itself in the end."
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HealthCheck;

    #[test]
    fn every_container_must_be_able_to_have_its_turn() {
        let check = |edges: &[(usize, &str, DependencyCondition)], words: &str| {
            let container = |name: &str| ContainerDefinition {
                name: name.into(),
                essential: name == "app",
                health_check: (name == "db").then(|| HealthCheck {
                    command: vec!["CMD".into(), "true".into()],
                    interval: 30,
                    timeout: 5,
                    retries: 3,
                    start_period: None,
                }),
                ..ContainerDefinition::default()
            };
            let mut all = ["app", "db", "init"].map(container);
            for (at, on, condition) in edges {
                let condition = *condition;
                all[*at].depends_on.push(ContainerDependency { container_name: (*on).into(), condition });
            }
            match super::check(&all) {
                Ok(()) => assert_eq!(words, "", "{edges:?}"),
                Err(InvalidDefinition(text)) => assert!(!words.is_empty() && text.contains(words), "{text}"),
            }
        };
        use DependencyCondition::{Complete, Healthy, Start, Success};
        check(&[(0, "db", Healthy), (0, "init", Success), (1, "init", Complete)], "");
        check(&[(0, "nobody", Start)], "There is no container 'nobody'");
        check(&[(1, "app", Success)], "'app' is essential");
        check(&[(1, "app", Complete)], "'app' is essential");
        check(&[(0, "init", Healthy)], "no health check");
        check(&[(0, "app", Start)], "container 'app'. It depends on itself");
        check(&[(0, "db", Start), (1, "init", Start), (2, "app", Start)], "It depends on itself");
    }

    #[test]
    fn links_and_volumes_of_others_are_dependencies() {
        let check = |links: &[&str], from: &str, words: &str| {
            let container = |name: &str| ContainerDefinition { name: name.into(), ..ContainerDefinition::default() };
            let mut all = [container("app"), container("db"), container("deaf")];
            all[0].links = links.iter().map(|link| (*link).to_owned()).collect();
            all[1].volumes_from = vec![crate::VolumeFrom { source_container: from.into(), read_only: None }];
            all[2].disable_networking = Some(true);
            match super::check(&all) {
                Ok(()) => assert_eq!(words, "", "{links:?}"),
                Err(InvalidDefinition(text)) => assert!(!words.is_empty() && text.contains(words), "{text}"),
            }
        };
        check(&["db", "db:store"], "deaf", "");
        check(&["db"], "app", "It depends on itself");
        check(&["app"], "deaf", "container 'app'. It depends on itself");
        check(&["nobody:db"], "deaf", "Invalid 'links' setting for container 'app'. There is no container 'nobody'.");
        check(&["deaf"], "deaf", "There is no container 'deaf' with a network.");
        check(&[], "nobody", "Invalid 'volumesFrom' setting for container 'db'. There is no container 'nobody'.");
    }

    #[test]
    fn conditions_have_aws_words() {
        for condition in DependencyCondition::ALL {
            assert_eq!(DependencyCondition::parse(condition.as_str()), Some(condition));
        }
        assert_eq!(DependencyCondition::parse("start"), None);
    }
}
