//! The famous stories, told by scripts: `> command` lines and, below each, what the service did.
//!
//! `LONGSHORE_BLESS=1` writes the files anew; look at the difference before believing it.

use super::{
    InstanceState, Told, deploy, task_sets,
    world::{Wish, World, instance_id},
};
use model::{
    BlueGreen, CircuitBreaker, Cleanup, DeploymentId, DeploymentStrategy, EarlySuccess, HealthStatus, HookAction,
    HookStatus, HookTarget, LifecycleHook, LifecycleStage, Phase, PlacementStrategy, Scale, ServiceDeployment,
    Timestamp,
};
use std::{fmt::Write, path::Path};

/// Runs a script and tells what happened.
struct Teller {
    world: World,
    text: String,
    /// Whether agents do what they are asked at once.
    by_hand: bool,
    tasks: usize,
    told: usize,
}

impl Teller {
    fn create(words: &[&str]) -> Self {
        let mut wish = Wish::default();
        let (mut by_hand, mut early, mut external) = (false, None, false);
        let (mut zones, mut slots) = (vec!["a"], 100);
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "desired" => wish.desired = value.parse().unwrap(),
                "percent" => {
                    let (minimum, maximum) = value.split_once('/').unwrap();
                    (wish.minimum, wish.maximum) = (minimum.parse().unwrap(), maximum.parse().unwrap());
                }
                "zones" => zones = value.split(',').collect(),
                "slots" => slots = value.parse().unwrap(),
                "daemon" => (wish.daemon, wish.minimum, wish.maximum) = (true, 0, 100),
                "early" => {
                    let (percent, cleanup) = value.split_once('/').unwrap();
                    let cleanup = if cleanup == "deferred" { Cleanup::Deferred } else { Cleanup::Blocking };
                    early = Some(EarlySuccess { healthy_percent: percent.parse().unwrap(), cleanup });
                }
                "blue-green" => {
                    let how = BlueGreen { bake_minutes: value.parse().unwrap(), hooks: vec![] };
                    wish.deploys = DeploymentStrategy::BlueGreen(how);
                }
                "hook" => {
                    let DeploymentStrategy::BlueGreen(how) = &mut wish.deploys else {
                        panic!("hook=… follows blue-green=…")
                    };
                    how.hooks.push(hook(value));
                }
                "by-hand" => by_hand = true,
                "checked" => wish.checked = true,
                "grace" => (wish.checked, wish.grace) = (true, Some(value.parse().unwrap())),
                "external" => external = true,
                "rebalance" => wish.rebalance = true,
                "breaker" => {
                    wish.breaker =
                        CircuitBreaker { enable: true, rollback: value == "rollback", ..CircuitBreaker::default() };
                }
                "spread" => {
                    let strategy = PlacementStrategy { kind: "spread".into(), field: Some(value.into()) };
                    wish.strategy.push(strategy);
                }
                other => panic!("{other}?"),
            }
        }
        let mut world = if external { World::external } else { World::new }(&zones, slots, &wish);
        world.service.rules.early_success = early;
        Self { world, text: String::new(), by_hand, tasks: 0, told: 0 }
    }

    fn command(&mut self, words: &[&str]) {
        let number = |text: &str| text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap();
        let now = self.world.now;
        match words {
            ["by", "hand"] => self.by_hand = true,
            ["update"] => drop(self.world.update()),
            ["update", "broken"] => {
                let id = self.world.update();
                self.world.broken.insert(id);
            }
            ["update", "ill"] => {
                let id = self.world.update();
                self.world.ill.insert(id);
            }
            ["ail", tasks @ ..] => self.check(tasks, HealthStatus::Unhealthy),
            ["pass", tasks @ ..] => self.check(tasks, HealthStatus::Healthy),
            ["set", percent] => drop(self.world.create_set(percent.parse().unwrap())),
            ["set", percent, "broken"] => {
                let id = self.world.create_set(percent.parse().unwrap());
                self.world.broken.insert(id);
            }
            ["hooks", given @ ..] => {
                let DeploymentStrategy::BlueGreen(how) = &mut self.world.service.rules.strategy else {
                    panic!("not BLUE_GREEN")
                };
                how.hooks = given.iter().map(|word| hook(word.trim_start_matches("hook="))).collect();
            }
            ["hook", "ok"] => self.world.answer_hook(HookStatus::Succeeded),
            ["hook", "exits", code] => self.world.end_hook(Some(code.parse().unwrap())),
            ["hook", "stops"] => self.world.end_hook(None),
            ["hook", "fails"] => self.world.answer_hook(HookStatus::Failed),
            ["mend"] => self.world.broken.clear(),
            ["scale", set, percent] => {
                let scale = Scale::of_percent(percent.parse().unwrap()).unwrap();
                self.world.change(task_sets::scale(&self.world.service, set_id(set), scale, now));
            }
            ["lead", set] => self.world.change(task_sets::lead(&self.world.service, set_id(set), now)),
            ["remove", set] => self.world.change(task_sets::remove(&self.world.service, set_id(set), now)),
            ["desired", count] if self.world.service.external.is_some() => {
                self.world.change(task_sets::resize(&self.world.service, count.parse().unwrap(), now));
            }
            ["desired", count] => self.world.service.desired_count = count.parse().unwrap(),
            ["delete"] => self.world.service = deploy::delete(&self.world.service, now),
            ["join", zone] => self.world.join(zone, 100),
            ["join", zone, "full"] => self.world.join(zone, 0),
            ["join", zone, "unfit"] => {
                self.world.join(zone, 100);
                self.world.ground.0.values_mut().last().unwrap().fits = false;
            }
            ["drain", instance] => self.world.set(number(instance), Some(InstanceState::Draining)),
            ["lose", instances @ ..] => {
                for instance in instances {
                    self.world.set(number(instance), Some(InstanceState::Unreachable { since: now }));
                }
            }
            ["back", instances @ ..] => {
                for instance in instances {
                    self.world.set(number(instance), Some(InstanceState::Active));
                }
            }
            ["violate", instance] => {
                self.world.ground.0.get_mut(&instance_id(number(instance))).unwrap().fits = false;
            }
            ["protect", minutes, tasks @ ..] => {
                for task in tasks {
                    let until = now.plus_millis(minutes.parse::<i64>().unwrap() * 60_000);
                    self.world.tasks[number(task) - 1].protected_until = Some(until);
                }
            }
            ["run", tasks @ ..] => tasks.iter().for_each(|task| self.world.run(number(task) - 1)),
            ["end", tasks @ ..] => tasks.iter().for_each(|task| self.world.end(number(task) - 1)),
            ["abort"] => {
                let turned = deploy::abort(&self.world.service, self.world.story().unwrap(), &[], now);
                self.turn(turned.unwrap());
            }
            ["roll", "back"] => {
                let turned = deploy::roll_back(&self.world.service, self.world.story().unwrap(), now);
                self.turn(turned.unwrap());
            }
            ["wait", seconds] => return self.wait(now.plus_millis(seconds.parse::<i64>().unwrap() * 1000)),
            other => panic!("{other:?}?"),
        }
        self.settle();
        self.state();
    }

    fn turn(&mut self, turned: deploy::Turned) {
        let now = self.world.now;
        self.world.service = turned.service;
        self.world.stories.insert(turned.story.arn.id.clone(), turned.story);
        self.world.told.extend(turned.events.into_iter().map(|told| (now, told)));
    }

    fn check(&mut self, tasks: &[&str], status: HealthStatus) {
        for task in tasks {
            let number: usize = task.trim_start_matches('t').parse().unwrap();
            assert!(self.world.check(number - 1, status), "{task} can not become {status:?}");
        }
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            self.world.think();
            self.report();
            let hooks = self.world.run_hooks();
            if !hooks && (self.by_hand || !self.world.agents()) {
                self.report();
                return;
            }
        }
        panic!("it never settles:\n{}", self.text);
    }

    /// Time passes; the service is looked at when it asked for that.
    fn wait(&mut self, until: Timestamp) {
        for _ in 0..200 {
            let next = self.world.plan().look_again.filter(|at| *at <= until);
            self.world.now = next.unwrap_or(until);
            self.settle();
            if next.is_none() {
                self.state();
                return;
            }
        }
        panic!("it looks too often:\n{}", self.text);
    }

    fn seconds(&self) -> String {
        format!("{:>5}s", (self.world.now.0 - 1_000_000_000) / 1000)
    }

    /// Tells what is new.
    fn report(&mut self) {
        let at = self.seconds();
        for task in &self.world.tasks[self.tasks..] {
            let deployment = short(task.started_by.as_deref().unwrap());
            let (id, instance) =
                (short(task.arn.id.as_str()), number(task.container_instance.as_ref().unwrap().as_str()));
            let zone = task.availability_zone.as_deref().unwrap();
            let _ = writeln!(self.text, "{at}  start t{id} of {deployment} on i{instance} in {zone}");
        }
        for (_, Told { message, .. }) in &self.world.told[self.told..] {
            let _ = writeln!(self.text, "{at}  \"{}\"", short(message));
        }
        (self.tasks, self.told) = (self.world.tasks.len(), self.world.told.len());
    }

    fn state(&mut self) {
        let world = &self.world;
        let hooks = world.hook_tasks.iter().filter(|task| task.stopped_at().is_none());
        let hooks: String = hooks.map(|task| format!("; t{} runs for a hook", short(task.arn.id.as_str()))).collect();
        let phase = |wanted: Phase| world.live().filter(|task| task.phase == wanted).count();
        let stopping = world.tasks.iter().filter(|t| t.is_to_stop() && t.stopped_at().is_none()).count();
        let sets = world.sets().iter().map(|set| {
            let (id, steady) = (short(&set.id.to_string()), if set.steady { "steady" } else { "stabilizing" });
            let live = world.live_of(set.id).filter(|task| task.phase == Phase::Running).count();
            let count = set.computed_desired_count(world.service.desired_count);
            format!("{id} {} {steady} {live}/{count}", set.status.as_str())
        });
        let deployments: Vec<_> = world
            .service
            .deployments
            .iter()
            .map(|d| format!("{} {}", short(&d.id.to_string()), d.rollout.as_str()))
            .chain(sets)
            .collect();
        let story = world.story().map_or_else(|| "-".to_owned(), told_of);
        let plan = world.plan();
        let _ = writeln!(
            self.text,
            "{} = {} {}: {} of {} run, {} healthy, {} pending, {stopping} stopping; {}; {story}{hooks}",
            self.seconds(),
            world.service.arn.name,
            world.service.status.as_str(),
            phase(Phase::Running),
            world.service.desired_count,
            world.healthy(),
            phase(Phase::Pending),
            deployments.join(", "),
        );
        for hold in &plan.held {
            let _ = writeln!(self.text, "         . {hold}");
        }
        if let Some(at) = plan.look_again {
            let _ = writeln!(self.text, "         . look again in {} s", at.millis_since(world.now) as f64 / 1000.0);
        }
    }
}

