//! What waits for others: when it is made, when it never will be, and what ends last.

use super::*;

/// A task of three: the first one helps, the second is the task's own, the third one stands beside it.
fn ordered_task(edges: &[(usize, usize, DependencyCondition)]) -> TaskState {
    let mut state = task(&[false, true, false]);
    state.containers[0].start_timeout = Some(60);
    state.containers[0].watch = Watch::new(&crate::testing::check(10));
    depend(&mut state, edges);
    play(&mut state, &[Event::Assigned]);
    state
}

#[test]
fn what_depends_on_others_is_made_when_they_have_come() {
    use DependencyCondition::{Complete, Healthy, Start, Success};
    let exited = |code: i32| at(0, Happened::Exited { code: Some(code), oom: false });
    let connect = [Effect::Begin(1, Operation::Connect)];
    // What happens to the first container, and whether it lets the second one begin with the last of it.
    let check = |condition: DependencyCondition, after: &[Event], want: bool| {
        let mut state = ordered_task(&[(1, 0, condition)]);
        assert_eq!(play(&mut state, &[at(1, pulled())]), [], "{condition:?}");
        play(&mut state, &to_running(0)[..3]);
        assert!(matches!(state.containers[1].phase, Phase::Held { .. }));
        let effects = play(&mut state, after);
        assert_eq!(connect.iter().all(|effect| effects.contains(effect)), want, "{condition:?} {after:?}: {effects:?}");
        assert_eq!(state.stop, None, "{condition:?}");
    };
    let started = at(0, Happened::Started);
    check(Start, std::slice::from_ref(&started), true);
    check(Start, &[exited(1)], true);
    check(Complete, std::slice::from_ref(&started), false);
    check(Complete, &[started.clone(), exited(3)], true);
    check(Success, std::slice::from_ref(&started), false);
    check(Success, &[started.clone(), exited(0)], true);
    check(Healthy, std::slice::from_ref(&started), false);
    let mut state = ordered_task(&[(1, 0, Healthy)]);
    play(&mut state, &[at(1, pulled())]);
    play(&mut state, &to_running(0));
    assert_eq!(step(&mut state, &Event::Tick, T0.plus_millis(10_000)), [Effect::Probe(0)]);
    assert_eq!(play(&mut state, &[at(0, Happened::Probed(Probed::Passed))]), connect);
}

#[test]
fn what_can_not_come_any_more_fails_what_waits_for_it() {
    use DependencyCondition::{Complete, Healthy, Start, Success};
    let failed = at(0, Happened::Failed(Operation::Create, "CannotCreateContainerError: no".into()));
    let exited = |code: i32| at(0, Happened::Exited { code: Some(code), oom: false });
    let check = |condition: DependencyCondition, started: bool, last: &Event, words: &str| {
        let mut state = ordered_task(&[(1, 0, condition)]);
        play(&mut state, &[at(1, pulled())]);
        play(&mut state, &to_running(0)[..if started { 4 } else { 2 }]);
        play(&mut state, std::slice::from_ref(last));
        let reason = state.containers[1].reason.clone().expect("it says why");
        assert!(reason.contains(words), "{reason}");
        assert_eq!(state.stop, Some(Stop::failed_to_start()));
    };
    check(Start, false, &failed, "waited for as START, did not start");
    check(Complete, false, &failed, "did not start");
    check(Success, true, &exited(7), "did not exit successfully (exit code 7)");
    check(Healthy, true, &exited(0), "waited for as HEALTHY, has ended");
    // In its time.
    let mut state = ordered_task(&[(1, 0, Success)]);
    play(&mut state, &[at(1, pulled())]);
    play(&mut state, &to_running(0));
    let by = T0.plus_millis(60_000);
    step(&mut state, &Event::Tick, by.plus_millis(-1));
    assert_eq!(state.stop, None);
    step(&mut state, &Event::Tick, by);
    assert_eq!(state.stop, Some(Stop::failed_to_start()));
    let reason = state.containers[1].reason.clone().unwrap_or_default();
    assert!(reason.ends_with("was not SUCCESS within its startTimeout of 60 s"), "{reason}");
    // One that is not essential fails alone, and what waits for it with it.
    let mut state = ordered_task(&[(2, 0, Success)]);
    play(&mut state, &[at(1, pulled()), at(2, pulled())]);
    play(&mut state, &to_running(0));
    let effects = play(&mut state, &[exited(1)]);
    assert!(effects.contains(&Effect::Begin(2, Operation::Remove)), "{effects:?}");
    assert_eq!(state.stop, None);
}

