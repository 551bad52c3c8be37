//! The cluster and what befalls it.

use crate::{
    laws::{Laws, Restless, is_of_a_hook},
    net::Road,
    node,
};
use agent::detect::ResourceOverrides;
use effects::Effects;
use link::Identity;
use model::{ContainerInstanceArn, CpuUnits, MemoryMib, Task, TaskArn, Timestamp};
use serde_json::Value;
use server::{Context, PlainLink};
use state::{Memory, Store, audit};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tempfile::TempDir;

const AGENTS: usize = 4;
/// Steps of a storm; each lasts half a second on average.
const STEPS: usize = 500;
/// Wall time at the beginning.
const START: Timestamp = Timestamp(1_750_000_000_000);
/// How long anything may take once all is well: several regular looks at containers and retried removals.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// Lines of the story that are told when something is wrong.
const STORY: usize = 60;

/// How far a clock that somebody sets may be off, in milliseconds. Less than tasks are remembered for.
const CLOCK_MILLIS: i64 = 15 * 60_000;
/// Within that the server's loops look at the clock again, whatever happens.
const CLOCK_NOTICED: Duration = Duration::from_secs(61);

/// Something that happens later.
pub(crate) enum Later {
    ServerStarts,
    AgentStarts(usize),
    RoadClears(usize),
    MachineHears(usize),
    /// The client asks again, because it had no answer.
    Retry(String),
}

pub(crate) struct Agent {
    pub(crate) machine: node::Machine,
    pub(crate) road: Road,
    identity: Identity,
    config: agent::Config,
    /// How far its clock is off.
    skew: i64,
    pub(crate) runs: Option<Effects>,
    /// When it was killed.
    pub(crate) killed: Vec<Duration>,
}

/// What a run consisted of.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) tasks: u64,
    pub(crate) exit_codes: u64,
    pub(crate) failed_to_start: u64,
    pub(crate) server_kills: u64,
    pub(crate) agent_kills: u64,
    pub(crate) cuts: u64,
    pub(crate) stalls: u64,
    pub(crate) retries: u64,
    pub(crate) services: u64,
    pub(crate) updates: u64,
    pub(crate) set_changes: u64,
    pub(crate) decisions: u64,
    pub(crate) moved: u64,
    pub(crate) power_losses: u64,
    pub(crate) clocks_set: u64,
    /// Instances that were deregistered.
    pub(crate) deregistered: u64,
    /// Requests about the same service that were made at once.
    pub(crate) races: u64,
    /// Deployments that were stopped by hand.
    pub(crate) deployments_stopped: u64,
    /// Turns of lifecycle hooks that had a task.
    pub(crate) turns: u64,
    /// Tasks of services that were started, and that were stopped by their scheduler.
    pub(crate) starts: u64,
    pub(crate) stops: u64,
    /// Tasks for which no address was left.
    pub(crate) addresses_missed: u64,
}

/// A request whose answer may have been lost.
pub(crate) struct Asked {
    pub(crate) input: Value,
    pub(crate) tasks: BTreeSet<TaskArn>,
}

