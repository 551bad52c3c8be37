//! The laws of a task, as properties over random histories, and the stories people ask about, as tables.

mod order;
mod restart;

use super::*;
use model::{ContainerStatus, DependencyCondition, HealthStatus, Measured, ObservedStatus, TaskArn};
use proptest::prelude::*;

const T0: Timestamp = Timestamp(1_700_000_000_000);

fn definition(name: &str, essential: bool) -> ContainerDefinition {
    ContainerDefinition { name: name.into(), essential, ..ContainerDefinition::default() }
}

/// The essential ones have a health check, tried every 10 s.
fn checked_task(essential: &[bool]) -> TaskState {
    let mut state = task(essential);
    for container in state.containers.iter_mut().filter(|container| container.essential) {
        container.watch = Watch::new(&crate::testing::check(10));
    }
    state
}

fn task(essential: &[bool]) -> TaskState {
    let definitions: Vec<_> = essential.iter().enumerate().map(|(i, e)| definition(&format!("c{i}"), *e)).collect();
    TaskState::new(false, definitions.iter().map(|d| (d, Arc::from(format!("id-{}", d.name)), false)))
}

/// A task with a network interface of its own.
fn connected_task() -> TaskState {
    TaskState { interface: Some(Interface::Waiting), ..task(&[true, false]) }
}

fn arn() -> TaskArn {
    "arn:aws:ecs:us-east-1:123456789012:task/demo/aaaabbbbccccddddeeeeffff00001111".parse().expect("an ARN")
}

fn pulled() -> Happened {
    Happened::Pulled(Pulled { digest: "sha256:d".into(), image_id: "sha256:i".into(), stop_signal: 15 })
}

fn user() -> Stop {
    Stop { code: StopCode::UserInitiated, reason: "Task stopped by user".into() }
}

fn at(index: usize, happened: Happened) -> Event {
    Event::Container(index, happened)
}

/// Applies events and answers the last effects.
fn play(state: &mut TaskState, events: &[Event]) -> Vec<Effect> {
    let mut last = Vec::new();
    for event in events {
        last = step(state, event, T0);
    }
    last
}

fn to_running(index: usize) -> [Event; 4] {
    [
        at(index, pulled()),
        at(index, Happened::Connected(Endpoint::default())),
        at(index, Happened::Created),
        at(index, Happened::Started),
    ]
}

fn status(state: &TaskState) -> ObservedStatus {
    state.observe(&arn()).status
}

#[test]
fn an_interface_comes_first_and_goes_last() {
    use model::AttachmentState::{Attached, Deleted, Detaching, Precreated};
    let mut state = connected_task();
    let seen = |state: &TaskState| state.observe(&arn()).attachment;
    assert_eq!(play(&mut state, &[Event::Assigned]), [Effect::Attach], "nothing is pulled before it is there");
    assert_eq!(seen(&state), Some(Precreated));
    assert_eq!(play(&mut state, &[Event::Resumed]), [Effect::Attach], "an agent that comes back makes it anew");
    let pulls = [Effect::Begin(0, Operation::Pull), Effect::Begin(1, Operation::Pull)];
    assert_eq!(play(&mut state, &[Event::Attached]), pulls);
    assert_eq!(play(&mut state, &[Event::Attached, Event::NotAttached("late".into())]), []);
    assert_eq!(seen(&state), Some(Attached));
    play(&mut state, &to_running(0));
    play(&mut state, &to_running(1));
    play(&mut state, &[at(0, Happened::Exited { code: Some(0), oom: false }), at(0, Happened::Removed)]);
    assert_eq!(seen(&state), Some(Attached), "the other container still uses it");
    play(&mut state, &[at(1, Happened::Exited { code: Some(0), oom: false })]);
    assert_eq!(play(&mut state, &[at(1, Happened::Removed)]), [Effect::Clear]);
    assert_eq!((seen(&state), state.is_stopped()), (Some(Detaching), false));
    play(&mut state, &[Event::Cleared]);
    assert_eq!((seen(&state), state.is_stopped()), (Some(Deleted), true));
}

