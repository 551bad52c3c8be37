//! How a deployment goes about: task by task, or beside what there is, stage by stage.
//!
//! A BLUE_GREEN deployment brings the new revision ("green") up in full beside the old one ("blue"), goes through the stages
//! of a lifecycle, and lets the old one go at their end. At most of the stages hooks can have a say. Traffic is not shifted
//! here: a service without a load balancer has none that could be. LINEAR and CANARY are about nothing else, and so are
//! deliberately absent.

use crate::{TaskArn, TaskDefinitionArn, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `deploymentConfiguration.strategy`, with what belongs to it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum DeploymentStrategy {
    /// Old tasks are replaced by new ones within the bounds of the percentages.
    #[default]
    Rolling,
    /// All new tasks stand beside all old ones before these go.
    BlueGreen(BlueGreen),
}

impl DeploymentStrategy {
    /// AWS's word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Rolling => "ROLLING",
            Self::BlueGreen(_) => "BLUE_GREEN",
        }
    }

    /// Whether it is the one that has no lifecycle.
    pub fn is_rolling(&self) -> bool {
        match self {
            Self::Rolling => true,
            Self::BlueGreen(_) => false,
        }
    }

    /// Its hooks.
    pub fn hooks(&self) -> &[LifecycleHook] {
        match self {
            Self::Rolling => &[],
            Self::BlueGreen(how) => &how.hooks,
        }
    }
}

/// What a BLUE_GREEN deployment goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlueGreen {
    /// For how long the old revision stays after the last shift: `bakeTimeInMinutes`.
    pub bake_minutes: u32,
    /// Who has a say on the way.
    #[serde(default)]
    pub hooks: Vec<LifecycleHook>,
}

/// `DeploymentLifecycleHook`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleHook {
    /// Who decides.
    pub target: HookTarget,
    /// As the request gave it; nobody here asks for it.
    #[serde(default)]
    pub role: Option<Arc<str>>,
    /// When; at least one stage, each that may have hooks.
    pub stages: Vec<LifecycleStage>,
    /// A JSON document for the target.
    #[serde(default)]
    pub details: Option<Arc<str>>,
    /// How long it may take.
    pub timeout_minutes: u32,
    /// What then happens.
    pub on_timeout: HookAction,
}

/// Who decides at a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookTarget {
    /// A caller of ContinueServiceDeployment.
    Pause,
    /// Who answers at that http or https URL. Ours: AWS calls Lambda functions, with the same payload and answer.
    Http(Arc<str>),
    /// A task of that definition, which runs once for each turn: its exit code. Ours, too.
    Task(TaskDefinitionArn),
}

/// What a deployment does at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum HookAction {
    Continue,
    RollBack,
}

impl HookAction {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::RollBack => "ROLLBACK",
        }
    }
}

/// `ServiceDeploymentLifecycleStage`, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's names say it.
pub enum LifecycleStage {
    ReconcileService,
    PreScaleUp,
    ScaleUp,
    PostScaleUp,
    TestTrafficShift,
    PostTestTrafficShift,
    PreProductionTrafficShift,
    ProductionTrafficShift,
    PostProductionTrafficShift,
    BakeTime,
    CleanUp,
}

impl LifecycleStage {
    /// All of them, in their order.
    pub const ALL: [Self; 11] = [
        Self::ReconcileService,
        Self::PreScaleUp,
        Self::ScaleUp,
        Self::PostScaleUp,
        Self::TestTrafficShift,
        Self::PostTestTrafficShift,
        Self::PreProductionTrafficShift,
        Self::ProductionTrafficShift,
        Self::PostProductionTrafficShift,
        Self::BakeTime,
        Self::CleanUp,
    ];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReconcileService => "RECONCILE_SERVICE",
            Self::PreScaleUp => "PRE_SCALE_UP",
            Self::ScaleUp => "SCALE_UP",
            Self::PostScaleUp => "POST_SCALE_UP",
            Self::TestTrafficShift => "TEST_TRAFFIC_SHIFT",
            Self::PostTestTrafficShift => "POST_TEST_TRAFFIC_SHIFT",
            Self::PreProductionTrafficShift => "PRE_PRODUCTION_TRAFFIC_SHIFT",
            Self::ProductionTrafficShift => "PRODUCTION_TRAFFIC_SHIFT",
            Self::PostProductionTrafficShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Self::BakeTime => "BAKE_TIME",
            Self::CleanUp => "CLEAN_UP",
        }
    }

    /// The stage that AWS calls so.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }

    /// The one after it.
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage > self)
    }

    /// Whether hooks may have a say in it. Source: `DeploymentLifecycleHook$lifecycleStages`.
    pub fn takes_hooks(self) -> bool {
        match self {
            Self::ScaleUp | Self::BakeTime | Self::CleanUp => false,
            Self::ReconcileService
            | Self::PreScaleUp
            | Self::PostScaleUp
            | Self::TestTrafficShift
            | Self::PostTestTrafficShift
            | Self::PreProductionTrafficShift
            | Self::ProductionTrafficShift
            | Self::PostProductionTrafficShift => true,
        }
    }

    /// Whether traffic moves in it, so that a way back has to go through it, and nobody may pause it.
    pub fn shifts_traffic(self) -> bool {
        match self {
            Self::TestTrafficShift | Self::ProductionTrafficShift => true,
            Self::ReconcileService
            | Self::PreScaleUp
            | Self::ScaleUp
            | Self::PostScaleUp
            | Self::PostTestTrafficShift
            | Self::PreProductionTrafficShift
            | Self::PostProductionTrafficShift
            | Self::BakeTime
            | Self::CleanUp => false,
        }
    }
}

/// How far a deployment has come in its lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Where it is.
    pub stage: LifecycleStage,
    /// Since when.
    pub since: Timestamp,
    /// What became of its hooks, in the order in which their turn came.
    #[serde(default)]
    pub hooks: Vec<HookRun>,
}

/// One turn of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Its name within the deployment: `hookId`.
    pub id: Arc<str>,
    /// Which of the deployment's hooks, counted from 0.
    pub hook: usize,
    /// In which stage.
    pub stage: LifecycleStage,
    /// Whether on the way back.
    #[serde(default)]
    pub back: bool,
    /// What became of it.
    pub status: HookStatus,
    /// Until when it may take.
    pub expires_at: Timestamp,
    /// When its target is asked next.
    #[serde(default)]
    pub call_at: Option<Timestamp>,
    /// Calls in a row that did not reach it.
    #[serde(default)]
    pub calls_failed: u32,
    /// What the target wants to be told when it is asked again: a JSON document.
    #[serde(default)]
    pub details: Option<Arc<str>>,
    /// The task that was started for it. None: its target is none, or it has yet to find a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskArn>,
}

/// `DeploymentLifecycleHookStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's names say it.
pub enum HookStatus {
    AwaitingAction,
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
}

impl HookStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingAction => "AWAITING_ACTION",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    /// Whether it is yet to be decided.
    pub fn is_open(self) -> bool {
        match self {
            Self::AwaitingAction | Self::InProgress => true,
            Self::Succeeded | Self::Failed | Self::TimedOut => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_come_one_after_the_other() {
        let mut stage = LifecycleStage::ReconcileService;
        let mut seen = vec![stage];
        while let Some(next) = stage.next() {
            stage = next;
            seen.push(stage);
        }
        assert_eq!(seen, LifecycleStage::ALL);
        for stage in LifecycleStage::ALL {
            assert_eq!(LifecycleStage::parse(stage.as_str()), Some(stage));
        }
        assert_eq!(LifecycleStage::parse("scale_up"), None);
    }
}
