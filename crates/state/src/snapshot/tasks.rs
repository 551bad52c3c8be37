//! Tables of tasks and the filters of ListTasks.
//!
//! Live and stopped tasks stand apart, so that what runs is never looked for among what has run. Beside the records one
//! ordered set holds, for each thing that can be filtered by, a fingerprint of it and the task's id: 24 bytes an entry,
//! in the order in which pages run. Two things with one fingerprint do no harm, since every hit is looked at.

use imbl::{OrdMap, OrdSet, ordmap::DiffItem};
use model::{ContainerInstanceId, Family, LaunchType, Task, TaskId, TaskStatus};
use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

/// The 32 hexadecimal digits of a task's or an instance's id, as a number: ordered as the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u64, u64);

impl Id {
    /// Of a text whose form was checked when it became a `TaskId` or `ContainerInstanceId`.
    pub(crate) fn of(text: &str) -> Self {
        let half = |t: Option<&str>| t.and_then(|t| u64::from_str_radix(t, 16).ok());
        let both = half(text.get(..16)).zip(half(text.get(16..)));
        let (high, low) = both.expect("ids in the model are 32 hexadecimal digits");
        Self(high, low)
    }

    const MIN: Self = Self(0, 0);
    const MAX: Self = Self(u64::MAX, u64::MAX);
}

/// What AWS's `desiredStatus` filter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Desire {
    /// Tasks that are to run: the default.
    #[default]
    Running,
    /// Tasks that are to stop or have stopped.
    Stopped,
    /// Both: what describing and counting need, and no ListTasks can ask.
    Any,
}

/// Which tasks a list shows. What is `None` lets all through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// What is wanted of them.
    pub desired: Desire,
    /// Of one family.
    pub family: Option<Family>,
    /// On one instance.
    pub container_instance: Option<ContainerInstanceId>,
    /// Started by somebody.
    pub started_by: Option<String>,
    /// In one group; a service's is `service:…`.
    pub group: Option<String>,
    /// Launched in one way.
    pub launch_type: Option<LaunchType>,
    /// Only those behind this one.
    pub after: Option<TaskId>,
}

impl TaskFilter {
    fn lets(&self, task: &Task) -> bool {
        let desired = match self.desired {
            Desire::Running => !task.is_to_stop(),
            Desire::Stopped => task.is_to_stop(),
            Desire::Any => true,
        };
        desired
            && self.family.as_ref().is_none_or(|f| *f == task.definition.family)
            && (self.container_instance.is_none() || self.container_instance == task.container_instance)
            && self.started_by.as_ref().is_none_or(|s| task.started_by.as_deref() == Some(s))
            && self.group.as_ref().is_none_or(|g| **g == *task.group)
            && self.launch_type.is_none_or(|l| l == task.launch_type)
    }

    fn after(&self) -> Option<Id> {
        self.after.as_ref().map(|id| Id::of(id.as_str()))
    }

    /// The fingerprint under which the fewest tasks are to be expected.
    fn narrowest(&self) -> Option<u64> {
        let started_by = self.started_by.as_deref().map(|s| fingerprint(Facet::StartedBy, s));
        let instance = self.container_instance.as_ref().map(|i| fingerprint(Facet::Instance, i.as_str()));
        let group = self.group.as_deref().map(|g| fingerprint(Facet::Group, g));
        let family = self.family.as_ref().map(|f| fingerprint(Facet::Family, f.as_str()));
        started_by.or(instance).or(group).or(family)
    }
}

/// What tasks can be filtered by.
#[derive(Clone, Copy)]
enum Facet {
    Family = 1,
    Instance = 2,
    StartedBy = 3,
    Group = 4,
}

/// FNV-1a over the facet's number and the text: the same on every machine and in every version, as an order must be.
fn fingerprint(facet: Facet, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(step(0xcbf2_9ce4_8422_2325, facet as u8), step)
}

/// Of tasks that wait for room all the same, by which they are found.
fn of_instance(task: &Task) -> u64 {
    fingerprint(Facet::Instance, task.container_instance.as_ref().map_or("", |id| id.as_str()))
}

fn facets(task: &Task) -> impl Iterator<Item = u64> {
    let family = fingerprint(Facet::Family, task.definition.family.as_str());
    let instance = of_instance(task);
    let group = fingerprint(Facet::Group, &task.group);
    let started_by = task.started_by.as_deref().map(|s| fingerprint(Facet::StartedBy, s));
    [family, instance, group].into_iter().chain(started_by)
}

/// Sorted items, each second one first. A map that takes them in this order has its leaves half full after the first half
/// and full after the second; simply in order they would all stay half full.
pub(super) fn in_order<T: Clone>(sorted: &[T]) -> impl Iterator<Item = T> {
    let half = |first: usize| sorted.iter().skip(first).step_by(2);
    half(0).chain(half(1)).cloned()
}

/// Tasks by id, and by what they can be filtered by.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TaskTable {
    tasks: OrdMap<Id, Arc<Task>>,
    facets: OrdSet<(u64, Id)>,
    /// Those of the live ones that are to stop: few, and a list of what has stopped begins with them.
    stopping: OrdSet<Id>,
}

