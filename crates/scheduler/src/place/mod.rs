//! Where tasks go: filter, constrain, rank, choose; each task of a batch sees those before it.
//!
//! The order is the original's: resources, agent and attributes first, then constraints, then strategies, the later
//! ones breaking the ties of the earlier. A strategy never refuses what the filter lets through. Among equals the
//! cheaper instance type wins, then chance, whose seed is an argument, so that a plan can be made again.
//! Source: "How Amazon ECS places tasks on container instances" in the ECS developer guide.

mod chance;
mod contest;
mod draw;
mod filter;
mod plan;
mod ranking;
mod request;
mod view;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use draw::draw;
pub use filter::{lacking_everywhere, obstacle};
pub use plan::{Held, Plan, Reason};
pub use request::{
    Binpack, Constraint, InvalidPlacement, MAX_CONSTRAINTS, MAX_STRATEGIES, PlacementRequest, SpreadField, Strategy,
};
pub use view::{Candidate, InstanceView};

use chance::Chance;
use filter::Filter;
use ranking::Ranking;

/// Chooses instances for `request.count` equal tasks. Only ACTIVE candidates are considered.
///
/// Costs one cheap pass over the candidates (none at all without a strategy), then a logarithm of their number per
/// task. Attributes and constraints are looked at only where a task is about to go, until one can not be placed.
pub fn place<C: Candidate>(candidates: &[C], request: &PlacementRequest<'_>, seed: u64) -> Plan {
    let filter = Filter::new(candidates, request);
    let chance = Chance::new(seed);
    let placed = match Ranking::of(request.strategy) {
        Ranking::Chance => at_random(&filter, chance),
        Ranking::Ordered(ranking) => contest::run(&filter, &ranking, chance),
    };
    let unplaced = request.count - placed.len();
    let held = if unplaced > 0 { filter.explain(&placed) } else { Vec::new() };
    Plan { placed, unplaced, held }
}

/// Draws among all instances, and drops those that turn out not to fit: uniform, and blind to all it did not draw.
fn at_random<C: Candidate>(filter: &Filter<'_, C>, mut chance: Chance) -> Vec<usize> {
    let mut pool: Vec<(usize, u32)> = (0..filter.candidates.len()).map(|index| (index, 0)).collect();
    let mut placed = Vec::with_capacity(filter.request.count.min(pool.len()));
    while placed.len() < filter.request.count && !pool.is_empty() {
        let drawn = chance.below(pool.len());
        let (index, here) = pool[drawn];
        if filter.takes(index, here) {
            placed.push(index);
            pool[drawn].1 += 1;
        } else {
            pool.swap_remove(drawn);
        }
    }
    placed
}