#[test]
fn a_task_without_its_interface_never_starts() {
    let failed = |reason: &str| Stop { code: StopCode::TaskFailedToStart, reason: reason.into() };
    for (event, want) in [
        (Event::NotAttached("ResourceInitializationError: no".into()), failed("ResourceInitializationError: no")),
        (Event::DesiredStopped(user()), user()),
    ] {
        let mut state = connected_task();
        play(&mut state, &[Event::Assigned]);
        assert_eq!(play(&mut state, &[event]), [Effect::Clear], "what there is of it is taken away");
        assert_eq!(status(&state), ObservedStatus::Stopping(want.clone()));
        play(&mut state, &[Event::Attached, Event::Cleared]);
        assert_eq!(status(&state), ObservedStatus::Stopped(want));
    }
    let mut state = connected_task();
    play(&mut state, &[Event::Assigned]);
    let by = state.next_deadline().expect("it is not waited for for ever");
    assert_eq!(step(&mut state, &Event::Tick, by), [Effect::Clear]);
    let reason = "Timeout waiting for network interface provisioning to complete.";
    assert_eq!(status(&state), ObservedStatus::Stopping(failed(reason)));
    // Stopped before anything was done for it.
    let mut state = connected_task();
    assert_eq!(play(&mut state, &[Event::DesiredStopped(user())]), [Effect::Clear]);
}

#[test]
fn what_a_task_is_given_comes_before_everything_else() {
    let given = || TaskState { provision: Some(Provisioning::Waiting), ..connected_task() };
    let mut state = given();
    assert_eq!(play(&mut state, &[Event::Assigned]), [Effect::Attach, Effect::Provide], "both at once");
    assert_eq!(play(&mut state, &[Event::Attached]), [], "the one is not enough");
    assert_eq!(play(&mut state, &[Event::Resumed]), [Effect::Provide], "an agent that comes back asks again");
    let pulls = [Effect::Begin(0, Operation::Pull), Effect::Begin(1, Operation::Pull)];
    assert_eq!(play(&mut state, &[Event::Provided]), pulls);
    assert_eq!(play(&mut state, &[Event::Provided, Event::NotProvided("late".into())]), []);
    assert_eq!(state.stop, None);

    // Without it the task never starts, and says why.
    let mut state = given();
    play(&mut state, &[Event::Assigned]);
    let why = "ResourceInitializationError: unable to pull secrets or registry auth: no";
    assert_eq!(play(&mut state, &[Event::NotProvided(why.into())]), [Effect::Clear]);
    let failed = |reason: &str| Stop { code: StopCode::TaskFailedToStart, reason: reason.into() };
    assert_eq!(status(&state), ObservedStatus::Stopping(failed(why)));
    let mut state = given();
    play(&mut state, &[Event::Assigned, Event::Attached]);
    let by = state.next_deadline().expect("it is not waited for for ever");
    assert_eq!(step(&mut state, &Event::Tick, by), [Effect::Clear]);
    let why = "ResourceInitializationError: unable to pull secrets or registry auth: the server did not answer in time";
    assert_eq!(status(&state), ObservedStatus::Stopping(failed(why)));
}

#[test]
fn the_good_way_through() {
    let mut state = task(&[true, false]);
    let begin = play(&mut state, &[Event::Assigned]);
    assert_eq!(begin, [Effect::Begin(0, Operation::Pull), Effect::Begin(1, Operation::Pull)], "both at once");
    play(&mut state, &to_running(0));
    assert_eq!(status(&state), ObservedStatus::Running, "only essential containers count");
    play(&mut state, &to_running(1));
    assert_eq!(state.pull_stopped, Some(T0));
    let effects = play(&mut state, &[at(1, Happened::Exited { code: Some(3), oom: false })]);
    assert_eq!(effects, [Effect::Begin(1, Operation::Remove)]);
    assert_eq!(status(&state), ObservedStatus::Running, "a sidecar's end is its own affair");
    let effects = play(&mut state, &[at(0, Happened::Exited { code: Some(0), oom: false })]);
    assert_eq!(effects, [Effect::Begin(0, Operation::Remove)]);
    assert_eq!(status(&state), ObservedStatus::Stopping(Stop::essential_exited()));
    let effects = play(&mut state, &[at(0, Happened::Removed), at(1, Happened::Removed)]);
    assert_eq!(effects, [Effect::Clear]);
    play(&mut state, &[Event::Cleared]);
    assert_eq!(status(&state), ObservedStatus::Stopped(Stop::essential_exited()));
    let seen = state.observe(&arn());
    assert_eq!(seen.containers.iter().map(|c| c.exit_code).collect::<Vec<_>>(), [Some(0), Some(3)]);
    assert_eq!(seen.containers[0].status, ContainerStatus::Stopped);
    assert_eq!(play(&mut state, &[Event::Dropped]), [Effect::Forget]);
    assert_eq!(state.next_deadline(), None);
}

