//! The contest of instances under ordered strategies: a heap per class, a tournament over the classes.
//!
//! A class is the instances that share the buckets of every attribute spread over. Within a class those counts are
//! equal, so its order is that of the instances' own keys, and a heap keeps it; only its top is ever chosen. Between
//! classes the tops play a tournament with the counts filled in. One task costs one sift and one path up the
//! tournament. Instances are held against attributes and constraints only when they reach the top.

use super::{
    Candidate, MAX_STRATEGIES,
    chance::Chance,
    filter::Filter,
    ranking::{Ordered, Step},
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut},
};

/// Instances without the attribute share this bucket of its field; it always counts as the fullest.
const WITHOUT: u32 = 0;

/// What is compared, smallest first. `parts` follow the strategies; those of shared buckets stay 0 in an instance's own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    parts: [u32; MAX_STRATEGIES],
    price: u32,
    clock: u64,
    index: usize,
}

struct Entry {
    key: Key,
    /// Tasks of this batch on it.
    here: u32,
    /// Whether it is known to take a task as it stands.
    checked: bool,
}

impl Ord for Entry {
    /// Reversed, for the standard heap shows its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Entry {}

type Buckets = [u32; MAX_STRATEGIES];

struct Class {
    /// Per field, the bucket of its instances.
    buckets: Buckets,
    members: BinaryHeap<Entry>,
}

struct Contest<'a, C> {
    filter: &'a Filter<'a, C>,
    ranking: &'a Ordered<'a>,
    chance: Chance,
    classes: Vec<Class>,
    /// Per field and bucket, tasks of the group.
    counts: Vec<Vec<u32>>,
    /// A complete binary tree, root at 1, leaves in the order of the classes; each node names the class that wins below it.
    tournament: Vec<Option<usize>>,
}

pub(super) fn run<C: Candidate>(filter: &Filter<'_, C>, ranking: &Ordered<'_>, chance: Chance) -> Vec<usize> {
    let mut contest = Contest::new(filter, ranking, chance);
    let mut placed = Vec::with_capacity(filter.request.count.min(filter.candidates.len()));
    while placed.len() < filter.request.count {
        let Some(winner) = contest.tournament[1] else { break };
        match contest.seat(winner) {
            Some(index) => {
                placed.push(index);
                contest.count(winner);
            }
            None => contest.replay(winner),
        }
    }
    placed
}

impl<'a, C: Candidate> Contest<'a, C> {
    fn new(filter: &'a Filter<'a, C>, ranking: &'a Ordered<'a>, mut chance: Chance) -> Self {
        let mut counts: Vec<Vec<u32>> = vec![vec![0]; ranking.fields.len()];
        let mut names: Vec<BTreeMap<&str, u32>> = vec![BTreeMap::new(); ranking.fields.len()];
        let mut numbers: BTreeMap<Buckets, usize> = BTreeMap::new();
        let mut classes: Vec<(Buckets, Vec<Entry>)> = Vec::new();
        for (index, candidate) in filter.candidates.iter().enumerate() {
            let fits = filter.has_room(candidate);
            let tasks = if ranking.counts_tasks() { filter.tasks_counted(candidate) } else { 0 };
            if !fits && tasks == 0 {
                continue;
            }
            let mut buckets = [WITHOUT; MAX_STRATEGIES];
            for (field, name) in ranking.fields.iter().enumerate() {
                if let Some(value) = candidate.attribute(name) {
                    let counts = &mut counts[field];
                    let bucket = *names[field].entry(value.unwrap_or_default()).or_insert_with(|| {
                        counts.push(0);
                        counts.len() as u32 - 1
                    });
                    counts[bucket as usize] += tasks;
                    buckets[field] = bucket;
                }
            }
            if fits {
                let class = *numbers.entry(buckets).or_insert_with(|| {
                    classes.push((buckets, Vec::new()));
                    classes.len() - 1
                });
                classes[class].1.push(entry(index, candidate, ranking, tasks, &mut chance));
            }
        }
        let classes = classes.into_iter().map(|(buckets, members)| Class { buckets, members: members.into() });
        let mut contest = Self { filter, ranking, chance, classes: classes.collect(), counts, tournament: Vec::new() };
        contest.tournament = vec![None; 2 * contest.classes.len().next_power_of_two()];
        contest.replay_all();
        contest
    }

