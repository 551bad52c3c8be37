//! Random commands against a naive model of what must come of them.
//!
//! After every command: accepted or refused as the model says, the same live tasks, counts equal to counting again, never
//! over capacity, a refused command without a trace. Now and then the store is opened again, and what was loaded must equal what was
//! in memory, derived counts included.

mod common;
use common::*;
use model::*;
use proptest::prelude::*;
use state::{Command, CommitError, Memory, Outcome, Sqlite, Store};
use std::collections::{BTreeMap, BTreeSet};

const CLUSTERS: [&str; 2] = ["one", "two"];
const FAMILIES: [&str; 2] = ["web", "job"];

/// What can be done, with small numbers for names.
#[derive(Debug, Clone)]
enum Act {
    CreateCluster(usize),
    DeleteCluster(usize),
    Register(usize),
    Deregister(usize, u32),
    DeleteDefinition(usize, u32),
    ForgetDefinition(usize, u32),
    Join(usize, u64),
    Drain(usize, u64, bool),
    Connect(usize, u64, bool),
    Leave(usize, u64, bool),
    ForgetInstance(usize, u64),
    Start { tasks: Vec<(usize, u64, u64, u32, Option<u16>)>, family: usize, revision: u32, token: Option<(u8, u8)> },
    Stop(usize, u64),
    See(usize, u64, u64, u8),
    End(usize, u64),
    Forget(usize, u64),
    ForgetTokens(i64),
    Tag(usize, u64),
    RunMachine(u64, u8),
    MoveMachine(u64, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (c, f, i, t, r) = (0..2_usize, 0..2_usize, 0..3_u64, 0..24_u64, 1..4_u32);
    let one = (c.clone(), t.clone(), i.clone(), 0..700_u32, proptest::option::weighted(0.3, 8000..8003_u16));
    let start =
        (prop::collection::vec(one, 1..4), f.clone(), r.clone(), proptest::option::weighted(0.3, (0..3_u8, 0..2_u8)));
    prop_oneof![
        2 => c.clone().prop_map(Act::CreateCluster),
        1 => c.clone().prop_map(Act::DeleteCluster),
        2 => f.clone().prop_map(Act::Register),
        1 => (f.clone(), r.clone()).prop_map(|(f, r)| Act::Deregister(f, r)),
        1 => (f.clone(), r.clone()).prop_map(|(f, r)| Act::DeleteDefinition(f, r)),
        1 => (f.clone(), r).prop_map(|(f, r)| Act::ForgetDefinition(f, r)),
        4 => (c.clone(), i.clone()).prop_map(|(c, i)| Act::Join(c, i)),
        1 => (c.clone(), i.clone(), any::<bool>()).prop_map(|(c, i, d)| Act::Drain(c, i, d)),
        1 => (c.clone(), i.clone(), any::<bool>()).prop_map(|(c, i, d)| Act::Connect(c, i, d)),
        1 => (c.clone(), i.clone(), any::<bool>()).prop_map(|(c, i, d)| Act::Leave(c, i, d)),
        1 => (c.clone(), i.clone()).prop_map(|(c, i)| Act::ForgetInstance(c, i)),
        10 => start.prop_map(|(tasks, family, revision, token)| Act::Start { tasks, family, revision, token }),
        3 => (c.clone(), t.clone()).prop_map(|(c, t)| Act::Stop(c, t)),
        8 => (c.clone(), i, t.clone(), 0..4_u8).prop_map(|(c, i, t, s)| Act::See(c, i, t, s)),
        1 => (c.clone(), t.clone()).prop_map(|(c, t)| Act::End(c, t)),
        2 => (c.clone(), t.clone()).prop_map(|(c, t)| Act::Forget(c, t)),
        1 => (0..40_i64).prop_map(Act::ForgetTokens),
        1 => (c, t).prop_map(|(c, t)| Act::Tag(c, t)),
        2 => (0..4_u64, 0..4_u8).prop_map(|(m, a)| Act::RunMachine(m, a)),
        2 => (0..4_u64, 0..6_usize).prop_map(|(m, s)| Act::MoveMachine(m, s)),
    ]
}

/// A task as the naive model knows it: counted afresh each time it is asked.
#[derive(Debug, Clone)]
struct Known {
    on: u64,
    cpu: u32,
    port: Option<u16>,
    family: usize,
    revision: u32,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Model {
    clusters: BTreeMap<usize, bool>,
    instances: BTreeMap<(usize, u64), InstanceStatusWord>,
    families: [u32; 2],
    definitions: BTreeMap<(usize, u32), u8>,
    tasks: BTreeMap<(usize, u64), Known>,
    tokens: BTreeMap<u8, (u8, i64)>,
    machines: BTreeMap<u64, (u8, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum InstanceStatusWord {
    Active,
    Draining,
    Inactive,
}
use InstanceStatusWord as Word;

const STATES: [MachineState; 6] = [
    MachineState::Pending,
    MachineState::Running,
    MachineState::Stopping,
    MachineState::Stopped,
    MachineState::ShuttingDown,
    MachineState::Terminated,
];
/// From which state to which, as rows of the table in EC2's user guide; to itself changes nothing.
const MOVES: [[bool; 6]; 6] = [
    [true, true, true, true, true, true],
    [false, true, true, true, true, true],
    [false, false, true, true, true, true],
    [true, false, false, true, true, true],
    [false, false, false, false, true, true],
    [false, false, false, false, false, true],
];

impl Model {
    fn live(&self) -> impl Iterator<Item = (&(usize, u64), &Known)> {
        self.tasks.iter().filter(|(_, t)| !t.stopped)
    }

    fn live_on(&self, cluster: usize, on: u64) -> usize {
        self.live().filter(|((c, _), t)| *c == cluster && t.on == on).count()
    }

    fn stop(&mut self, key: (usize, u64)) {
        if let Some(task) = self.tasks.get_mut(&key) {
            task.stopped = true;
        }
    }

    fn can_start(&self, wanted: &[(usize, u64, u64, u32, Option<u16>)], family: usize, revision: u32) -> bool {
        let mut tasks = self.tasks.clone();
        wanted.iter().all(|(c, t, i, cpu, port)| {
            let fresh = Known { on: *i, cpu: *cpu, port: *port, family, revision, stopped: false };
            let here = tasks.iter().filter(|((tc, _), known)| tc == c && known.on == *i && !known.stopped);
            let (used, ports) = here.fold((0, BTreeSet::new()), |(used, mut ports), (_, known)| {
                ports.extend(known.port);
                (used + known.cpu, ports)
            });
            let fits = used + cpu <= 1024 && port.is_none_or(|p| !ports.contains(&p));
            fits && self.clusters.get(c) == Some(&true)
                && self.instances.get(&(*c, *i)) == Some(&Word::Active)
                && self.definitions.get(&(family, revision)) == Some(&0)
                && tasks.insert((*c, *t), fresh).is_none()
        })
    }

    /// Does what the act says; whether it is accepted.
    fn act(&mut self, act: &Act, now: i64) -> bool {
        match act {
            Act::CreateCluster(c) => {
                self.clusters.insert(*c, true);
                true
            }
            Act::DeleteCluster(c) => {
                let instances = self.instances.iter().any(|((ic, _), s)| ic == c && *s != Word::Inactive);
                let Some(active) = self.clusters.get_mut(c) else { return false };
                *active &= instances;
                !*active
            }
            Act::Register(f) => {
                self.families[*f] += 1;
                self.definitions.insert((*f, self.families[*f]), 0).is_none()
            }
            Act::Deregister(f, r) => self.definition(*f, *r, [0, 1], 1),
            Act::DeleteDefinition(f, r) => self.definition(*f, *r, [1, 2], 2),
            Act::ForgetDefinition(f, r) => {
                let used = self.live().any(|(_, t)| (t.family, t.revision) == (*f, *r));
                let goes = !used && self.definitions.get(&(*f, *r)) == Some(&2);
                if goes {
                    self.definitions.remove(&(*f, *r));
                }
                goes
            }
            Act::Join(c, i) => {
                let active = self.clusters.get(c) == Some(&true);
                active && *self.instances.entry((*c, *i)).or_insert(Word::Active) != Word::Inactive
            }
            Act::Drain(c, i, drain) => match self.instances.get_mut(&(*c, *i)) {
                None | Some(Word::Inactive) => false,
                Some(status) => {
                    *status = if *drain { Word::Draining } else { Word::Active };
                    true
                }
            },
            Act::Connect(c, i, up) => match self.instances.get(&(*c, *i)) {
                None => false,
                Some(Word::Inactive) => !*up,
                Some(Word::Active | Word::Draining) => true,
            },
            Act::Leave(c, i, force) => self.leave(*c, *i, *force),
            Act::ForgetInstance(c, i) => {
                if self.instances.get(&(*c, *i)) == Some(&Word::Inactive) {
                    self.instances.remove(&(*c, *i));
                }
                true
            }
            Act::Start { tasks, family, revision, token } => self.start(tasks, *family, *revision, *token, now),
            Act::Stop(c, t) | Act::Tag(c, t) => self.tasks.contains_key(&(*c, *t)),
            Act::See(c, i, t, status) => {
                let here = self.tasks.get(&(*c, *t)).is_some_and(|known| known.on == *i);
                let known = self.instances.contains_key(&(*c, *i));
                if known && here && *status == 3 {
                    self.stop((*c, *t));
                }
                known
            }
            Act::End(c, t) => {
                self.stop((*c, *t));
                true
            }
            Act::Forget(c, t) => match self.tasks.get(&(*c, *t)) {
                Some(known) if !known.stopped => false,
                Some(_) => self.tasks.remove(&(*c, *t)).is_some(),
                None => true,
            },
            Act::ForgetTokens(before) => {
                self.tokens.retain(|_, (_, at)| *at >= *before);
                true
            }
            Act::RunMachine(m, address) => {
                let taken = self.machines.values().any(|(a, state)| a == address && *state != 5);
                let fresh = !self.machines.contains_key(m) && !taken;
                if fresh {
                    self.machines.insert(*m, (*address, 0));
                }
                fresh
            }
            Act::MoveMachine(m, to) => match self.machines.get_mut(m) {
                Some((_, from)) if MOVES[*from][*to] => {
                    *from = *to;
                    true
                }
                Some(_) | None => false,
            },
        }
    }

    fn definition(&mut self, f: usize, r: u32, from: [u8; 2], to: u8) -> bool {
        match self.definitions.get_mut(&(f, r)) {
            Some(status) if from.contains(status) => {
                *status = to;
                true
            }
            Some(_) | None => false,
        }
    }

    fn leave(&mut self, c: usize, i: u64, force: bool) -> bool {
        let busy = self.live_on(c, i) > 0;
        match self.instances.get_mut(&(c, i)) {
            None | Some(Word::Inactive) => return false,
            Some(_) if busy && !force => return false,
            Some(status) => *status = Word::Inactive,
        }
        for (key, known) in &mut self.tasks {
            known.stopped |= key.0 == c && known.on == i;
        }
        true
    }

    fn start(
        &mut self,
        tasks: &[(usize, u64, u64, u32, Option<u16>)],
        family: usize,
        revision: u32,
        token: Option<(u8, u8)>,
        now: i64,
    ) -> bool {
        if let Some((name, request)) = token
            && let Some((known, _)) = self.tokens.get(&name)
        {
            return *known == request;
        }
        let starts = self.can_start(tasks, family, revision);
        if starts {
            for (c, t, i, cpu, port) in tasks {
                let known = Known { on: *i, cpu: *cpu, port: *port, family, revision, stopped: false };
                self.tasks.insert((*c, *t), known);
            }
            self.tokens.extend(token.map(|(name, request)| (name, (request, now))));
        }
        starts
    }
}

fn command(act: &Act, now: i64) -> Command {
    let at = Timestamp(now);
    let instance_arn = |c: usize, i: u64| instance_arn(CLUSTERS[c], i);
    let task_arn = |c: usize, t: u64| task_arn(CLUSTERS[c], t);
    match act.clone() {
        Act::CreateCluster(c) => Command::CreateCluster(cluster(CLUSTERS[c])),
        Act::DeleteCluster(c) => Command::DeleteCluster { arn: cluster_arn(CLUSTERS[c]) },
        Act::Register(f) => register(FAMILIES[f]),
        Act::Deregister(f, r) => Command::DeregisterTaskDefinition { arn: definition_arn(FAMILIES[f], r), at },
        Act::DeleteDefinition(f, r) => Command::DeleteTaskDefinition { arn: definition_arn(FAMILIES[f], r), at },
        Act::ForgetDefinition(f, r) => Command::ForgetTaskDefinition { arn: definition_arn(FAMILIES[f], r) },
        Act::Join(c, i) => Command::RegisterContainerInstance { instance: instance(CLUSTERS[c], i, 1024, 1024) },
        Act::Drain(c, i, drain) => Command::SetInstanceStatus {
            arn: instance_arn(c, i),
            status: if drain { InstanceStatus::Draining } else { InstanceStatus::Active },
        },
        Act::Connect(c, i, connected) => Command::SetAgentConnected { arn: instance_arn(c, i), connected, at },
        Act::Leave(c, i, force) => Command::DeregisterContainerInstance { arn: instance_arn(c, i), force, at },
        Act::ForgetInstance(c, i) => Command::ForgetContainerInstances { arns: vec![instance_arn(c, i)] },
        Act::Start { tasks, family, revision, token: given } => {
            let definition = definition_arn(FAMILIES[family], revision);
            let tasks = tasks.into_iter().map(|(c, t, i, cpu, port)| {
                let mut task = task(CLUSTERS[c], t, i, definition.clone(), cpu, 1);
                task.reservation.ports.extend(port.map(tcp));
                task
            });
            let token = given.map(|(name, request)| token(&name.to_string(), &request.to_string(), now));
            Command::StartTasks { tasks: tasks.collect(), token }
        }
        Act::Stop(c, t) => {
            Command::StopTask { arn: task_arn(c, t), why: stop(StopCode::UserInitiated, "Task stopped by user"), at }
        }
        Act::See(c, i, t, status) => {
            let why = Stop::essential_exited();
            let status = match status {
                0 => ObservedStatus::Pending,
                1 => ObservedStatus::Running,
                2 => ObservedStatus::Stopping(why),
                _ => ObservedStatus::Stopped(why),
            };
            Command::Observe { instance: instance_arn(c, i), seen: vec![seen(task_arn(c, t), status)], at }
        }
        Act::End(c, t) => {
            Command::EndTasks { tasks: vec![task_arn(c, t)], why: stop(StopCode::TerminationNotice, "Host gone."), at }
        }
        Act::Forget(c, t) => Command::ForgetTasks { tasks: vec![task_arn(c, t)] },
        Act::ForgetTokens(before) => Command::ForgetTokens { scope: scope(), before: Timestamp(before) },
        Act::Tag(c, t) => Command::TagResource {
            resource: state::Resource::Task(task_arn(c, t)),
            tags: Tags(BTreeMap::from([(format!("k{}", now % 5), "v".to_owned())])),
        },
        Act::RunMachine(m, address) => Command::RunMachines { machines: vec![machine(m, address)] },
        Act::MoveMachine(m, to) => {
            Command::SetMachineState { scope: scope(), id: machine(m, 0).id, state: STATES[to], reason: None, at }
        }
    }
}

fn agree(model: &Model, store: &Store) {
    let snapshot = store.snapshot();
    assert_sound(&snapshot);
    let mut live = BTreeSet::new();
    for name in CLUSTERS {
        for row in snapshot.instances(&cluster_arn(name), None) {
            live.extend(snapshot.live_tasks_on(&row.instance.arn).map(|t| t.arn.clone()));
        }
    }
    let expected: BTreeSet<_> = model.live().map(|((c, t), _)| task_arn(CLUSTERS[*c], *t)).collect();
    assert_eq!(live, expected);
    assert_eq!(snapshot.task_counts(), (expected.len(), model.tasks.len() - expected.len()));
    let last = |f: usize| {
        let found = snapshot.families(&scope(), None).find(|(name, _)| name.as_str() == FAMILIES[f]);
        found.map_or(0, |(_, row)| row.last_revision)
    };
    assert_eq!([last(0), last(1)], model.families);
}

/// What every history begins with, so that most of what follows has something to stand on.
fn furniture() -> Vec<Act> {
    let mut acts = vec![Act::CreateCluster(0), Act::CreateCluster(1), Act::Register(0), Act::Register(1)];
    acts.extend((0..2).flat_map(|c| (0..2).map(move |i| Act::Join(c, i))));
    acts
}

fn play(acts: &[Act], store: &Store, reopen: impl Fn() -> Option<Store>) {
    let mut model = Model::default();
    for (step, act) in furniture().iter().chain(acts).enumerate() {
        let now = i64::try_from(step).expect("histories are short");
        let before = store.snapshot();
        let accepted = match commit(store, command(act, now)) {
            Ok(done) => {
                if let (Outcome::Tasks(tasks), Act::Start { tasks: wanted, .. }) = (&done.outcome, act) {
                    assert_eq!(tasks.len(), wanted.len());
                }
                true
            }
            Err(CommitError::Rejected(_)) => {
                assert_eq!(before, store.snapshot(), "a refused command changes nothing");
                false
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(accepted, model.act(act, now), "step {step}: {act:?}\n{model:?}");
        agree(&model, store);
        if step % 16 == 15
            && let Some(again) = reopen()
        {
            assert_eq!(*again.snapshot(), *store.snapshot(), "what is loaded is what was in memory");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_where_the_model_does(acts in prop::collection::vec(act(), 1..120)) {
        let memory = Memory::default();
        // A second look at the same records: reading them takes no leadership away that would be missed here.
        let records = memory.clone();
        let store = inline(memory);
        play(&acts, &store, || Some(inline(records.peek())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_on_the_disk_as_it_is_in_memory(acts in prop::collection::vec(act(), 60..120)) {
        let dir = tempfile::tempdir().unwrap();
        let store = inline(Sqlite::open(dir.path()).unwrap());
        play(&acts, &store, || None);
        let before = store.snapshot();
        let report = state::check(dir.path()).unwrap();
        prop_assert_eq!((&report.problems, report.revision), (&Vec::new(), before.revision()));
        drop(store);
        prop_assert_eq!(&*inline(Sqlite::open(dir.path()).unwrap()).snapshot(), &*before);
    }
}