#[test]
fn an_essential_exit_stops_the_others_politely_then_not() {
    let mut state = task(&[true, true]);
    state.containers[1].stop_timeout = 7;
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    play(&mut state, &to_running(1));
    let effects = play(&mut state, &[at(0, Happened::Exited { code: Some(1), oom: false })]);
    assert_eq!(effects, [Effect::Begin(0, Operation::Remove), Effect::Signal(1)]);
    let early = step(&mut state, &Event::Tick, T0.plus_millis(6_999));
    assert_eq!(early, []);
    let due = step(&mut state, &Event::Tick, T0.plus_millis(7_000));
    assert_eq!(due, [Effect::Kill(1)]);
}

#[test]
fn reasons_are_the_originals() {
    let check = |events: &[Event], now: i64, want: &str| {
        let mut state = task(&[true]);
        play(&mut state, &[Event::Assigned]);
        play(&mut state, events);
        step(&mut state, &Event::Tick, T0.plus_millis(now));
        assert_eq!(state.containers[0].reason.as_deref(), Some(want));
        assert!(matches!(state.containers[0].phase, Phase::Removing { .. }), "{:?}", state.containers[0].phase);
        state.stop.expect("an essential container's failure stops the task")
    };
    let running = to_running(0);
    let failed = |operation, reason: &str| at(0, Happened::Failed(operation, reason.into()));
    let timeout = "DockerTimeoutError: Could not transition to";
    let never = Stop::failed_to_start();
    assert_eq!(
        check(&[failed(Operation::Pull, "CannotPullContainerError: no")], 0, "CannotPullContainerError: no"),
        never
    );
    assert_eq!(check(&[], limits::PULL, &format!("{timeout} PULLED; timed out after waiting 2h0m0s")), never);
    assert_eq!(
        check(
            &running[..2],
            limits::QUEUE + limits::CREATE,
            &format!("{timeout} CREATED; timed out after waiting 4m0s")
        ),
        never
    );
    assert_eq!(
        check(
            &running[..3],
            limits::QUEUE + limits::START,
            &format!("{timeout} RUNNING; timed out after waiting 3m0s")
        ),
        never
    );
    let oom =
        [running.to_vec(), vec![at(0, Happened::OutOfMemory), at(0, Happened::Exited { code: Some(137), oom: false })]];
    let killed = "OutOfMemoryError: Container killed due to memory usage";
    assert_eq!(check(&oom.concat(), 0, killed), Stop::essential_exited());
    let late =
        [running.to_vec(), vec![at(0, Happened::Exited { code: Some(137), oom: false }), at(0, Happened::OutOfMemory)]];
    assert_eq!(check(&late.concat(), 0, killed), Stop::essential_exited());
    let gone = [running.to_vec(), vec![at(0, Happened::Vanished)]].concat();
    let vanished = "ContainerVanishedError: No container matching saved ID found";
    assert_eq!(check(&gone, 0, vanished), Stop::essential_exited());
}

#[test]
fn a_short_life_may_end_before_its_start_was_told() {
    let mut state = task(&[true]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0)[..3]);
    play(&mut state, &[at(0, Happened::Exited { code: Some(0), oom: false }), at(0, Happened::Started)]);
    assert_eq!(state.containers[0].exit_code, Some(0));
    assert_eq!(state.stop, Some(Stop::essential_exited()));
}

