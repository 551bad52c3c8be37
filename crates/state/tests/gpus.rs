//! GPUs: none is ever two tasks', whatever comes at the same moment and however often the store is read anew.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::{resources::Lacking, *};
use proptest::{collection::vec, prelude::*};
use state::{Command, CommitError, Memory, Rejected, Store};
use std::collections::BTreeSet;

fn id(text: &str) -> GpuId {
    GpuId::parse(text).unwrap()
}

fn ids(all: &[&str]) -> BTreeSet<GpuId> {
    all.iter().map(|text| id(text)).collect()
}

fn with(gpus: &[&str]) -> ContainerInstance {
    let mut instance = instance("shop", 1, 65_536, 65_536);
    instance.registered.gpus = ids(gpus);
    instance
}

fn world(memory: Memory, gpus: &[&str]) -> (Store, TaskDefinitionArn) {
    let store = inline(memory);
    commit(&store, Command::CreateCluster(cluster("shop"))).unwrap();
    commit(&store, register("web")).unwrap();
    commit(&store, Command::RegisterContainerInstance { instance: with(gpus) }).unwrap();
    (store, TaskDefinitionArn { scope: scope(), family: family("web"), revision: 1 })
}

fn holding(definition: &TaskDefinitionArn, number: u64, gpus: &[&str]) -> Task {
    let mut task = task("shop", number, 1, definition.clone(), 1, 6);
    task.reservation.gpus = u32::try_from(gpus.len()).unwrap();
    task.reservation.gpu_ids = ids(gpus);
    task
}

fn left(store: &Store) -> BTreeSet<GpuId> {
    store.snapshot().instance(&instance_arn("shop", 1)).unwrap().remaining.gpus.clone()
}

fn is_refused(store: &Store, tasks: Vec<Task>, at: usize) {
    let why = refused(store, start(tasks));
    assert!(matches!(why, Rejected::NoRoom { index, lacking: Lacking::Gpu, .. } if index == at), "{why:?}");
}

fn stop(store: &Store, number: u64) {
    let why = Stop { code: StopCode::UserInitiated, reason: "enough".into() };
    let observed = seen(task_arn("shop", number), ObservedStatus::Stopped(why));
    let on = instance_arn("shop", 1);
    must(store, Command::Observe { instance: on, seen: vec![observed], at: Timestamp(5) });
}

#[test]
fn a_gpu_is_one_tasks_until_that_has_stopped() {
    let memory = Memory::default();
    let (store, web) = world(memory.clone(), &["a", "b"]);
    // Two that were decided on the same view, in one command and in two.
    is_refused(&store, vec![holding(&web, 1, &["a"]), holding(&web, 2, &["a"])], 1);
    must(&store, start(vec![holding(&web, 1, &["a"])]));
    is_refused(&store, vec![holding(&web, 2, &["a"])], 0);
    is_refused(&store, vec![holding(&web, 2, &["a", "b"])], 0);
    // One that is not there, and one that does not say which.
    is_refused(&store, vec![holding(&web, 2, &["c"])], 0);
    let mut unnamed = holding(&web, 2, &["b"]);
    unnamed.reservation.gpu_ids.clear();
    is_refused(&store, vec![unnamed], 0);
    assert_eq!(left(&store), ids(&["b"]));
    drop(store);
    // A server that was killed knows it still.
    let store = inline(memory);
    assert_eq!(left(&store), ids(&["b"]));
    assert_sound(&store.snapshot());
    must(&store, start(vec![holding(&web, 2, &["b"])]));
    stop(&store, 1);
    assert_eq!(left(&store), ids(&["a"]));
    must(&store, start(vec![holding(&web, 3, &["a"])]));
    assert_eq!(left(&store), ids(&[]));
}

#[test]
fn an_instance_that_comes_back_with_others_gives_none_away_twice() {
    let (store, web) = world(Memory::default(), &["a", "b"]);
    must(&store, start(vec![holding(&web, 1, &["a"])]));
    must(&store, Command::RegisterContainerInstance { instance: with(&["c"]) });
    assert_eq!(left(&store), ids(&["c"]));
    must(&store, Command::RegisterContainerInstance { instance: with(&["a", "c"]) });
    assert_eq!(left(&store), ids(&["c"]), "it is held all the same");
    is_refused(&store, vec![holding(&web, 2, &["a"])], 0);
    stop(&store, 1);
    assert_eq!(left(&store), ids(&["a", "c"]));
}

#[derive(Debug, Clone)]
enum Step {
    Start(BTreeSet<usize>),
    Stop(u64),
    Anew,
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::btree_set(0..4usize, 0..3).prop_map(Step::Start),
        2 => (0..12u64).prop_map(Step::Stop),
        1 => Just(Step::Anew),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_held_and_what_is_left_are_all_there_is(steps in vec(a_step(), 1..24)) {
        let memory = Memory::default();
        let (mut store, web) = world(memory.clone(), &NAMES);
        let mut held: Vec<Option<BTreeSet<GpuId>>> = Vec::new();
        for step in steps {
            let taken = |held: &[Option<BTreeSet<GpuId>>]| held.iter().flatten().flatten().cloned().collect::<BTreeSet<_>>();
            match step {
                Step::Start(which) => {
                    let names: Vec<&str> = which.iter().map(|at| NAMES[*at]).collect();
                    let free = ids(&names).is_disjoint(&taken(&held));
                    let outcome = commit(&store, start(vec![holding(&web, held.len() as u64, &names)]));
                    match outcome {
                        Ok(_) => prop_assert!(free),
                        Err(CommitError::Rejected(Rejected::NoRoom { lacking: Lacking::Gpu, .. })) => prop_assert!(!free),
                        Err(error) => panic!("{error}"),
                    }
                    held.push(free.then(|| ids(&names)));
                }
                Step::Stop(number) => {
                    let at = usize::try_from(number).unwrap();
                    if let Some(known) = held.get_mut(at).filter(|known| known.is_some()) {
                        stop(&store, number);
                        *known = None;
                    }
                }
                Step::Anew => {
                    drop(store);
                    store = inline(memory.clone());
                }
            }
            let all: BTreeSet<GpuId> = ids(&NAMES);
            prop_assert_eq!(left(&store), all.difference(&taken(&held)).cloned().collect::<BTreeSet<_>>());
            assert_sound(&store.snapshot());
        }
    }
}
