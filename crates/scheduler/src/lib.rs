//! Decisions: where a task goes and what comes next. A view in, a plan out. Pure.
//!
//! Nothing here waits, reads a clock or keeps state between calls: the caller hands in what it knows (`Candidate`),
//! what it wants (`PlacementRequest`) and a seed, and gets a `Plan` that also says what was held back and why. The
//! same `query::Expression` serves `memberOf` constraints and the filter of ListContainerInstances. `service` decides what a
//! service does next in the same way; it asks for tasks, and does not place them. `fleet` turns the question round: which instances
//! would do for the tasks there are. `group` keeps an Auto Scaling group at its size, and `managed` says which size that is.

pub mod capacity;
pub mod fleet;
pub mod group;
pub mod managed;
pub mod place;
pub mod query;
pub mod reclaim;
pub mod service;

pub use place::{
    Binpack, Candidate, Constraint, Held, InstanceView, InvalidPlacement, MAX_CONSTRAINTS, MAX_STRATEGIES,
    PlacementRequest, Plan, Reason, SpreadField, Strategy, draw, lacking_everywhere, obstacle, place,
};
pub use query::{Expression, InvalidExpression, Subject};