pub(crate) struct World {
    /// The world's own clock, and the chance that says what happens when; it is never killed.
    pub(crate) effects: Effects,
    /// The chance of this step alone: what one step finds does not change what the next ones are.
    pub(crate) dice: Effects,
    dir: TempDir,
    addresses: node::Addresses,
    memory: Memory,
    server: Option<(Context, Effects)>,
    /// Where the server is reached.
    link: Option<PlainLink>,
    /// How far the server's clock is off.
    skew: i64,
    /// When the server began, by its clock.
    began: Timestamp,
    /// Since when the server's loops may not have noticed how its clock was set; for ever, if it was set back.
    clock_set: Option<(Duration, bool)>,
    /// Which revision was audited last.
    audited: Option<(u64, u64)>,
    pub(crate) laws: Laws,
    pub(crate) restless: Restless,
    pub(crate) agents: Vec<Agent>,
    /// Those whose instance was deregistered; others are in their places.
    pub(crate) gone: Vec<Agent>,
    later: BTreeMap<(Duration, u64), Later>,
    laters: u64,
    /// Every task that a client was told of.
    pub(crate) seen: BTreeSet<TaskArn>,
    pub(crate) to_stop: BTreeSet<TaskArn>,
    pub(crate) asked: BTreeMap<String, Asked>,
    /// Where tasks with an interface may be.
    pub(crate) subnets: Vec<String>,
    pub(crate) summary: Summary,
    pub(crate) wrong: Vec<String>,
    /// Agents that ended by themselves: whose, and how.
    pub(crate) ended: Arc<Mutex<Vec<(ContainerInstanceArn, String)>>>,
    story: Vec<(Duration, String)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let effects = Effects::simulated(seed, START);
        // Durability of files is not what is tested here, and memory is quicker.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let addresses = node::Addresses::default();
        let agents = (0..AGENTS).map(|at| Agent::new(at, at, &dir, (&effects, &effects), &addresses)).collect();
        Self {
            laws: Laws::new(effects.clone()),
            dice: Effects::simulated(effects.random(), START),
            effects,
            dir,
            memory: Memory::default(),
            server: None,
            link: None,
            skew: 0,
            began: START,
            clock_set: None,
            audited: None,
            restless: Restless::default(),
            agents,
            gone: Vec::new(),
            addresses,
            later: BTreeMap::new(),
            laters: 0,
            seen: BTreeSet::new(),
            subnets: Vec::new(),
            to_stop: BTreeSet::new(),
            asked: BTreeMap::new(),
            summary: Summary::default(),
            wrong: Vec::new(),
            ended: Arc::default(),
            story: Vec::new(),
        }
    }

    /// A cluster comes to be.
    pub(crate) async fn begin(&mut self) {
        self.start_server();
        for at in 0..AGENTS {
            self.start_agent(at);
        }
        self.prepare().await;
    }

    pub(crate) async fn storm(&mut self) {
        self.begin().await;
        for _ in 0..STEPS {
            self.effects.sleep(Duration::from_millis(self.effects.random() % 1_000)).await;
            let what = self.effects.random() % 100;
            self.dice = Effects::simulated(self.effects.random(), START);
            self.do_what_is_due().await;
            match what {
                0..20 => self.run_tasks().await,
                20..33 => self.stop_a_task().await,
                33..38 => self.describe_some().await,
                38..40 => self.describe_services().await,
                40..62 => self.keep_services().await,
                62..71 => self.cut(),
                71..77 => self.stall(),
                77..82 => self.kill_agent(),
                82..85 => self.kill_server(),
                85..89 => self.deafen(),
                89..91 => self.cut_power(),
                91..94 => self.set_a_clock(),
                94 => self.deregister().await,
                _ => {}
            }
            self.look();
            if !self.wrong.is_empty() {
                return;
            }
        }
    }

    /// Everything comes back, and nothing fails from now on.
    pub(crate) async fn heal(&mut self) {
        self.tell("all heals".into());
        for agent in self.machines() {
            agent.machine.calm();
        }
        self.set_clock(None, 0);
        for at in 0..AGENTS {
            self.set_clock(Some(at), 0);
        }
        for later in std::mem::take(&mut self.later).into_values() {
            self.happen(later).await;
        }
        for agent in &self.gone {
            agent.road.stall(false);
            agent.machine.deaf(false);
        }
    }

    /// Waits for something that must come; complains if it does not.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> Result<(), String>) {
        let deadline = self.effects.monotonic() + PATIENCE;
        while self.wrong.is_empty() {
            self.look();
            let Err(why) = holds(self) else { return };
            if self.effects.monotonic() > deadline {
                self.wrong.push(format!("{what} did not come: {why}"));
            }
            self.effects.sleep(Duration::from_secs(1)).await;
        }
    }

    pub(crate) fn chance(&self, below: usize) -> usize {
        (self.dice.random() % below as u64) as usize
    }

    pub(crate) fn tell(&mut self, what: String) {
        self.story.push((self.effects.monotonic(), what));
    }

    pub(crate) fn story(&self) -> String {
        let last = &self.story[self.story.len().saturating_sub(STORY)..];
        last.iter().map(|(when, what)| format!("{:8.3} {what}\n", when.as_secs_f64())).collect()
    }

    pub(crate) fn server(&self) -> Option<&Context> {
        self.server.as_ref().map(|(ctx, _)| ctx)
    }

    pub(crate) fn later(&mut self, millis: u64, what: Later) {
        let after = self.dice.random() % millis;
        self.laters += 1;
        self.later.insert((self.effects.monotonic() + Duration::from_millis(after), self.laters), what);
    }

    /// Nobody starts the agent that was in that place.
    pub(crate) fn forget_start(&mut self, at: usize) {
        self.later.retain(|_, later| !matches!(later, Later::AgentStarts(other) if *other == at));
    }

    async fn do_what_is_due(&mut self) {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > self.effects.monotonic() {
                return;
            }
            let what = first.remove();
            self.happen(what).await;
        }
    }

    async fn happen(&mut self, what: Later) {
        match what {
            Later::ServerStarts => self.start_server(),
            Later::AgentStarts(at) => self.start_agent(at),
            Later::RoadClears(at) => self.agents[at].road.stall(false),
            Later::MachineHears(at) => self.agents[at].machine.deaf(false),
            Later::Retry(token) => self.retry(token).await,
        }
    }

    pub(crate) fn start_server(&mut self) {
        self.tell("server starts".into());
        self.began = self.effects.now().plus_millis(self.skew);
        self.clock_set = None;
        let effects = Effects::simulated(self.dice.random(), self.began);
        let witness = self.laws.witness(self.began);
        let data = self.dir.path().join("server");
        let mut config = server::Config::new(data.clone());
        config.root_credentials = Some(server::KeyPair {
            access_key_id: "AKIASIMULATED0000000".into(),
            secret_access_key: "simulated".into(),
        });
        std::fs::create_dir_all(&data).unwrap();
        let logs = data.join(format!("logs-{}", self.summary.server_kills));
        let ctx = Context {
            store: Store::open_simulated(Box::new(self.memory.clone()), &effects, witness).unwrap(),
            logs: telemetry::logs::Store::open(&logs, telemetry::logs::Limits::default()).unwrap(),
            effects: effects.clone(),
            credentials: Arc::new(server::credentials::Credentials::open(&config, &effects).unwrap()),
            vault: Arc::new(server::vault::Vault::open(server::vault::Keeper::new(&data, None), &effects).unwrap()),
            config: Arc::new(config),
            ca_pem: Arc::new(OnceLock::new()),
            addresses: Arc::new(OnceLock::new()),
            metered: Arc::default(),
            measures: Arc::default(),
            tokens: Arc::new(server::tokens::Tokens::open(&data, &effects).unwrap()),
            terminals: Arc::new(server::Terminals::new(effects.clone())),
        };
        let link = PlainLink::open(ctx.clone()).unwrap();
        for agent in self.machines() {
            agent.road.leads_to(Some(link.clone()));
        }
        self.link = Some(link);
        self.server = Some((ctx, effects));
    }

    pub(crate) fn kill_server(&mut self) {
        let Some((_, effects)) = self.server.take() else { return };
        self.tell("server killed".into());
        self.summary.server_kills += 1;
        effects.kill();
        for agent in self.machines() {
            agent.road.leads_to(None);
        }
        self.link = None;
        self.later(30_000, Later::ServerStarts);
    }

    fn start_agent(&mut self, at: usize) {
        self.tell(format!("agent {at} starts"));
        let now = self.effects.now().plus_millis(self.agents[at].skew);
        let effects = Effects::simulated(self.dice.random(), now);
        let agent = &mut self.agents[at];
        let (node, road) = (Arc::new(agent.machine.clone()), Arc::new(agent.road.clone()));
        let machine = agent::Machine::simulated(&agent.config, node, agent.identity.clone(), road).unwrap();
        let (config, ended, inner) = (agent.config.clone(), self.ended.clone(), effects.clone());
        let instance = agent.instance().clone();
        effects.spawn("agent", async move {
            let outcome = Box::pin(agent::run_on(&config, machine, None, inner)).await;
            ended.lock().unwrap().push((instance, format!("{outcome:?}")));
        });
        agent.runs = Some(effects);
    }

    fn kill_agent(&mut self) {
        let at = self.chance(AGENTS);
        let Some(effects) = self.agents[at].runs.take() else { return };
        self.tell(format!("agent {at} killed"));
        self.summary.agent_kills += 1;
        effects.kill();
        self.agents[at].killed.push(self.effects.monotonic());
        self.later(40_000, Later::AgentStarts(at));
    }

    fn cut(&mut self) {
        let at = self.chance(AGENTS);
        self.tell(format!("road {at} cut"));
        self.summary.cuts += 1;
        self.agents[at].road.cut();
    }

    fn stall(&mut self) {
        let at = self.chance(AGENTS);
        self.tell(format!("road {at} stalls"));
        self.summary.stalls += 1;
        self.agents[at].road.stall(true);
        self.later(80_000, Later::RoadClears(at));
    }

    fn deafen(&mut self) {
        let at = self.chance(AGENTS);
        self.tell(format!("machine {at} loses events"));
        self.agents[at].machine.deaf(true);
        self.later(20_000, Later::MachineHears(at));
    }

    /// A machine is without power, with all that ran on it, for longer than a service waits for it.
    fn cut_power(&mut self) {
        let at = self.chance(AGENTS);
        let Some(effects) = self.agents[at].runs.take() else { return };
        self.tell(format!("machine {at} has no power"));
        self.summary.power_losses += 1;
        effects.kill();
        self.agents[at].road.cut();
        self.agents[at].machine.lose_power();
        self.agents[at].killed.push(self.effects.monotonic());
        self.later(150_000, Later::AgentStarts(at));
    }

    fn set_a_clock(&mut self) {
        let whose = self.chance(AGENTS + 1);
        let to = (self.dice.random() % (2 * CLOCK_MILLIS as u64)) as i64 - CLOCK_MILLIS;
        self.summary.clocks_set += 1;
        self.set_clock((whose < AGENTS).then_some(whose), to);
    }

    /// Sets an agent's clock, or the server's.
    pub(crate) fn set_clock(&mut self, agent: Option<usize>, to: i64) {
        let (skew, effects) = match agent {
            Some(at) => {
                let agent = &mut self.agents[at];
                (&mut agent.skew, agent.runs.as_ref())
            }
            None => (&mut self.skew, self.server.as_ref().map(|(_, effects)| effects)),
        };
        let jump = to - std::mem::replace(skew, to);
        effects.inspect(|effects| effects.jump(jump));
        if agent.is_none() && jump != 0 {
            let back = jump < 0 || self.clock_set.is_some_and(|(_, back)| back);
            self.clock_set = Some((self.effects.monotonic(), back));
        }
        let whose = agent.map_or("the server".to_owned(), |at| format!("agent {at}"));
        self.tell(format!("the clock of {whose} is set to be {} s off", to / 1000));
    }

    /// When the server began, if its loops have the time that its clock has.
    pub(crate) fn trusted_clock(&self) -> Option<Timestamp> {
        let trusted = self.clock_set.is_none_or(|(at, back)| !back && self.effects.monotonic() - at > CLOCK_NOTICED);
        trusted.then_some(self.began)
    }

    /// What must hold at every moment; what must at every commit is in `laws`.
    pub(crate) fn look(&mut self) {
        self.hold_ends();
        self.wrong.extend(self.laws.wrong());
        let wrong: Vec<_> = self.machines().flat_map(|agent| agent.machine.wrong()).collect();
        self.wrong.extend(wrong);
        self.hold_at_rest();
        let Some((ctx, _)) = &self.server else { return };
        let snapshot = ctx.store.snapshot();
        let revision = Some((ctx.store.epoch(), snapshot.revision()));
        if std::mem::replace(&mut self.audited, revision) != revision {
            self.wrong.extend(audit::audit(&snapshot));
            self.wrong.extend(audit::over_capacity(&snapshot));
        }
    }

    /// Those there are, and those there were.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().chain(&self.gone)
    }

    /// Puts another machine in the place of one that has left.
    pub(crate) fn replace(&mut self, at: usize) {
        let number = AGENTS + self.gone.len();
        let chance = Effects::simulated(self.dice.random(), START);
        let other = Agent::new(at, number, &self.dir, (&self.effects, &chance), &self.addresses);
        other.road.leads_to(self.link.clone());
        self.gone.push(std::mem::replace(&mut self.agents[at], other));
    }

    /// Whether somebody asked for a task: a client, a service or a lifecycle hook.
    pub(crate) fn is_asked_for(&self, task: &Task) -> bool {
        self.seen.contains(&task.arn) || self.is_of_a_service(task) || is_of_a_hook(task)
    }
}

