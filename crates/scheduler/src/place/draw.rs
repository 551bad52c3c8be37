//! Chance without a list: most RunTasks name no strategy, and then the choice does not need to see all instances.

use super::{Candidate, PlacementRequest, chance::Chance, filter::takes, ranking::Ranking};

/// Draws that may hit nothing, so that a plan costs little even if it fails. Where half of the instances can take the task,
/// all of these miss once in four thousand million times; where hardly any can, looking at all is the better way.
const MISSES: usize = 32;

/// Draws instances for `request.count` equal tasks by their numbers, from 0 up to `among`, and looks only at those it draws;
/// a number whose instance is not to be considered is `None`. Returns a number per task, in the order of choice.
///
/// As fair as [`place`](super::place): whatever is hit and can not take the task is drawn again. `None` if more than chance
/// is asked for, or if too little was hit: then only `place` can tell who takes the tasks, and why the others do not.
pub fn draw<C: Candidate>(
    among: usize,
    candidate: impl Fn(usize) -> Option<C>,
    request: &PlacementRequest<'_>,
    seed: u64,
) -> Option<Vec<usize>> {
    match Ranking::of(request.strategy) {
        Ranking::Chance => {}
        Ranking::Ordered(_) => return None,
    }
    let (mut chance, mut misses) = (Chance::new(seed), 0);
    let mut placed = Vec::with_capacity(request.count);
    while placed.len() < request.count {
        if among == 0 || misses == MISSES {
            return None;
        }
        let drawn = chance.below(among);
        // Tasks that are placed together are few; counting them costs less than keeping a table of them.
        let here = placed.iter().filter(|at| **at == drawn).count();
        let fits = candidate(drawn).is_some_and(|c| u32::try_from(here).is_ok_and(|here| takes(&c, request, here)));
        if fits {
            placed.push(drawn);
        } else {
            misses += 1;
        }
    }
    Some(placed)
}