#[test]
fn a_code_that_was_lost_is_told_to_be() {
    let mut state = task(&[true]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    play(&mut state, &[at(0, Happened::Exited { code: None, oom: false })]);
    let seen = state.observe(&arn()).containers.remove(0);
    assert_eq!(seen.exit_code, None);
    assert!(seen.reason.unwrap().starts_with("CannotInspectContainerError: "));
}

#[test]
fn an_agent_whose_clock_was_set_waits_for_what_it_waited_for() {
    for jump in [-40, 40].map(|days| days * 86_400_000) {
        let then = T0.plus_millis(jump);
        let mut state = task(&[true]);
        state.containers[0].logs_open = true;
        play(&mut state, &[Event::Assigned]);
        play(&mut state, &to_running(0));
        assert_eq!(step(&mut state, &Event::Resumed, then), [Effect::Inspect(0)]);
        assert_eq!(state.next_deadline(), Some(then.plus_millis(limits::INSPECT)));
        play(&mut state, &[at(0, Happened::Exited { code: Some(0), oom: false }), at(0, Happened::Removed)]);
        play(&mut state, &[Event::Cleared, Event::Dropped]);
        assert_eq!(step(&mut state, &Event::Resumed, then), []);
        assert_eq!(step(&mut state, &Event::Tick, then), [], "its logs still have their time");
        assert_eq!(state.next_deadline(), Some(then.plus_millis(limits::LOGS)));
    }
}

#[test]
fn an_agent_killed_while_it_forgets_a_task_forgets_it_when_it_is_back() {
    let mut state = task(&[true]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    play(&mut state, &[at(0, Happened::Exited { code: Some(0), oom: false }), at(0, Happened::Removed)]);
    play(&mut state, &[Event::Cleared]);
    assert_eq!(step(&mut state, &Event::Dropped, T0), [Effect::Forget]);
    assert_eq!(step(&mut state, &Event::Resumed, T0), [Effect::Forget]);
}

#[test]
fn the_first_cause_stays() {
    let mut state = task(&[true]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    play(&mut state, &[Event::DesiredStopped(user()), at(0, Happened::Exited { code: Some(143), oom: false })]);
    assert_eq!(state.stop, Some(user()));
}

#[test]
fn what_survives_every_sigkill_is_told_so() {
    let mut state = task(&[true]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    step(&mut state, &Event::DesiredStopped(user()), T0);
    let now = run_out(&mut state, T0);
    let ObservedStatus::Stopped(stop) = status(&state) else { panic!("not stopped: {state:?}") };
    assert_eq!(&*stop.reason, "TaskStateError: Agent could not progress task's state to stopped");
    assert!(now.millis_since(T0) < 10 * 60 * 1000, "{} ms", now.millis_since(T0));
}

#[test]
fn a_stopped_task_waits_for_its_logs_but_not_for_ever() {
    let stopped = || {
        let definition = definition("c", true);
        let mut state = TaskState::new(false, [(&definition, Arc::from("id"), true)]);
        play(&mut state, &[Event::DesiredStopped(user()), Event::Cleared, Event::Dropped]);
        state
    };
    let mut state = stopped();
    assert_eq!(state.end, End::Cleared);
    assert_eq!(play(&mut state, &[at(0, Happened::LogsShipped)]), [Effect::Forget]);
    let mut state = stopped();
    assert_eq!(step(&mut state, &Event::Tick, T0.plus_millis(limits::LOGS)), [Effect::Forget]);
}

#[test]
fn a_health_check_goes_with_its_container() {
    let told = |state: &TaskState| state.observe(&arn()).containers[0].health.map(|health| health.status);
    let after = |seconds: i64| T0.plus_millis(seconds * 1000);
    let mut state = checked_task(&[true, false]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    assert_eq!((told(&state), state.observe(&arn()).containers[1].health), (Some(HealthStatus::Unknown), None));
    assert_eq!(step(&mut state, &Event::Tick, after(9)), []);
    assert_eq!(state.next_deadline(), Some(after(10)));
    assert_eq!(step(&mut state, &Event::Tick, after(10)), [Effect::Probe(0)]);
    step(&mut state, &at(0, Happened::Probed(Probed::Passed)), after(11));
    assert_eq!(told(&state), Some(HealthStatus::Healthy));
    assert_eq!(step(&mut state, &Event::Resumed, after(12)), [Effect::Inspect(0), Effect::Begin(1, Operation::Pull)]);
    assert_eq!(step(&mut state, &Event::Tick, after(22)), [Effect::Probe(0)]);
    step(&mut state, &at(0, Happened::Probed(Probed::Failed)), after(23));
    assert_eq!(told(&state), Some(HealthStatus::Unhealthy));
    assert_eq!(status(&state), ObservedStatus::Running, "what follows from it is the server's to say");
    step(&mut state, &Event::DesiredStopped(user()), after(24));
    assert_eq!(step(&mut state, &Event::Tick, after(40)), [], "what stops is not tried");
    assert_eq!(told(&state), Some(HealthStatus::Unhealthy));
}

/// Lays these edges over a task, as far as they lead to a container before their own: so there is no circle.
fn depend(state: &mut TaskState, edges: &[(usize, usize, DependencyCondition)]) {
    for (at, on, condition) in edges {
        if on < at && *at < state.containers.len() {
            let needed = Dependency { at: *on, condition: *condition };
            state.containers[*at].depends_on.push(needed);
        }
    }
}

#[test]
fn what_nothing_needs_any_more_is_told_to_end_at_once_wherever_it_stands() {
    let mut state = task(&[false, true]);
    depend(&mut state, &[(1, 0, DependencyCondition::Start)]);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    let effects = play(&mut state, &[Event::DesiredStopped(user())]);
    assert_eq!(effects, [Effect::Begin(1, Operation::Remove), Effect::Signal(0)]);
}

/// Nobody answers anything any more: only deadlines pass.
fn run_out(state: &mut TaskState, mut now: Timestamp) -> Timestamp {
    for _ in 0..10_000 {
        if state.is_stopped() {
            return now;
        }
        now = state.next_deadline().expect("what has not stopped waits for something");
        step(state, &Event::Tick, now);
    }
    panic!("never stopped: {state:?}");
}

fn happened() -> impl Strategy<Value = Happened> {
    let operation = prop_oneof![
        Just(Operation::Pull),
        Just(Operation::Connect),
        Just(Operation::Create),
        Just(Operation::Start),
        Just(Operation::Remove)
    ];
    prop_oneof![
        4 => Just(pulled()),
        4 => Just(Happened::Connected(Endpoint::default())),
        4 => Just(Happened::Created),
        4 => Just(Happened::Started),
        1 => operation.prop_map(|o| Happened::Failed(o, "CannotX: y".into())),
        1 => (prop::option::of(0..256i32), any::<bool>()).prop_map(|(code, oom)| Happened::Exited { code, oom }),
        1 => Just(Happened::OutOfMemory),
        1 => Just(Happened::Vanished),
        1 => Just(Happened::Removed),
        1 => Just(Happened::LogsShipped),
        2 => prop_oneof![Just(Probed::Passed), Just(Probed::Failed), Just(Probed::Unknown)].prop_map(Happened::Probed),
    ]
}

fn event() -> impl Strategy<Value = (Event, i64)> {
    let event = prop_oneof![
        2 => Just(Event::Assigned),
        1 => Just(Event::DesiredStopped(user())),
        1 => Just(Event::Dropped),
        1 => Just(Event::Resumed),
        1 => Just(Event::Reconnected),
        2 => Just(Event::Tick),
        1 => Just(Event::Cleared),
        2 => Just(Event::Attached),
        2 => Just(Event::Provided),
        1 => Just(Event::NotProvided("CannotX: y".into())),
        1 => Just(Event::NotAttached("CannotX: y".into())),
        1 => (0..10_000u64, 0..10_000u64).prop_map(|(cpu_millis, memory)| Event::Measured(Reading { cpu_millis, memory })),
        12 => (0..3usize, happened()).prop_map(|(index, what)| Event::Container(index, what)),
        4 => (0..3usize, 0..3u32, happened()).prop_map(|(index, run, what)| Event::Answered(index, run, what)),
    ];
    let pause = prop_oneof![6 => Just(0i64), 2 => 0..60_000i64, 1 => 0..limits::LOGS];
    (event, pause)
}

/// Whether the event asks for something to be done anew by its meaning.
fn repeats(event: &Event) -> bool {
    match event {
        Event::Resumed | Event::Reconnected => true,
        // Of a container that was started again it has that looked into, each time.
        Event::Container(_, happened) => matches!(happened, Happened::Exited { .. } | Happened::OutOfMemory),
        Event::Assigned
        | Event::DesiredStopped(_)
        | Event::Dropped
        | Event::Tick
        | Event::Cleared
        | Event::Attached
        | Event::NotAttached(_)
        | Event::Provided
        | Event::NotProvided(_)
        | Event::Measured(_)
        | Event::Answered(..) => false,
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Waiting => 0,
        Phase::Pulling { .. } => 1,
        Phase::Held { .. } => 2,
        Phase::Connecting { .. } => 3,
        Phase::Creating { .. } => 4,
        Phase::Starting { .. } => 5,
        Phase::Running { .. } => 6,
        Phase::Stopping { .. } => 7,
        Phase::Killing { .. } => 8,
        Phase::Removing { .. } => 9,
        Phase::Gone => 10,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_in_every_history(
        essential in prop::collection::vec(any::<bool>(), 0..2),
        has_interface in any::<bool>(),
        is_given in any::<bool>(),
        restarted in any::<bool>(),
        order in prop::collection::vec((0..3usize, 0..3usize, prop::sample::select(&DependencyCondition::ALL[..])), 0..4),
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut state = checked_task(&[essential, vec![true]].concat());
        let policy = model::RestartPolicy { enabled: restarted, ignored_exit_codes: vec![3], restart_attempt_period: Some(60) };
        state.containers[0].restarts = Restarts::new(&policy);
        state.interface = has_interface.then_some(Interface::Waiting);
        state.provision = is_given.then_some(Provisioning::Waiting);
        depend(&mut state, &order);
        let mut now = T0;
        step(&mut state, &Event::Assigned, now);
        for (event, pause) in &events {
            now = now.plus_millis(*pause);
            let before = state.clone();
            let effects = step(&mut state, event, now);
            let pulls = effects.iter().any(|effect| matches!(effect, Effect::Begin(_, Operation::Pull)));
            prop_assert!(!pulls || matches!(state.interface, None | Some(Interface::Attached)), "pulled before attached");
            prop_assert!(!pulls || matches!(state.provision, None | Some(Provisioning::Here)), "pulled before it was given");
            prop_assert!(before.observe(&arn()).attachment <= state.observe(&arn()).attachment, "an attachment went back");
            for (old, new) in before.containers.iter().zip(&state.containers) {
                prop_assert!(old.run() < new.run() || rank(old.phase) <= rank(new.phase), "{:?} went back to {:?}", old.phase, new.phase);
                prop_assert!(old.exit_code.is_none() || old.exit_code == new.exit_code, "an exit code changed");
            }
            let runs = |state: &TaskState| state.containers.iter().map(ContainerState::run).sum::<u32>();
            prop_assert!(before.stop.is_none() || runs(&before) == runs(&state), "started again though it is to stop");
            if before.stop.is_some() {
                prop_assert_eq!(&before.stop, &state.stop);
                let starts = |e: &Effect| match e {
                    Effect::Begin(_, operation) => *operation != Operation::Remove,
                    Effect::Signal(_)
                    | Effect::Kill(_)
                    | Effect::Inspect(_)
                    | Effect::Probe(_)
                    | Effect::Clear
                    | Effect::Forget => false,
                    Effect::Attach | Effect::Provide => true,
                };
                prop_assert!(!effects.iter().any(starts), "{effects:?} after {:?}", before.stop);
            }
            prop_assert!(!before.is_stopped() || before.stop.is_none() || state.is_stopped(), "a stopped task came back");
            for effect in &effects {
                let Effect::Begin(at, Operation::Connect) = effect else { continue };
                let began = |d: &Dependency| state.containers[d.at].started.is_some();
                prop_assert!(state.containers[*at].depends_on.iter().all(began), "{at} was made before what it depends on");
            }
            for effect in &effects {
                let (Effect::Signal(at), false) = (effect, matches!(event, Event::Resumed)) else { continue };
                prop_assert!(!state.is_needed(*at), "{at} was told to end before what depends on it");
            }
            for container in &state.containers {
                let waits = !matches!(container.phase, Phase::Gone | Phase::Waiting | Phase::Held { .. });
                prop_assert_eq!(waits, container.phase.deadline().is_some());
            }
            prop_assert!(state.end != End::Live || state.next_deadline().is_some(), "nothing is waited for");
            if !repeats(event) {
                let once = state.clone();
                let again = step(&mut state, event, now);
                prop_assert_eq!(again, vec![], "{:?} twice", event);
                prop_assert_eq!(once, state.clone());
            }
            let text = serde_json::to_string(&state).expect("a state is JSON");
            prop_assert_eq!(serde_json::from_str::<TaskState>(&text).expect("and comes back"), state.clone());
        }
        step(&mut state, &Event::DesiredStopped(user()), now);
        let end = run_out(&mut state, now);
        // At worst an operation waits all of its time for its turn, and then uses up its own limit.
        let bound = limits::QUEUE + 20 * 60 * 1000;
        prop_assert!(end.millis_since(now) < bound, "took {} ms", end.millis_since(now));
    }
}

#[test]
fn looks_add_up_to_what_a_task_used() {
    let mut state = task(&[true]);
    let look = |state: &mut TaskState, seconds: i64, cpu_millis: u64, mib: u64| {
        let (reading, now) = (Reading { cpu_millis, memory: mib << 20 }, T0.plus_millis(seconds * 1_000));
        let is_news = state.is_news(reading, now);
        assert_eq!(step(state, &Event::Measured(reading), now), []);
        let Measured { memory, cpu_millis, cpu_peak, over_millis } = state.used.unwrap_or_default().measured;
        (is_news, memory, cpu_millis, cpu_peak, over_millis)
    };
    play(&mut state, &[Event::Assigned]);
    assert_eq!(look(&mut state, 0, 5, 9), (false, 0, 0, 0, 0), "nothing of it runs yet");
    play(&mut state, &to_running(0));
    assert_eq!(look(&mut state, 5, 100, 9), (true, 9, 100, 0, 5_000), "one look says nothing of its CPU's peak");
    assert_eq!(look(&mut state, 7, 1_100, 9), (false, 9, 1_100, 0, 7_000), "nor do two that are close together");
    assert_eq!(look(&mut state, 12, 3_600, 40), (true, 40, 3_600, 512, 12_000), "half a vCPU for five seconds");
    assert_eq!(look(&mut state, 17, 3_600, 8), (false, 40, 3_600, 512, 17_000), "what it has given back it needed");
    assert_eq!(look(&mut state, 47, 3_700, 8), (true, 40, 3_700, 512, 47_000), "half a minute is news");
    let restored: TaskState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(restored, state, "an agent that comes back goes on with it");
    step(&mut state, &at(0, Happened::Exited { code: Some(0), oom: false }), T0.plus_millis(50_000));
    // What the page cache of an ended task holds is nobody's need; its CPU and time are counted to the end.
    assert_eq!(look(&mut state, 60, 9_000, 90), (false, 40, 9_000, 512, 50_000));
    // An observation says nothing of it: nothing that only counts on is a change of the server's state.
    let before = state.observe(&arn());
    look(&mut state, 99, 9_900, 90);
    assert_eq!(state.observe(&arn()), before);
}