impl Agent {
    /// The one in place `at`, and the how manieth of all that ever were.
    fn new(
        at: usize,
        number: usize,
        dir: &TempDir,
        (world, chance): (&Effects, &Effects),
        addresses: &node::Addresses,
    ) -> Self {
        let id = chance.hex32();
        let dice = || Effects::simulated(chance.random(), START);
        let arn = format!("arn:aws:ecs:us-east-1:000000000000:container-instance/default/{id}");
        let identity =
            Identity { container_instance: arn.parse().unwrap(), ec2_instance_id: Some(format!("mi-{}", &id[..17])) };
        let mut config = agent::Config::new("simulated:1", dir.path().join(format!("agent-{number}")));
        config.introspection = None;
        config.address = Some([10, 255, 0, u8::try_from(number).unwrap()].into());
        config.resources = ResourceOverrides {
            cpu: Some(CpuUnits(node::CPU)),
            memory: Some(MemoryMib(node::MEMORY)),
            reserved_memory: MemoryMib(0),
        };
        let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][at % 3];
        config.attributes.insert("ecs.availability-zone".into(), Some(zone.into()));
        Self {
            machine: node::Machine::new(format!("machine {at}, {id}"), world.clone(), dice(), addresses.clone()),
            road: Road::new(world.clone(), dice(), identity.clone()),
            identity,
            config,
            skew: (chance.random() % 4_000) as i64 - 2_000,
            runs: None,
            killed: Vec::new(),
        }
    }

    /// The tasks in its ledger.
    pub(crate) fn ledger(&self) -> usize {
        std::fs::read_dir(self.config.data_dir.join("tasks")).map_or(0, |entries| {
            let entries = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            entries.filter(|name| name.ends_with(".json")).count()
        })
    }

    /// Whether it has heard of a task, and keeps it.
    pub(crate) fn keeps(&self, task: &TaskArn) -> bool {
        self.config.data_dir.join("tasks").join(format!("{}.json", task.id)).exists()
    }

    pub(crate) fn instance(&self) -> &model::ContainerInstanceArn {
        &self.identity.container_instance
    }
}
