//! What a service does next: desired and actual in; starts, stops, words and the next record out.
//!
//! Reading order: `view` (what goes in and comes out), `count` (what each task means), then this file: a pass first gives
//! up what is lost, then looks whether the deployment still deserves its tasks (`rollout`), then moves tasks by the rules of
//! the scheduling strategy (`replica`, `daemon`), or of the stage that the deployment is in (`blue_green`), then writes down what has been reached (`rollout` again), and only a
//! service that has all it wants moves tasks between zones (`rebalance`). Where an external controller deploys the service,
//! its task sets take the deployment's place (`task_sets`). What the API asks for is in `deploy` and `task_sets`, every text
//! in `events`.
//!
//! A pass is a function of its view alone. Nothing here remembers: a plan that was refused, or of which only a part could
//! be placed, is simply made again from what is there then; the laws in `laws` hold that this comes to an end.

pub mod blue_green;
mod count;
mod daemon;
pub mod deploy;
pub mod events;
pub mod hook_task;
mod pass;
mod rebalance;
mod replica;
mod rollout;
mod scale_in;
pub mod task_sets;
mod unhealthy;
mod view;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use count::{HEALTHY_AFTER_MILLIS, LOST_AFTER_MILLIS, is_healthy};
pub use view::{Field, Hold, InstanceState, Place, Plan, Start, StopTask, Told, View};

use model::{SchedulingStrategy, ServiceStatus, TaskStatus};
use pass::Pass;

/// Decides what a service does next.
///
/// Costs one pass over its tasks; walks over instances, and over events, only where `Field` and `View` say so.
pub fn plan(view: &View<'_>) -> Plan {
    let mut pass = Pass::new(view);
    match view.service.status {
        ServiceStatus::Active => active(&mut pass),
        ServiceStatus::Draining => draining(&mut pass),
        ServiceStatus::Inactive => {}
    }
    pass.finish()
}

fn active(pass: &mut Pass<'_>) {
    pass.stop_lost();
    if pass.service().external.is_some() {
        task_sets::plan(pass);
        pass.say_what_it_waits_for();
        return;
    }
    match pass.service().scheduling {
        SchedulingStrategy::Replica => {
            rollout::watch(pass);
            rebalance::look(pass);
            if !blue_green::plan(pass) {
                replica::plan(pass);
            }
            rollout::settle(pass);
            rebalance::plan(pass);
        }
        SchedulingStrategy::Daemon => {
            let homes = daemon::look(pass);
            rollout::watch(pass);
            daemon::plan(pass, &homes);
            rollout::settle(pass);
        }
    }
    rollout::steady(pass);
    pass.say_what_it_waits_for();
}

/// A deleted service stops all it has. It is INACTIVE when its tasks are STOPPING or STOPPED. Source: `DeleteService`.
fn draining(pass: &mut Pass<'_>) {
    pass.stop_lost();
    rollout::end_with_the_service(pass);
    let tasks: Vec<_> = pass.roll.members.iter().map(|m| m.task).collect();
    pass.stop_scaling(&tasks);
    if pass.roll.leaving.iter().all(|task| task.last_status() >= TaskStatus::Stopping) {
        let service = pass.edit();
        service.status = ServiceStatus::Inactive;
        service.external.iter_mut().for_each(|external| external.sets.clear());
    }
}