impl TaskTable {
    /// A table of these, whose ids differ.
    pub(super) fn of(mut tasks: Vec<(Id, Arc<Task>)>) -> Self {
        tasks.sort_unstable_by_key(|(id, _)| *id);
        let mut facets: Vec<_> = tasks.iter().flat_map(|(id, task)| facets(task).map(move |f| (f, *id))).collect();
        facets.sort_unstable();
        let stopping = tasks.iter().filter(|(_, task)| is_stopping(task)).map(|(id, _)| *id).collect();
        Self { facets: in_order(&facets).collect(), tasks: in_order(&tasks).collect(), stopping }
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Arc<Task>> {
        self.tasks.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// Adds a task, or replaces one by a later form of itself: what it can be filtered by never changes, but for the instance of
    /// one that waited for room.
    pub(crate) fn put(&mut self, id: Id, task: Arc<Task>) {
        if is_stopping(&task) {
            self.stopping.insert(id);
        } else {
            self.stopping.remove(&id);
        }
        if let Some(slot) = self.tasks.get_mut(&id) {
            let (was, is) = (of_instance(slot), of_instance(&task));
            *slot = task;
            if was != is {
                self.facets.remove(&(was, id));
                self.facets.insert((is, id));
            }
            return;
        }
        for facet in facets(&task) {
            self.facets.insert((facet, id));
        }
        self.tasks.insert(id, task);
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<Arc<Task>> {
        let task = self.tasks.remove(&id)?;
        self.stopping.remove(&id);
        for facet in facets(&task) {
            self.facets.remove(&(facet, id));
        }
        Some(task)
    }

    /// Tasks that `after` has and this table has not, or has in another form; with that form.
    pub(super) fn changes<'a>(
        &'a self,
        after: &'a Self,
    ) -> impl Iterator<Item = (Id, Option<&'a Arc<Task>>, &'a Arc<Task>)> {
        self.tasks.diff(&after.tasks).filter_map(|item| match item {
            DiffItem::Add(id, is) => Some((*id, None, is)),
            DiffItem::Update { old: (id, was), new: (_, is) } => Some((*id, Some(was), is)),
            DiffItem::Remove(..) => None,
        })
    }

    /// The tasks placed on an instance, by id.
    pub(crate) fn on_instance(&self, instance: &ContainerInstanceId) -> impl Iterator<Item = &Arc<Task>> + use<'_> {
        let instance = instance.clone();
        let all = self.under(fingerprint(Facet::Instance, instance.as_str()), None);
        all.map(|(_, task)| task).filter(move |task| task.container_instance.as_ref() == Some(&instance))
    }

    /// The tasks that wait for an instance, by id.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Arc<Task>> {
        let all = self.under(fingerprint(Facet::Instance, ""), None);
        all.map(|(_, task)| task).filter(|task| task.waits())
    }

    fn under(&self, facet: u64, after: Option<Id>) -> impl Iterator<Item = (Id, &Arc<Task>)> {
        let from = after.map_or(Included((facet, Id::MIN)), |id| Excluded((facet, id)));
        let range = self.facets.range((from, Included((facet, Id::MAX))));
        range.filter_map(|(_, id)| Some((*id, self.tasks.get(id)?)))
    }

    fn behind<'a>(&'a self, filter: &'a TaskFilter) -> Box<dyn Iterator<Item = (Id, &'a Arc<Task>)> + 'a> {
        let after = filter.after();
        match filter.narrowest() {
            Some(facet) => Box::new(self.under(facet, after).filter(|(_, task)| filter.lets(task))),
            None => {
                let all = self.tasks.range((after.map_or(Unbounded, Excluded), Unbounded));
                Box::new(all.map(|(id, task)| (*id, task)).filter(|(_, task)| filter.lets(task)))
            }
        }
    }

    /// As [`Self::behind`], of those only that are to stop.
    fn stopping_behind<'a>(&'a self, filter: &'a TaskFilter) -> Box<dyn Iterator<Item = (Id, &'a Arc<Task>)> + 'a> {
        let ids = self.stopping.range((filter.after().map_or(Unbounded, Excluded), Unbounded));
        Box::new(ids.filter_map(|id| Some((*id, self.tasks.get(id)?))).filter(|(_, task)| filter.lets(task)))
    }
}

fn is_stopping(task: &Task) -> bool {
    task.is_to_stop() && task.last_status() != TaskStatus::Stopped
}

/// Both tables' tasks that the filter lets through, merged by id; the stopped ones are not touched if none can be among them.
pub(super) fn filtered<'a>(
    live: &'a TaskTable,
    stopped: &'a TaskTable,
    filter: &'a TaskFilter,
) -> Box<dyn Iterator<Item = &'a Arc<Task>> + 'a> {
    match filter.desired {
        Desire::Running => Box::new(live.behind(filter).map(|(_, task)| task)),
        Desire::Stopped | Desire::Any => {
            let all = filter.desired == Desire::Any;
            let live = if all { live.behind(filter) } else { live.stopping_behind(filter) };
            let (mut live, mut stopped) = (live.peekable(), stopped.behind(filter).peekable());
            Box::new(std::iter::from_fn(move || {
                let from_live = match (live.peek(), stopped.peek()) {
                    (Some((a, _)), Some((b, _))) => a < b,
                    (one, _) => one.is_some(),
                };
                if from_live { live.next() } else { stopped.next() }.map(|(_, task)| task)
            }))
        }
    }
}
