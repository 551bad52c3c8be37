//! Tasks run on a machine in memory: crashes of the agent, losses of the runtime, orders of operations.

use super::*;
use crate::testing::{self, FakeNode, until};
use model::{HealthStatus, ObservedStatus, StopCode, TaskObservation};

struct Bench {
    node: Arc<FakeNode>,
    dir: tempfile::TempDir,
    effects: Effects,
    engine: Engine,
}

fn effects(seed: u64) -> Effects {
    Effects::simulated(seed, Timestamp(1_700_000_000_000))
}

async fn open(node: &Arc<FakeNode>, dir: &std::path::Path, effects: &Effects) -> Engine {
    let logs = LogHub::new(dir.to_owned(), effects.clone());
    Engine::open(node.clone(), Ledger::open(dir).unwrap(), logs, effects.clone()).await.unwrap()
}

async fn bench() -> Bench {
    let (node, dir, effects) = (FakeNode::new(), tempfile::tempdir().unwrap(), effects(1));
    let engine = open(&node, dir.path(), &effects).await;
    Bench { node, dir, effects, engine }
}

/// The agent dies (whatever was under way ends, nothing is written at the end) and another one begins.
async fn crash(bench: Bench, gap: impl FnOnce(&FakeNode)) -> Bench {
    let Bench { node, dir, effects: old, engine } = bench;
    drop(engine);
    assert!(old.drain(Duration::from_secs(600)).await);
    gap(&node);
    let effects = effects(2);
    let engine = open(&node, dir.path(), &effects).await;
    Bench { node, dir, effects, engine }
}

fn set(generation: u64, tasks: &[u32]) -> Assignments {
    let each: Vec<_> = tasks.iter().map(|n| testing::assignment(*n, &["web"])).collect();
    let definitions = each.first().map(|(a, d)| (a.definition.clone(), d.clone())).into_iter().collect();
    Assignments {
        epoch: 1,
        generation,
        since: None,
        definitions,
        tasks: each.into_iter().map(|(a, _)| a).collect(),
        gone: Vec::new(),
        images: Vec::new(),
    }
}

fn stopping(mut set: Assignments) -> Assignments {
    for task in &mut set.tasks {
        task.desired = Desired::Stopped(user());
    }
    set
}

fn user() -> Stop {
    Stop { code: StopCode::UserInitiated, reason: "Task stopped by user".into() }
}

fn seen(engine: &Engine) -> Vec<TaskObservation> {
    engine.board().views().iter().map(|v| v.state.observe(&v.plan.assignment.task)).collect()
}

async fn until_status(bench: &Bench, want: &ObservedStatus) {
    until(&bench.effects, &format!("{want:?}"), || {
        let all = seen(&bench.engine);
        !all.is_empty() && all.iter().all(|s| s.status == *want)
    })
    .await;
}

