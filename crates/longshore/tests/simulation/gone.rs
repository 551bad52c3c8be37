//! Machines that leave for good: their instance is deregistered with all that runs on it, and another machine takes their place.

use crate::world::{Later, World};
use model::ContainerInstanceArn;
use serde_json::json;

/// How long it takes until another machine is there, in milliseconds.
const REPLACED_MILLIS: u64 = 60_000;

impl World {
    /// An instance is deregistered, whatever runs on it: its machine has died, or is to be used for something else.
    pub(crate) async fn deregister(&mut self) {
        let at = self.chance(self.agents.len());
        let instance = self.agents[at].instance().to_string();
        let input = json!({"containerInstance": instance, "force": true});
        if self.call("DeregisterContainerInstance", input).await.is_none() {
            return;
        }
        self.summary.deregistered += 1;
        let dies = self.chance(2) == 0;
        let agent = &mut self.agents[at];
        // One whose agent is away now is switched off before anybody starts that again.
        if let Some(effects) = agent.runs.take_if(|_| dies) {
            effects.kill();
        }
        let lives = agent.runs.is_some();
        if !lives {
            agent.road.cut();
            agent.machine.lose_power();
        }
        agent.machine.leave();
        self.replace(at);
        let how = if lives { "lives on" } else { "is dead" };
        self.tell(format!("machine {at} is deregistered, and {how}"));
        self.forget_start(at);
        self.later(REPLACED_MILLIS, Later::AgentStarts(at));
    }

    fn is_gone(&self, instance: &ContainerInstanceArn) -> bool {
        self.gone.iter().any(|agent| agent.instance() == instance)
    }

    /// An agent ends by itself only when its instance is deregistered.
    pub(crate) fn hold_ends(&mut self) {
        let ended = self.ended.lock().unwrap().clone();
        for (instance, how) in ended {
            if !self.is_gone(&instance) || !how.contains("Deregistered") {
                self.wrong.push(format!("the agent of {instance} ended by itself: {how}"));
            }
        }
    }

    /// Agents of deregistered instances have been told so, and have ended what they had.
    pub(crate) fn all_sent_away(&self) -> Result<(), String> {
        let ended = self.ended.lock().unwrap();
        for agent in self.gone.iter().filter(|agent| agent.runs.is_some()) {
            if !ended.iter().any(|(instance, _)| instance == agent.instance()) {
                return Err(format!("the agent of {} goes on", agent.instance()));
            }
            let there = agent.machine.there();
            if !there.is_empty() {
                return Err(format!("{there:?} are left on {}", agent.instance()));
            }
        }
        Ok(())
    }
}
