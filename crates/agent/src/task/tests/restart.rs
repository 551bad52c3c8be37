//! Containers that are started again.

use super::*;
use model::RestartPolicy;

/// An essential container that is started again after 60 s, but not after 3, and another one without a policy.
fn restarting() -> TaskState {
    let policy = RestartPolicy { enabled: true, ignored_exit_codes: vec![3], restart_attempt_period: Some(60) };
    let mut state = checked_task(&[true, false]);
    state.containers[0].restarts = Restarts::new(&policy);
    play(&mut state, &[Event::Assigned]);
    play(&mut state, &to_running(0));
    play(&mut state, &to_running(1));
    state
}

fn after(seconds: i64) -> Timestamp {
    T0.plus_millis(seconds * 1000)
}

fn exited(code: Option<i32>) -> Happened {
    Happened::Exited { code, oom: false }
}

const CREATE: [Effect; 1] = [Effect::Begin(0, Operation::Create)];
const REMOVE: Effect = Effect::Begin(0, Operation::Remove);

#[test]
fn the_originals_rules_say_what_is_started_again() {
    let check = |code: Option<i32>, seconds: i64, again: bool| {
        let mut state = restarting();
        let effects = step(&mut state, &at(0, exited(code)), after(seconds));
        assert_eq!(effects.contains(&CREATE[0]), again, "{code:?} after {seconds} s: {effects:?}");
        assert_eq!(effects.contains(&REMOVE), !again);
        assert_eq!((state.stop.is_none(), state.containers[0].exit_code), (again, code.filter(|_| !again)));
    };
    check(Some(1), 60, true);
    check(Some(0), 60, true);
    check(Some(137), 4000, true);
    check(Some(1), 59, false);
    check(Some(3), 60, false);
    check(None, 60, false);
    assert_eq!(Restarts::new(&RestartPolicy { enabled: false, ..policy(&restarting()) }), None);
}

fn policy(state: &TaskState) -> RestartPolicy {
    let text = serde_json::to_value(state.containers[0].restarts.as_ref().unwrap()).unwrap();
    serde_json::from_value(text["policy"].clone()).unwrap()
}

#[test]
fn a_restart_is_of_the_same_container_and_counts_from_its_attempt() {
    let mut state = restarting();
    assert_eq!(step(&mut state, &Event::Tick, after(10)), [Effect::Probe(0)]);
    step(&mut state, &at(0, Happened::Probed(Probed::Passed)), after(11));
    step(&mut state, &at(0, Happened::OutOfMemory), after(59));
    assert_eq!(step(&mut state, &at(0, exited(Some(1))), after(60)), CREATE);
    let seen = state.observe(&arn());
    assert_eq!((&seen.status, seen.containers[0].status), (&ObservedStatus::Running, ContainerStatus::Running));
    assert_eq!(
        (seen.containers[0].exit_code, seen.containers[0].health.unwrap().status),
        (None, HealthStatus::Unknown)
    );
    assert_eq!(step(&mut state, &Event::Resumed, after(61))[0], CREATE[0], "an agent that comes back goes on with it");
    assert_eq!(step(&mut state, &at(0, Happened::Created), after(62)), [Effect::Begin(0, Operation::Start)]);
    assert_eq!(step(&mut state, &at(0, Happened::Started), after(63)), [Effect::Inspect(0)]);
    assert_eq!(state.containers[0].restarts.as_ref().unwrap().count, 1);
    assert_eq!(state.containers[0].started, Some(T0), "it was started once");
    // The second end is 59 s after the attempt: too soon.
    let effects = step(&mut state, &Event::Answered(0, 1, exited(Some(7))), after(119));
    assert!(effects.contains(&REMOVE), "{effects:?}");
    assert_eq!((state.containers[0].exit_code, state.stop.clone()), (Some(7), Some(Stop::essential_exited())));
    assert_eq!(state.containers[0].reason, None, "the kernel's kill was of the run before");
}

#[test]
fn what_is_told_of_a_run_before_is_not_believed() {
    let mut state = restarting();
    step(&mut state, &at(0, exited(Some(1))), after(60));
    let old =
        [Event::Answered(0, 0, exited(Some(1))), Event::Answered(0, 0, Happened::Vanished), at(0, exited(Some(1)))];
    for event in &old {
        assert_eq!(step(&mut state, event, after(60)), [], "{event:?} while it is made");
    }
    step(&mut state, &at(0, Happened::Created), after(60));
    for event in &old {
        assert_eq!(step(&mut state, event, after(60)), [], "{event:?} while it starts");
    }
    step(&mut state, &at(0, Happened::Started), after(60));
    assert_eq!(step(&mut state, &old[0], after(200)), []);
    assert_eq!(step(&mut state, &old[2], after(200)), [Effect::Inspect(0)], "what is told unasked is looked into");
    assert_eq!(step(&mut state, &Event::Answered(0, 1, exited(Some(1))), after(200)), CREATE);
}

#[test]
fn what_cannot_be_started_again_has_ended_as_it_did() {
    let ends = |event: Event, stop: Stop, reason: Option<&str>| {
        let mut state = restarting();
        step(&mut state, &at(0, exited(Some(9))), after(60));
        let effects = step(&mut state, &event, after(61));
        assert!(effects.contains(&REMOVE), "{event:?}: {effects:?}");
        let container = &state.containers[0];
        assert_eq!((container.exit_code, container.reason.as_deref(), &state.stop), (Some(9), reason, &Some(stop)));
    };
    let failed = Happened::Failed(Operation::Create, "CannotCreateContainerError: no".into());
    ends(at(0, failed), Stop::essential_exited(), Some("CannotCreateContainerError: no"));
    ends(Event::DesiredStopped(user()), user(), None);
    // A task that stops starts nothing again.
    let mut state = restarting();
    step(&mut state, &Event::DesiredStopped(user()), after(60));
    let effects = step(&mut state, &at(0, exited(Some(1))), after(61));
    assert_eq!((effects, state.containers[0].exit_code), (vec![REMOVE], Some(1)));
}