fn only_id(bench: &Bench) -> String {
    bench.node.containers().into_iter().next().expect("a container")
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_ends_is_told_and_forgotten() {
    let bench = bench().await;
    assert!(bench.engine.assign(set(1, &[1])).await.unwrap());
    until_status(&bench, &ObservedStatus::Running).await;
    bench.node.exit(&only_id(&bench), 3);
    until_status(&bench, &ObservedStatus::Stopped(Stop::essential_exited())).await;
    assert_eq!(seen(&bench.engine)[0].containers[0].exit_code, Some(3));
    assert_eq!(bench.engine.board().unreported(10).await.tasks.len(), 1, "changes of one task coalesce");
    assert!(bench.engine.assign(set(2, &[])).await.unwrap());
    until(&bench.effects, "forgotten", || bench.engine.tasks().is_empty()).await;
    assert!(Ledger::open(bench.dir.path()).unwrap().load().unwrap().is_empty());
    assert!(bench.node.containers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_set_leaves_all_others_as_they_are() {
    let bench = bench().await;
    let held = || bench.engine.tasks().into_iter().collect::<std::collections::BTreeSet<_>>();
    let named = |tasks: &[u32]| set(0, tasks).tasks.into_iter().map(|each| each.task).collect::<Vec<_>>();
    let among = |tasks: &[u32]| named(tasks).into_iter().collect();
    assert!(bench.engine.assign(set(3, &[1, 2])).await.unwrap());
    assert!(bench.engine.assign(Assignments { since: Some(3), ..set(5, &[3]) }).await.unwrap());
    assert_eq!(held(), among(&[1, 2, 3]));
    let stop = Assignments { since: Some(5), ..stopping(set(6, &[2])) };
    assert!(bench.engine.assign(stop).await.unwrap());
    let over =
        |bench: &Bench| seen(&bench.engine).iter().filter(|t| matches!(t.status, ObservedStatus::Stopped(_))).count();
    until(&bench.effects, "the one to stop has stopped", || over(&bench) == 1).await;
    assert!(bench.engine.assign(Assignments { since: Some(6), gone: named(&[2, 9]), ..set(8, &[]) }).await.unwrap());
    until(&bench.effects, "forgotten", || held() == among(&[1, 3])).await;
    // Of another set than the one that is here nothing is taken; an older one is refused as always.
    let unfounded = Assignments { since: Some(6), gone: named(&[1]), ..set(9, &[4]) };
    assert!(matches!(bench.engine.assign(unfounded.clone()).await, Err(EngineError::Unfounded)));
    assert!(!bench.engine.assign(Assignments { generation: 7, ..unfounded }).await.unwrap());
    assert_eq!(held(), among(&[1, 3]));
    assert!(bench.engine.assign(set(10, &[3])).await.unwrap());
    until(&bench.effects, "a whole set leaves nothing else", || held() == among(&[3])).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_set_is_refused_even_after_a_restart() {
    let bench = bench().await;
    assert!(bench.engine.assign(set(7, &[1])).await.unwrap());
    assert!(!bench.engine.assign(set(6, &[])).await.unwrap());
    let bench = crash(bench, |_| ()).await;
    assert!(!bench.engine.assign(set(6, &[])).await.unwrap());
    assert!(bench.engine.assign(set(7, &[1])).await.unwrap(), "the same set may come again");
    until_status(&bench, &ObservedStatus::Running).await;
}

#[tokio::test(start_paused = true)]
async fn exits_while_the_agent_is_away_are_found_with_their_codes() {
    let bench = bench().await;
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until_status(&bench, &ObservedStatus::Running).await;
    let id = only_id(&bench);
    let bench = crash(bench, |node| node.exit(&id, 42)).await;
    until_status(&bench, &ObservedStatus::Stopped(Stop::essential_exited())).await;
    assert_eq!(seen(&bench.engine)[0].containers[0].exit_code, Some(42));
}

#[tokio::test(start_paused = true)]
async fn containers_live_on_through_a_restart_and_can_still_be_stopped() {
    let bench = bench().await;
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until_status(&bench, &ObservedStatus::Running).await;
    let bench = crash(bench, |_| ()).await;
    assert_eq!(seen(&bench.engine).len(), 1, "known at once, before its owner had a turn");
    until_status(&bench, &ObservedStatus::Running).await;
    assert_eq!(bench.node.calls().iter().filter(|c| c.starts_with("start")).count(), 1, "{:?}", bench.node.calls());
    bench.engine.assign(stopping(set(2, &[1]))).await.unwrap();
    until_status(&bench, &ObservedStatus::Stopped(user())).await;
    assert_eq!(seen(&bench.engine)[0].containers[0].exit_code, Some(143));
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_does_not_know_is_removed() {
    let bench = bench().await;
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until_status(&bench, &ObservedStatus::Running).await;
    let ledger = bench.dir.path().join("tasks");
    let bench = crash(bench, |_| std::fs::remove_dir_all(ledger).unwrap()).await;
    assert!(bench.node.containers().is_empty());
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until_status(&bench, &ObservedStatus::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_or_container_is_found_when_the_runtime_is_back() {
    let bench = bench().await;
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until_status(&bench, &ObservedStatus::Running).await;
    bench.node.lose(&only_id(&bench));
    bench.node.reconnect();
    until_status(&bench, &ObservedStatus::Stopped(Stop::essential_exited())).await;
    let reason = seen(&bench.engine)[0].containers[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("ContainerVanishedError: No container matching saved ID found"));
}

#[tokio::test(start_paused = true)]
async fn a_removal_waits_for_the_creation_it_undoes() {
    let bench = bench().await;
    bench.node.gate.forget_permits(1000);
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until(&bench.effects, "creating", || bench.node.calls().contains(&"create web".to_owned())).await;
    bench.engine.assign(stopping(set(2, &[1]))).await.unwrap();
    until_status(&bench, &ObservedStatus::Stopping(user())).await;
    assert!(!bench.node.calls().contains(&"remove web".to_owned()));
    bench.node.gate.add_permits(1);
    until_status(&bench, &ObservedStatus::Stopped(user())).await;
    let calls = bench.node.calls();
    assert_eq!(calls[calls.len() - 2..], ["created web", "remove web"]);
    assert!(bench.node.containers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_turn_to_be_created_is_stopped_at_once() {
    let bench = bench().await;
    bench.node.gate.forget_permits(1000);
    let tasks: Vec<u32> = (1..=creates() as u32 + 1).collect();
    bench.engine.assign(set(1, &tasks)).await.unwrap();
    let asked = |what: &str| bench.node.calls().iter().filter(|call| **call == format!("{what} web")).count();
    until(&bench.effects, "as many creations as there may be", || asked("create") == creates()).await;
    bench.engine.assign(stopping(set(2, &tasks))).await.unwrap();
    // None of the creations that are under way ends, and still the one behind them is over.
    until(&bench.effects, "one stopped task", || {
        seen(&bench.engine).iter().any(|s| matches!(s.status, ObservedStatus::Stopped(_)))
    })
    .await;
    assert_eq!(asked("create"), creates());
    bench.node.gate.add_permits(creates());
    until_status(&bench, &ObservedStatus::Stopped(user())).await;
    assert!(bench.node.containers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_carry_their_names_and_stop_the_task() {
    for (what, reason) in [
        ("pull", "CannotPullContainerError: manifest unknown"),
        ("connect", "CannotStartContainerError: port is already allocated"),
        ("create", "CannotCreateContainerError: no"),
        ("start", "CannotStartContainerError: exec: not found"),
    ] {
        let bench = bench().await;
        bench.node.fail(what, reason);
        bench.engine.assign(set(1, &[1])).await.unwrap();
        until_status(&bench, &ObservedStatus::Stopped(Stop::failed_to_start())).await;
        let container = &seen(&bench.engine)[0].containers[0];
        assert_eq!((container.reason.as_deref(), container.exit_code), (Some(reason), None), "{what}");
        assert!(bench.node.containers().is_empty(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_ignore_the_signal_are_killed_after_their_time() {
    let bench = bench().await;
    bench.node.be_stubborn();
    bench.engine.assign(set(1, &[1])).await.unwrap();
    until_status(&bench, &ObservedStatus::Running).await;
    let asked = bench.effects.monotonic();
    bench.engine.assign(stopping(set(2, &[1]))).await.unwrap();
    until_status(&bench, &ObservedStatus::Stopped(user())).await;
    let took = bench.effects.monotonic() - asked;
    assert!((30..32).contains(&took.as_secs()), "{took:?}");
    assert_eq!(seen(&bench.engine)[0].containers[0].exit_code, Some(137));
}

/// Agents that die again and again at random moments, containers that end by themselves, and in the end every task stops and
/// nothing is left.
#[tokio::test(start_paused = true)]
async fn whatever_happens_every_stop_terminates_and_nothing_is_left() {
    for seed in 0..12 {
        let mut bench = bench().await;
        let chance = effects(seed);
        let tasks = [1, 2, 3, 4];
        bench.engine.assign(set(1, &tasks)).await.unwrap();
        for _ in 0..6 {
            bench.effects.sleep(Duration::from_millis(chance.random() % 4)).await;
            let victim = usize::try_from(chance.random() % 8).unwrap();
            let victim = bench.node.containers().get(victim).cloned();
            let code = i32::try_from(chance.random() % 256).unwrap();
            let die = |node: &FakeNode| victim.iter().for_each(|id| node.exit(id, code));
            if chance.random().is_multiple_of(2) {
                bench = crash(bench, die).await;
                bench.engine.assign(set(1, &tasks)).await.unwrap();
            } else {
                die(&bench.node);
            }
        }
        bench.engine.assign(stopping(set(2, &tasks))).await.unwrap();
        until(&bench.effects, &format!("all stopped, seed {seed}"), || {
            let all = seen(&bench.engine);
            all.len() == tasks.len() && all.iter().all(|s| matches!(s.status, ObservedStatus::Stopped(_)))
        })
        .await;
        assert!(bench.node.containers().is_empty(), "seed {seed}");
        bench.engine.assign(set(3, &[])).await.unwrap();
        until(&bench.effects, "forgotten", || bench.engine.tasks().is_empty()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn steps_on_the_way_are_told_with_the_end_of_it_or_soon() {
    let quick = bench().await;
    assert!(quick.engine.assign(set(1, &[1])).await.unwrap());
    let told = quick.engine.board().unreported(10).await.tasks;
    assert_eq!(told[0].status, ObservedStatus::Running, "pull, network and creation are not told by themselves");

    let bench = bench().await;
    bench.node.gate.forget_permits(1000);
    let began = bench.effects.monotonic();
    assert!(bench.engine.assign(set(1, &[1])).await.unwrap());
    let told = bench.engine.board().unreported(10).await.tasks;
    assert_eq!(told[0].status, ObservedStatus::Pending);
    let waited = bench.effects.monotonic().saturating_sub(began).as_millis();
    assert!((500..1_000).contains(&waited), "a task that does not start is told of all the same, after {waited} ms");
}

#[tokio::test(start_paused = true)]
async fn health_is_told_and_outlives_the_agent() {
    let mut checked = set(1, &[1]);
    Arc::make_mut(&mut checked.definitions[0].1).containers[0].health_check = Some(testing::check(5));
    let told = |bench: &Bench, want: HealthStatus| {
        seen(&bench.engine)[0].containers[0].health.is_some_and(|health| health.status == want)
    };
    let bench = bench().await;
    assert!(bench.engine.assign(checked).await.unwrap());
    until_status(&bench, &ObservedStatus::Running).await;
    assert!(told(&bench, HealthStatus::Unknown));
    until(&bench.effects, "healthy", || told(&bench, HealthStatus::Healthy)).await;
    let bench = crash(bench, |node| node.be_ill(true)).await;
    assert!(told(&bench, HealthStatus::Healthy), "what was known is not forgotten");
    until(&bench.effects, "unhealthy", || told(&bench, HealthStatus::Unhealthy)).await;
    bench.node.fail("probe", "the runtime is away");
    bench.node.be_ill(false);
    let before = bench.node.calls().len();
    until(&bench.effects, "two more probes", || bench.node.calls().len() >= before + 2).await;
    assert!(told(&bench, HealthStatus::Unhealthy), "who is not asked has not answered");
}

#[tokio::test]
async fn what_tasks_may_soon_be_made_of_is_passed_on_and_kept() {
    let bench = bench().await;
    for images in [vec!["a:1", "b:1"], vec!["b:1"]] {
        let images: Vec<Arc<str>> = images.into_iter().map(Arc::from).collect();
        let ahead = Assignments { images: images.clone(), ..set(1, &[]) };
        assert!(bench.engine.assign(ahead).await.unwrap());
        assert_eq!((bench.node.ahead(), bench.engine.board().wanted()), (images.clone(), images));
    }
    // An older set says nothing.
    assert!(!bench.engine.assign(set(0, &[])).await.unwrap());
    assert_eq!(bench.node.ahead().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_used_is_told_and_outlives_the_agent() {
    let told = async |bench: &Bench| bench.engine.board().unreported(10).await;
    let bench = bench().await;
    assert!(bench.engine.assign(set(1, &[1])).await.unwrap());
    until_status(&bench, &ObservedStatus::Running).await;
    assert_eq!(told(&bench).await.measured, [], "nobody has looked yet");
    bench.node.use_up(700, 130);
    let news = told(&bench).await;
    assert_eq!(news.tasks, [], "it is no change of the task");
    assert_eq!((news.measured[0].1.memory, news.measured[0].1.cpu_millis), (130, 700));

    // It gives most of it back, and the agent is killed: the most stays the most, and a new session is told of it.
    bench.node.use_up(900, 20);
    let bench = crash(bench, |_| ()).await;
    until_status(&bench, &ObservedStatus::Running).await;
    bench.engine.board().report_all();
    assert_eq!(told(&bench).await.measured[0].1.memory, 130);

    // The last look is told no later than the end, for then it goes into the ledger.
    bench.node.use_up(5_000, 20);
    bench.node.exit(&only_id(&bench), 0);
    until_status(&bench, &ObservedStatus::Stopped(Stop::essential_exited())).await;
    let last = told(&bench).await;
    assert_eq!((last.tasks.len(), last.measured.len()), (1, 1), "{last:?}");
    assert_eq!((last.measured[0].1.memory, last.measured[0].1.cpu_millis), (130, 5_000));
}