    /// Seats a task on the top of a class, or drops that top if it can not take one.
    fn seat(&mut self, class: usize) -> Option<usize> {
        let mut top = self.classes[class].members.peek_mut()?;
        let index = top.key.index;
        if !top.checked && !self.filter.takes(index, 0) {
            PeekMut::pop(top);
            return None;
        }
        top.here += 1;
        if !self.filter.takes(index, top.here) {
            PeekMut::pop(top);
            return Some(index);
        }
        top.checked = true;
        let want = self.filter.request.reservation;
        for (part, step) in top.key.parts.iter_mut().zip(&self.ranking.steps) {
            match step {
                Step::Buckets(_) => {}
                Step::Tasks => *part += 1,
                Step::Cpu => *part -= want.cpu.0,
                Step::Memory => *part -= want.memory.0,
            }
        }
        if self.ranking.redraws {
            top.key.clock = top.key.clock.saturating_add(self.chance.wait());
        }
        Some(index)
    }

    /// Counts a task in the buckets of a class and replays the matches this decides.
    fn count(&mut self, class: usize) {
        for (counts, bucket) in self.counts.iter_mut().zip(self.classes[class].buckets) {
            counts[bucket as usize] += 1;
        }
        // With more than one field other classes share these buckets, and any match may turn.
        if self.ranking.fields.len() > 1 { self.replay_all() } else { self.replay(class) }
    }

    fn replay(&mut self, class: usize) {
        let mut node = self.tournament.len() / 2 + class;
        self.tournament[node] = (!self.classes[class].members.is_empty()).then_some(class);
        while node > 1 {
            node /= 2;
            self.tournament[node] = self.better(self.tournament[2 * node], self.tournament[2 * node + 1]);
        }
    }

    fn replay_all(&mut self) {
        let leaves = self.tournament.len() / 2;
        for (class, leaf) in self.classes.iter().zip(leaves..) {
            self.tournament[leaf] = (!class.members.is_empty()).then_some(leaf - leaves);
        }
        for node in (1..leaves).rev() {
            self.tournament[node] = self.better(self.tournament[2 * node], self.tournament[2 * node + 1]);
        }
    }

    fn better(&self, a: Option<usize>, b: Option<usize>) -> Option<usize> {
        match (a.and_then(|class| self.key(class)), b.and_then(|class| self.key(class))) {
            (Some(left), Some(right)) => {
                if left <= right {
                    a
                } else {
                    b
                }
            }
            (Some(_), None) => a,
            (None, _) => b,
        }
    }

    /// The key of a class's top with the counts of its buckets filled in.
    fn key(&self, class: usize) -> Option<Key> {
        let Class { buckets, members } = &self.classes[class];
        let mut key = members.peek()?.key;
        for (part, step) in key.parts.iter_mut().zip(&self.ranking.steps) {
            match step {
                Step::Buckets(field) if buckets[*field] == WITHOUT => *part = u32::MAX,
                Step::Buckets(field) => *part = self.counts[*field][buckets[*field] as usize],
                Step::Tasks | Step::Cpu | Step::Memory => {}
            }
        }
        Some(key)
    }
}

fn entry<C: Candidate>(index: usize, candidate: &C, ranking: &Ordered<'_>, tasks: u32, chance: &mut Chance) -> Entry {
    let left = candidate.remaining();
    let mut parts = [0; MAX_STRATEGIES];
    for (part, step) in parts.iter_mut().zip(&ranking.steps) {
        *part = match step {
            Step::Buckets(_) => 0,
            Step::Tasks => tasks,
            Step::Cpu => left.cpu.0,
            Step::Memory => left.memory.0,
        };
    }
    let price = if ranking.ends_with_chance { 0 } else { candidate.price_micro_usd_hour() };
    Entry { key: Key { parts, price, clock: chance.wait(), index }, here: 0, checked: false }
}
