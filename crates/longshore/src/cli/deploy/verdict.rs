//! What became of a deployment, from one look at its service. Pure.

use shapes::ecs;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is on its way.
    InProgress,
    Completed,
    /// The circuit breaker ended it and went back nowhere.
    Failed(String),
    /// It was ended, by the circuit breaker or somebody, and another definition is being brought back.
    RollingBack(String),
    /// And has been.
    RolledBack(String),
    /// Or could not be: what became of the way back.
    NotRolledBack(String),
    /// Somebody deployed something else meanwhile: this definition.
    Superseded(String),
    /// The service is no longer active.
    Deleted,
}

impl Verdict {
    /// Whether it will become nothing else.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::InProgress | Self::RollingBack(_) => false,
            Self::Completed
            | Self::Failed(_)
            | Self::RolledBack(_)
            | Self::NotRolledBack(_)
            | Self::Superseded(_)
            | Self::Deleted => true,
        }
    }
}

/// What became of deployment `ours`, which was to replace definition `former`, if there was one that was completed.
pub(super) fn of(service: &ecs::Service, ours: &str, former: Option<&str>) -> Verdict {
    let deployments = service.deployments.as_deref().unwrap_or_default();
    let primary = deployments.iter().find(|d| d.status.as_deref() == Some("PRIMARY"));
    let (Some("ACTIVE"), Some(primary)) = (service.status.as_deref(), primary) else { return Verdict::Deleted };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let state = primary.rollout_state.as_deref();
    // A deployment controller that tells no state leaves the counts.
    let settled = deployments.len() == 1 && service.running_count == service.desired_count;
    let completed = state == Some("COMPLETED") || (state.is_none() && settled);
    if primary.id.as_deref() == Some(ours) {
        return match state {
            Some("FAILED") => Verdict::Failed(text(&primary.rollout_state_reason)),
            _ if completed => Verdict::Completed,
            _ => Verdict::InProgress,
        };
    }
    let own = deployments.iter().find(|d| d.id.as_deref() == Some(ours));
    let failed = own.filter(|d| d.rollout_state.as_deref() == Some("FAILED"));
    let says_so = primary.rollout_state_reason.as_deref().is_some_and(|reason| reason.contains("rolling back"));
    if failed.is_none() && !says_so && former.is_none_or(|former| primary.task_definition.as_deref() != Some(former)) {
        return Verdict::Superseded(text(&primary.task_definition));
    }
    let reason = text(&failed.unwrap_or(primary).rollout_state_reason);
    match state {
        Some("FAILED") => Verdict::NotRolledBack(text(&primary.rollout_state_reason)),
        _ if completed => Verdict::RolledBack(reason),
        _ => Verdict::RollingBack(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKER: &str = "ECS deployment circuit breaker: tasks failed to start.";
    const BACK: &str = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.";

    fn deployment(id: &str, status: &str, definition: &str, state: Option<&str>, reason: &str) -> ecs::Deployment {
        ecs::Deployment {
            id: Some(id.into()),
            status: Some(status.into()),
            task_definition: Some(definition.into()),
            rollout_state: state.map(str::to_owned),
            rollout_state_reason: Some(reason.into()),
            ..Default::default()
        }
    }

    #[test]
    fn deployments_are_judged() {
        let ours = |status, state, reason| deployment("new", status, "web:2", state, reason);
        let (begun, done, bad) = (Some("IN_PROGRESS"), Some("COMPLETED"), Some("FAILED"));
        let old = || deployment("old", "ACTIVE", "web:1", done, "");
        for (deployments, wanted) in [
            (vec![ours("PRIMARY", begun, ""), old()], Verdict::InProgress),
            (vec![ours("PRIMARY", done, "")], Verdict::Completed),
            (vec![ours("PRIMARY", bad, BREAKER), old()], Verdict::Failed(BREAKER.into())),
            (
                vec![deployment("back", "PRIMARY", "web:1", begun, BACK), ours("ACTIVE", bad, BREAKER)],
                Verdict::RollingBack(BREAKER.into()),
            ),
            (vec![deployment("back", "PRIMARY", "web:1", begun, BACK)], Verdict::RollingBack(BACK.into())),
            (
                vec![deployment("back", "PRIMARY", "web:1", done, BACK), ours("ACTIVE", bad, BREAKER)],
                Verdict::RolledBack(BREAKER.into()),
            ),
            (vec![deployment("back", "PRIMARY", "web:1", done, "")], Verdict::RolledBack(String::new())),
            (
                vec![deployment("back", "PRIMARY", "web:1", bad, "it failed too"), ours("ACTIVE", bad, BREAKER)],
                Verdict::NotRolledBack("it failed too".into()),
            ),
            (
                vec![deployment("other", "PRIMARY", "web:3", begun, ""), ours("ACTIVE", begun, "")],
                Verdict::Superseded("web:3".into()),
            ),
            (vec![ours("PRIMARY", None, "")], Verdict::Completed),
            (vec![ours("PRIMARY", None, ""), old()], Verdict::InProgress),
            (vec![], Verdict::Deleted),
        ] {
            let said = format!("{deployments:?}");
            let service = ecs::Service {
                status: Some("ACTIVE".into()),
                deployments: Some(deployments),
                running_count: Some(2),
                desired_count: Some(2),
                ..Default::default()
            };
            let got = of(&service, "new", Some("web:1"));
            assert_eq!(got, wanted, "{said}");
            let draining = ecs::Service { status: Some("DRAINING".into()), ..service };
            assert_eq!(of(&draining, "new", Some("web:1")), Verdict::Deleted);
        }
    }
}
