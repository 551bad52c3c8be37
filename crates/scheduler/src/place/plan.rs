//! What was decided, and why the rest was not.

use model::resources::Lacking;

/// Where tasks go. Indices are positions in the candidates that were handed in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One candidate per placed task, in the order of choice.
    pub placed: Vec<usize>,
    /// Tasks that found no place.
    pub unplaced: usize,
    /// If there are such tasks: for each considered instance, in the candidates' order, what stands in the way of one
    /// more. Becomes `failures[]`.
    pub held: Vec<Held>,
}

/// An instance that can not take one more task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The candidate, or `None` if the reason is about the cluster.
    pub instance: Option<usize>,
    /// What stands in the way.
    pub reason: Reason,
}

/// What stands in the way of a task, in the order in which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The cluster has no ACTIVE instance. RunTask tells it as `InvalidParameterException`.
    NoInstances,
    /// Something is short.
    Resource(Lacking),
    /// The agent is not connected.
    Agent,
    /// The required attribute of that index is not there, or has another value.
    Attribute(usize),
    /// It is in none of the zones that the task's subnets are in.
    Location,
    /// The constraint of that index, a `memberOf`, does not mean this instance.
    MemberOf(usize),
    /// A task of the same group is here already.
    DistinctInstance,
}

impl Reason {
    /// The text of `failures[].reason`. Source: "API failures messages" in the ECS developer guide; the last two are
    /// observed.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoInstances => "No Container Instances were found in your cluster.",
            Self::Resource(lacking) => lacking.reason(),
            Self::Agent => "AGENT",
            Self::Attribute(_) => "ATTRIBUTE",
            Self::Location => "LOCATION",
            Self::MemberOf(_) => "MemberOf placement constraint unsatisfied.",
            Self::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
        }
    }

    /// What a service's event says of the closest instance. Source: "Service event messages" in the ECS developer guide;
    /// what it has no words for it tells as an error by its name.
    pub fn in_an_event(self) -> &'static str {
        match self {
            Self::NoInstances => "is not there",
            Self::Resource(Lacking::Cpu) => "has insufficient CPU units available",
            Self::Resource(Lacking::Memory) => "has insufficient memory available",
            Self::Resource(Lacking::Ports) => "is already using a port required by your task",
            Self::Resource(Lacking::Gpu) => "has insufficient GPU resource available",
            Self::Resource(Lacking::Eni) => "encountered error \"RESOURCE:ENI\"",
            Self::Location => "encountered error \"LOCATION\"",
            Self::Agent => "encountered error \"AGENT\"",
            Self::Attribute(_) => "is missing an attribute required by your task",
            Self::MemberOf(_) => "encountered error \"MemberOf placement constraint unsatisfied.\"",
            Self::DistinctInstance => "encountered error \"DistinctInstance placement constraint unsatisfied.\"",
        }
    }

    /// How far an instance got before this stopped it.
    fn progress(self) -> u8 {
        match self {
            Self::NoInstances => 0,
            Self::Resource(_) => 1,
            Self::Agent => 2,
            Self::Attribute(_) | Self::Location => 3,
            Self::MemberOf(_) | Self::DistinctInstance => 4,
        }
    }
}

impl Plan {
    /// The instance that came closest to taking one more task, as service events name it.
    pub fn closest(&self) -> Option<&Held> {
        // `max_by_key` takes the last of equals; the first is what a reader of the list expects.
        self.held.iter().rev().max_by_key(|held| held.reason.progress())
    }
}