#[test]
fn what_is_needed_ends_last() {
    use DependencyCondition::Start;
    let mut state = ordered_task(&[(1, 0, Start), (2, 1, Start)]);
    play(&mut state, &[at(1, pulled()), at(2, pulled())]);
    for at in 0..3 {
        play(&mut state, &to_running(at)[if at == 0 { 0 } else { 1 }..]);
    }
    assert_eq!(play(&mut state, &[Event::DesiredStopped(user())]), [Effect::Signal(2)]);
    let exited = |index: usize| at(index, Happened::Exited { code: Some(0), oom: false });
    assert_eq!(play(&mut state, &[exited(2)]), [Effect::Begin(2, Operation::Remove), Effect::Signal(1)]);
    assert_eq!(play(&mut state, &[exited(1)]), [Effect::Begin(1, Operation::Remove), Effect::Signal(0)]);
}

#[test]
fn a_router_ends_when_it_has_the_last_lines_or_late() {
    use DependencyCondition::Start;
    let exited = |index: usize| at(index, Happened::Exited { code: Some(0), oom: false });
    // The first container routes what the second one writes; both run, and the task is to stop.
    let stopping = || {
        let mut state = task(&[true, true]);
        depend(&mut state, &[(1, 0, Start)]);
        (state.containers[1].routed_by, state.containers[1].logs_open) = (Some(0), true);
        play(&mut state, &[Event::Assigned, at(1, pulled())]);
        play(&mut state, &to_running(0));
        play(&mut state, &to_running(1)[1..]);
        assert_eq!(play(&mut state, &[Event::DesiredStopped(user())]), [Effect::Signal(1)]);
        assert_eq!(play(&mut state, &[exited(1)]), [Effect::Begin(1, Operation::Remove)]);
        assert_eq!(play(&mut state, &[at(1, Happened::Removed)]), [], "its output is not there yet");
        state
    };
    let mut state = stopping();
    assert_eq!(play(&mut state, &[at(1, Happened::LogsShipped)]), [Effect::Signal(0)]);
    // It takes nothing.
    let mut state = stopping();
    let by = T0.plus_millis(limits::DRAIN);
    assert_eq!(state.next_deadline(), Some(by));
    assert_eq!(step(&mut state, &Event::Tick, by.plus_millis(-1)), []);
    assert_eq!(step(&mut state, &Event::Tick, by), [Effect::Signal(0)]);
    // What it has not taken by then it never will: the task ends, and is forgotten, without it.
    play(&mut state, &[exited(0), at(0, Happened::Removed)]);
    assert!(state.containers[1].logs_open, "its last lines may be on their way");
    play(&mut state, &[Event::Cleared]);
    assert!(!state.containers[1].logs_open);
    assert_eq!(play(&mut state, &[Event::Dropped]), [Effect::Forget]);
    // Another agent gives it the time anew.
    let mut state = stopping();
    step(&mut state, &Event::Resumed, by.plus_millis(-1));
    assert_eq!(step(&mut state, &Event::Tick, by), []);
    assert_eq!(step(&mut state, &Event::Tick, by.plus_millis(limits::DRAIN)), [Effect::Signal(0)]);
    // One that never started has nothing to wait for.
    let mut state = task(&[true, true]);
    depend(&mut state, &[(1, 0, Start)]);
    (state.containers[1].routed_by, state.containers[1].logs_open) = (Some(0), true);
    play(&mut state, &[Event::Assigned, at(1, pulled())]);
    play(&mut state, &to_running(0)[..3]);
    play(&mut state, &[Event::DesiredStopped(user())]);
    assert_eq!(play(&mut state, &[at(0, Happened::Started)]), [Effect::Signal(0)]);
}
