//! What strategies compare, laid out so that placing a task changes as little as possible.
//!
//! A strategy looks either at the instance alone (binpack, spread over instances, chance) or at a bucket it shares
//! with others (spread over an attribute). The first kind makes the instance's own key, which changes only when it is
//! itself chosen; the second is a count per bucket, kept once for all its instances.

use super::{Binpack, MAX_STRATEGIES, SpreadField, Strategy};

pub(super) enum Ranking<'a> {
    /// Nothing but chance.
    Chance,
    Ordered(Ordered<'a>),
}

pub(super) struct Ordered<'a> {
    /// At most [`MAX_STRATEGIES`].
    pub(super) steps: Vec<Step>,
    /// The attributes spread over; `Step::Buckets` points here.
    pub(super) fields: Vec<&'a str>,
    /// `random` stands last: what comes after it, and price, would never be asked.
    pub(super) ends_with_chance: bool,
    /// A chosen instance draws a new clock, so that equals take turns by chance. Not when packing: tasks that want
    /// nothing of what is packed still stay together.
    pub(super) redraws: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Tasks of the group in the instance's bucket of that field.
    Buckets(usize),
    /// Tasks of the group on the instance.
    Tasks,
    /// CPU units left.
    Cpu,
    /// Memory left.
    Memory,
}

impl<'a> Ranking<'a> {
    pub(super) fn of(strategies: &'a [Strategy]) -> Self {
        let mut ordered = Ordered { steps: Vec::new(), fields: Vec::new(), ends_with_chance: false, redraws: true };
        for strategy in strategies.iter().take(MAX_STRATEGIES) {
            let step = match strategy {
                Strategy::Random => {
                    ordered.ends_with_chance = true;
                    break;
                }
                Strategy::Spread(SpreadField::InstanceId) => Step::Tasks,
                Strategy::Spread(SpreadField::Attribute(name)) => Step::Buckets(ordered.field(name)),
                Strategy::Binpack(Binpack::Cpu) => Step::Cpu,
                Strategy::Binpack(Binpack::Memory) => Step::Memory,
            };
            // A strategy that came before can not break its own ties.
            if !ordered.steps.contains(&step) {
                ordered.steps.push(step);
            }
        }
        if ordered.steps.is_empty() {
            return Self::Chance;
        }
        ordered.redraws = ordered.ends_with_chance || !ordered.packs();
        Self::Ordered(ordered)
    }
}

impl<'a> Ordered<'a> {
    fn field(&mut self, name: &'a str) -> usize {
        self.fields.iter().position(|f| *f == name).unwrap_or_else(|| {
            self.fields.push(name);
            self.fields.len() - 1
        })
    }

    fn packs(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Cpu | Step::Memory))
    }

    /// Whether the group's tasks are counted.
    pub(super) fn counts_tasks(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Buckets(_) | Step::Tasks))
    }
}
