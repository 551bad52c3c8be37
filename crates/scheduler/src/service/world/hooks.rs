//! Lifecycle hooks of the tests' cluster: who answers, and the tasks that answer with their exit codes.
//!
//! What is to be done about a hook's task is the real `hook_task::step`'s to say; here it is done as the server's loop does it.

use super::World;
use crate::service::{
    Place, Start, events,
    hook_task::{Step, step},
};
use model::{
    Container, ContainerArn, ContainerStatus, DeploymentId, HookRun, HookStatus, HookTarget, Phase,
    ServiceDeploymentId, Stop, StopCode, Task, TaskId,
};
use std::sync::Arc;

/// Tasks of hooks are numbered from here, the service's own from 1.
pub(in crate::service) const FIRST: usize = 901;

impl World {
    /// A caller of ContinueServiceDeployment, or a hook's target, has its say on the first open hook.
    pub(in crate::service) fn answer_hook(&mut self, status: HookStatus) {
        let id = self.story().map(|story| story.arn.id.clone());
        let Some(story) = id.and_then(|id| self.stories.get_mut(&id)) else { return };
        let mut hooks = story.lifecycle.iter_mut().flat_map(|lifecycle| &mut lifecycle.hooks);
        if let Some(run) = hooks.find(|run| run.status.is_open()) {
            run.status = status;
        }
    }

    /// Does what is to be done about hooks that are tasks. True if anything happened.
    pub(in crate::service) fn run_hooks(&mut self) -> bool {
        let mut happened = false;
        let turns: Vec<(ServiceDeploymentId, DeploymentId, HookRun)> = self
            .stories
            .values()
            .filter(|story| story.rules.strategy.hooks().iter().any(|hook| matches!(hook.target, HookTarget::Task(_))))
            .flat_map(|story| {
                let runs = story.lifecycle.iter().flat_map(|lifecycle| &lifecycle.hooks);
                runs.map(|run| (story.arn.id.clone(), story.target.id, run.clone()))
            })
            .collect();
        for (story, target, run) in turns {
            let known = run.task.as_ref().and_then(|arn| self.hook_tasks.iter().find(|task| task.arn == *arn));
            let todo = step(Some(&run), known);
            happened |= self.do_for_hook(&todo, &story, target, &run);
        }
        happened
    }

    fn do_for_hook(&mut self, todo: &Step, story: &ServiceDeploymentId, target: DeploymentId, run: &HookRun) -> bool {
        let name = self.service.arn.name.clone();
        match todo {
            Step::Start => {
                let Some(task) = self.hook_task(story, target, run) else { return false };
                self.told.push((self.now, events::hook_runs(&name, target, &run.id, &task.arn.id)));
                self.turn_of(story, &run.id).task = Some(task.arn.clone());
                self.hook_tasks.push(task);
            }
            Step::Succeeded => self.turn_of(story, &run.id).status = HookStatus::Succeeded,
            Step::Failed(why) => {
                self.told.push((self.now, events::hook_failed(&name, target, &run.id, why)));
                self.turn_of(story, &run.id).status = HookStatus::Failed;
            }
            Step::Stop => {
                let why = Stop { code: StopCode::ServiceSchedulerInitiated, reason: "its turn is over".into() };
                let task = self.hook_tasks.iter_mut().find(|task| Some(&task.arn) == run.task.as_ref()).unwrap();
                assert!(task.request_stop(why.clone(), self.now));
                task.end_without_node(why, self.now);
            }
            Step::Wait | Step::Over => return false,
        }
        true
    }

    fn turn_of(&mut self, story: &ServiceDeploymentId, hook: &str) -> &mut HookRun {
        let lifecycle = self.stories.get_mut(story).unwrap().lifecycle.as_mut().unwrap();
        lifecycle.hooks.iter_mut().find(|run| &*run.id == hook).unwrap()
    }

    /// One that runs, if there is a place for it.
    fn hook_task(&mut self, story: &ServiceDeploymentId, target: DeploymentId, run: &HookRun) -> Option<Task> {
        let instance = self.place(&Place::Anywhere)?;
        let start = Start { deployment: target, count: 1, provider: None, place: Place::Anywhere, replaces: 0 };
        self.make_task(&start, instance);
        let mut task = self.tasks.pop()?;
        task.arn.id = TaskId::parse(format!("{:032x}", FIRST + self.hook_tasks.len())).unwrap();
        task.group = "family:smoke".into();
        task.started_by = Some(format!("{story}/{}", run.id).into());
        task.containers = vec![Container {
            arn: ContainerArn { task: task.arn.clone(), id: "main".into() },
            health: None,
            ..super::container(&task.arn)
        }];
        task.phase = Phase::Running;
        task.times.started = Some(self.now);
        Some(task)
    }

    /// The last hook's task ends: with that exit code, or without one because somebody stops it.
    pub(in crate::service) fn end_hook(&mut self, code: Option<i32>) {
        let now = self.now;
        let task = self.hook_tasks.last_mut().expect("a hook has a task");
        assert!(task.stopped_at().is_none(), "it has ended");
        task.containers[0].status = ContainerStatus::Stopped;
        task.containers[0].exit_code = code;
        let by_hand = || Stop { code: StopCode::UserInitiated, reason: Arc::from("stopped by hand") };
        task.end_without_node(code.map_or_else(by_hand, |_| Stop::essential_exited()), now);
    }
}