/// How far a deployment is, with the stage it is in.
fn told_of(story: &ServiceDeployment) -> String {
    let stage = story.lifecycle.as_ref().filter(|_| !story.status.is_over()).map(|lifecycle| lifecycle.stage.as_str());
    [Some(story.status.as_str()), stage].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `STAGE:pause`, `STAGE:http` or `STAGE:task`, then perhaps `:MINUTES` and `:continue`.
fn hook(text: &str) -> LifecycleHook {
    let words: Vec<_> = text.split(':').collect();
    LifecycleHook {
        target: match words[1] {
            "pause" => HookTarget::Pause,
            "http" => HookTarget::Http("http://hook/".into()),
            "task" => HookTarget::Task("arn:aws:ecs:us-east-1:000000000000:task-definition/smoke:1".parse().unwrap()),
            other => panic!("{other}?"),
        },
        role: None,
        stages: vec![LifecycleStage::parse(words[0]).unwrap()],
        details: None,
        timeout_minutes: words.get(2).map_or(1440, |minutes| minutes.parse().unwrap()),
        on_timeout: if words.get(3) == Some(&"continue") { HookAction::Continue } else { HookAction::RollBack },
    }
}

/// `d2` is the set of that number.
fn set_id(text: &str) -> DeploymentId {
    DeploymentId::of(text.trim_start_matches('d').parse().unwrap())
}

fn number(id: &str) -> u64 {
    u64::from_str_radix(id, 16).unwrap()
}

/// Ids as people number things.
fn short(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', ')', '(', ',', '.']) {
        let (id, end) = word.split_at(word.trim_end_matches([' ', ')', '(', ',', '.']).len());
        let deployment = id.strip_prefix("ecs-svc/").and_then(|digits| digits.parse::<u64>().ok());
        match (deployment, id.len() == 32) {
            (Some(number), _) => write!(out, "d{}{end}", number - 1_000_000_000_000_000_000).unwrap(),
            (None, true) => write!(out, "{}{end}", number(id)).unwrap(),
            (None, false) => out.push_str(word),
        }
    }
    out
}

fn tell(script: &str) -> String {
    let mut teller: Option<Teller> = None;
    let mut before = String::new();
    for line in script.lines() {
        let Some(command) = line.strip_prefix("> ") else {
            if line.starts_with('#') {
                let text = teller.as_mut().map_or(&mut before, |teller| &mut teller.text);
                let _ = writeln!(text, "{line}");
            }
            continue;
        };
        let words: Vec<_> = command.split(' ').collect();
        if words[0] == "create" {
            let new = teller.insert(Teller::create(&words[1..]));
            new.text = format!("{before}{line}\n");
            new.settle();
            new.state();
        } else {
            let teller = teller.as_mut().expect("a script begins with create");
            let _ = writeln!(teller.text, "{line}");
            teller.command(&words);
        }
    }
    teller.expect("a script creates a service").text
}

#[test]
fn stories_end_as_they_are_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/service/stories");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 54, "stories are gone");
    for file in files {
        let golden = std::fs::read_to_string(&file).unwrap();
        let told = tell(&golden);
        if std::env::var_os("LONGSHORE_BLESS").is_some() {
            std::fs::write(&file, told).unwrap();
        } else {
            assert_eq!(told, golden, "{}", file.display());
        }
    }
}
