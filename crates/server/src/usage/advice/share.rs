//! What each task cost of the instances that it was on.
//!
//! A second of an instance is paid by the tasks that were on it when the second began, by what they hold: a vCPU counts as much
//! as nine GB, as in AWS's split cost allocation data, and what is left of the instance is theirs too. A second of nobody's is
//! idle and stays the instance's. Every share is what has been given out so far less what was before it, so none is lost.

use super::{Figures, Group, Table};
use model::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use telemetry::usage::{Atoms, Price, PriceList, Resource, Usage, Window};

/// What a vCPU counts beside a GB. Source: "Understanding split cost allocation data".
const CPU_WEIGHT: u128 = 9;
/// 1,024ths of an instance, in which amounts are counted.
const WHOLE: u128 = 1_024;

/// A time that an instance stood.
struct Stay {
    instance: Arc<str>,
    cluster: Arc<str>,
    group: Option<Group>,
    from: Timestamp,
    seconds: u64,
    /// What it is called on the bill, if it has no price.
    price: Result<Price, String>,
}

/// A task on an instance.
struct Held {
    group: Option<Group>,
    from: Timestamp,
    to: Timestamp,
    weight: u128,
}

pub(super) struct Shares<'a> {
    windows: &'a [Window],
    prices: &'a PriceList,
    stays: Vec<Stay>,
    held: HashMap<Arc<str>, Vec<Held>>,
    /// By cluster, when there were tasks of which nobody knows the instance: then none of its instances is called idle.
    somewhere: HashMap<Arc<str>, Vec<Held>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Leaves(usize),
    Comes(usize),
    LeavesSomewhere,
    ComesSomewhere,
    Edge,
}

impl<'a> Shares<'a> {
    pub(super) fn new(windows: &'a [Window], prices: &'a PriceList) -> Self {
        Self { windows, prices, stays: Vec::new(), held: HashMap::new(), somewhere: HashMap::new() }
    }

    pub(super) fn add(&mut self, usage: &Usage, group: Option<Group>) {
        let owner = &usage.owner;
        let scope = &owner.scope;
        let cluster = || Arc::<str>::from(format!("{}/{}/{}", scope.account, scope.region, owner.cluster));
        match (&usage.what, usage.instance()) {
            (Resource::Instance { .. } | Resource::External, instance) => {
                let charge = usage.charges().into_iter().next().map(|charge| charge.usage_type).unwrap_or_default();
                let region = scope.region.as_str();
                let price = self.prices.find(region, &charge).ok_or_else(|| PriceList::on_bill(region, &charge));
                let (from, seconds) = (usage.from, usage.seconds());
                let instance = instance.unwrap_or_default().into();
                self.stays.push(Stay { instance, cluster: cluster(), group, from, seconds, price });
            }
            (Resource::OnInstance { cpu, memory, .. }, on) => {
                let weight = (CPU_WEIGHT * u128::from(*cpu) + u128::from(*memory)).max(1);
                let held = Held { group, from: usage.from, to: usage.to, weight };
                match on {
                    Some(on) => self.held.entry(on.into()).or_default().push(held),
                    None => self.somewhere.entry(cluster()).or_default().push(held),
                }
            }
            (Resource::Fargate { .. }, _) => {}
        }
    }

    pub(super) fn finish(mut self, table: &mut Table) {
        let of_somewhere = self.somewhere.values().flatten();
        for (held, group) in of_somewhere.filter_map(|held| held.group.map(|group| (held, group))) {
            for (window, figures) in self.windows.iter().zip(table.iter_mut()) {
                if held.from < window.to && held.to >= window.from {
                    figures.entry(group).or_default().is_partial = true;
                }
            }
        }
        self.somewhere.values_mut().for_each(join);
        for stay in &self.stays {
            self.share(stay, table);
        }
    }

