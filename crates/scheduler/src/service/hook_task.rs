//! A lifecycle hook whose target is a task: what is to be done about it, given its turn and the task as they are now.
//!
//! The turn's record names its task from the very commit that starts it, so there is never one too many; whoever looks again, after
//! whatever happened, finds the same. The task's exit code is the hook's answer. A task is not the hook's affair any more when
//! its turn is over, and nobody else's: it stops.

use model::{HookRun, StopCode, Task, TaskStatus};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its task starts, as soon as it finds a place.
    Start,
    /// Nothing: the task is on its way.
    Wait,
    /// The hook lets the deployment go on.
    Succeeded,
    /// It does not; why, as a sentence.
    Failed(String),
    /// Its task stops: what it says is not asked for any more.
    Stop,
    /// Nothing ever again.
    Over,
}

/// What is to be done about a turn; `task` is the one that it names, if that is known. No turn: it is forgotten with its deployment.
pub fn step(run: Option<&HookRun>, task: Option<&Task>) -> Step {
    match run.filter(|run| run.status.is_open()) {
        None => match task {
            Some(task) if !task.is_to_stop() => Step::Stop,
            Some(_) | None => Step::Over,
        },
        Some(run) if run.task.is_none() => Step::Start,
        Some(_) => match task {
            Some(task) if task.last_status() == TaskStatus::Stopped => answer(task),
            Some(_) => Step::Wait,
            // Stopped tasks are kept for an hour at least.
            None => Step::Failed("its task is forgotten.".to_owned()),
        },
    }
}

fn answer(task: &Task) -> Step {
    let id = &task.arn.id;
    let Some(stop) = task.stop() else { return Step::Wait };
    match stop.code {
        // What was killed for want of memory, or whose code is lost, has not succeeded, whatever the others say.
        StopCode::EssentialContainerExited if let Some(failed) = not_well(task) => {
            Step::Failed(format!("its (task {id}) {failed}."))
        }
        StopCode::EssentialContainerExited => match task.exit_code() {
            Some(0) => Step::Succeeded,
            Some(code) => Step::Failed(format!("its (task {id}) exited with code {code}.")),
            None => Step::Failed(format!("its (task {id}) ended without an exit code.")),
        },
        StopCode::TaskFailedToStart
        | StopCode::UserInitiated
        | StopCode::ServiceSchedulerInitiated
        | StopCode::TerminationNotice
        | StopCode::SpotInterruption => {
            Step::Failed(format!("its (task {id}) stopped: {}.", stop.reason.trim_end_matches('.')))
        }
    }
}

/// Why an essential container ended, where its exit code does not say it.
fn not_well(task: &Task) -> Option<String> {
    let mut essential = task.containers.iter().filter(|container| container.essential);
    let (name, reason) = essential.find_map(|container| Some((&container.name, container.reason.as_ref()?)))?;
    Some(format!("container {name} ended: {}", reason.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::world::{Wish, World};
    use model::{ContainerStatus, HookStatus, LifecycleStage, Phase, Stop, Timestamp};

    fn run(status: HookStatus, task: Option<&Task>) -> HookRun {
        HookRun {
            id: "post-scale-up-1".into(),
            hook: 0,
            stage: LifecycleStage::PostScaleUp,
            back: false,
            status,
            expires_at: Timestamp(1),
            call_at: None,
            calls_failed: 0,
            details: None,
            task: task.map(|task| task.arn.clone()),
        }
    }

    /// A task of one container, and as it is when it has stopped.
    fn task() -> Task {
        let mut world = World::new(&["a"], 1, &Wish { checked: true, ..Wish::default() });
        world.think();
        world.tasks.remove(0)
    }

    fn stopped(code: StopCode, exit: Option<i32>) -> Task {
        let mut task = task();
        task.containers[0].status = ContainerStatus::Stopped;
        task.containers[0].exit_code = exit;
        task.phase = Phase::Stopped { at: Timestamp(5), why: Stop { code, reason: "because.".into() } };
        task
    }

    #[test]
    fn a_task_answers_with_its_exit_code() {
        let id = "00000000000000000000000000000001";
        let failed = |why: &str| Step::Failed(format!("its (task {id}) {why}."));
        for (task, want) in [
            (task(), Step::Wait),
            (stopped(StopCode::EssentialContainerExited, Some(0)), Step::Succeeded),
            (stopped(StopCode::EssentialContainerExited, Some(3)), failed("exited with code 3")),
            (stopped(StopCode::EssentialContainerExited, Some(143)), failed("exited with code 143")),
            (stopped(StopCode::EssentialContainerExited, None), failed("ended without an exit code")),
            (stopped(StopCode::UserInitiated, Some(0)), failed("stopped: because")),
            (stopped(StopCode::TaskFailedToStart, None), failed("stopped: because")),
        ] {
            assert_eq!(step(Some(&run(HookStatus::InProgress, Some(&task))), Some(&task)), want, "{task:?}");
        }
        // Another essential container, which is told to end with it, ends well.
        let mut killed = stopped(StopCode::EssentialContainerExited, Some(137));
        let mut proxy = killed.containers[0].clone();
        (proxy.name, proxy.exit_code) = ("proxy".into(), Some(0));
        killed.containers.push(proxy);
        killed.containers[0].reason = Some("OutOfMemoryError: it wanted more.".into());
        let name = killed.containers[0].name.clone();
        let want = failed(&format!("container {name} ended: OutOfMemoryError: it wanted more"));
        assert_eq!(step(Some(&run(HookStatus::InProgress, Some(&killed))), Some(&killed)), want);
    }

    #[test]
    fn a_turn_has_one_task_while_it_is_open_and_none_after() {
        let task = task();
        let mut ending = task.clone();
        assert!(ending.request_stop(Stop { code: StopCode::UserInitiated, reason: "r".into() }, Timestamp(2)));
        let open = |task| run(HookStatus::InProgress, task);
        assert_eq!(step(Some(&open(None)), None), Step::Start);
        assert_eq!(step(Some(&open(Some(&task))), Some(&ending)), Step::Wait);
        assert_eq!(step(Some(&open(Some(&task))), None), Step::Failed("its task is forgotten.".to_owned()));
        for over in [HookStatus::Succeeded, HookStatus::Failed, HookStatus::TimedOut] {
            let over = run(over, Some(&task));
            assert_eq!(step(Some(&over), Some(&task)), Step::Stop);
            assert_eq!(step(Some(&over), Some(&ending)), Step::Over);
            assert_eq!(step(Some(&over), None), Step::Over);
        }
        assert_eq!(step(None, Some(&task)), Step::Stop);
    }
}