    /// Goes through a stay's seconds in stretches in which nothing changes.
    fn share(&self, stay: &Stay, table: &mut Table) {
        let held = self.held.get(&stay.instance).map(Vec::as_slice).unwrap_or_default();
        let events = self.events(stay, held);
        let (mut here, mut somewhere, mut at) = (BTreeMap::<usize, &Held>::new(), 0_u32, 0);
        for (second, event) in events {
            if second > at {
                if let Some(figures) = self.window_of(stay, at).and_then(|window| table.get_mut(window)) {
                    give(stay, second - at, &here, somewhere > 0, figures);
                }
                at = second;
            }
            match event {
                Event::Comes(index) => {
                    here.insert(index, &held[index]);
                }
                Event::Leaves(index) => {
                    here.remove(&index);
                }
                Event::ComesSomewhere => somewhere += 1,
                Event::LeavesSomewhere => somewhere = somewhere.saturating_sub(1),
                Event::Edge => {}
            }
        }
    }

    /// By the second of the stay, the last of which is its end.
    fn events(&self, stay: &Stay, held: &[Held]) -> Vec<(u64, Event)> {
        let mut events = vec![(stay.seconds, Event::Edge)];
        for window in self.windows {
            events.extend([(stay.second(window.from), Event::Edge), (stay.second(window.to), Event::Edge)]);
        }
        let of = |held: &Held| (stay.second(held.from), stay.second(held.to));
        for (index, (from, to)) in held.iter().map(of).enumerate().filter(|(_, (from, to))| from < to) {
            events.extend([(from, Event::Comes(index)), (to, Event::Leaves(index))]);
        }
        let somewhere = self.somewhere.get(&stay.cluster).map(Vec::as_slice).unwrap_or_default();
        for (from, to) in somewhere.iter().map(of).filter(|(from, to)| from < to) {
            events.extend([(from, Event::ComesSomewhere), (to, Event::LeavesSomewhere)]);
        }
        events.sort_unstable();
        events
    }

    /// The window in which a second of the stay begins.
    fn window_of(&self, stay: &Stay, second: u64) -> Option<usize> {
        let at = self.windows.partition_point(|window| stay.second(window.to) <= second);
        self.windows.get(at).filter(|window| stay.second(window.from) <= second).map(|_| at)
    }
}

/// Makes one of those that overlap or touch: a month of old tasks is few times, and each instance goes through them.
fn join(held: &mut Vec<Held>) {
    held.sort_unstable_by_key(|held| held.from);
    held.dedup_by(|next, last| {
        let meets = next.from <= last.to;
        if meets {
            last.to = last.to.max(next.to);
        }
        meets
    });
}

impl Stay {
    /// How many of its seconds begin before a moment.
    fn second(&self, moment: Timestamp) -> u64 {
        let millis = u64::try_from(moment.millis_since(self.from)).unwrap_or(0);
        millis.div_ceil(1_000).min(self.seconds)
    }
}

fn give(
    stay: &Stay,
    seconds: u64,
    here: &BTreeMap<usize, &Held>,
    is_used: bool,
    figures: &mut BTreeMap<Group, Figures>,
) {
    let price = stay.price.as_ref().copied().unwrap_or_default();
    let cost = price.of(WHOLE * u128::from(seconds));
    if here.is_empty() {
        if let Some(figures) = pay(stay, stay.group, cost, figures).filter(|_| !is_used) {
            figures.idle += cost;
            figures.idle_seconds += seconds;
        }
        return;
    }
    let all: u128 = here.values().map(|held| held.weight).sum();
    let (whole, rest) = (cost.0 / all, cost.0 % all);
    let mut before = 0;
    for held in here.values() {
        let upto = before + held.weight;
        let part = whole * held.weight + rest * upto / all - rest * before / all;
        pay(stay, held.group, Atoms(part), figures);
        before = upto;
    }
}

/// Adds a part of a stay's cost to what a group paid, if it is asked about.
fn pay<'t>(
    stay: &Stay,
    group: Option<Group>,
    part: Atoms,
    figures: &'t mut BTreeMap<Group, Figures>,
) -> Option<&'t mut Figures> {
    let figures = figures.entry(group?).or_default();
    figures.as_run += part;
    figures.unpriced.extend(stay.price.as_ref().err().cloned());
    Some(figures)
}
