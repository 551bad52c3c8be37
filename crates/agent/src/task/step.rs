//! The one function that moves a task, and the rules it is made of.
//!
//! An event changes the container it is about; `settle` then draws the consequences for the whole task. An event that does
//! not fit the phase it finds is late or repeated and changes nothing.

use super::{
    ContainerState, Effect, End, Event, Happened, Interface, Operation, Phase, Provisioning, TaskState,
    arrivals::{attach, not_attached, not_provided, provide},
    limits, no_longer_assigned,
    order::Turn,
    timed_out,
};
use model::{Stop, Timestamp};
use std::sync::Arc;

/// Why a container that ran has no exit code: its shim, which alone knew it, was killed while containerd was away.
const CODE_LOST: &str =
    "CannotInspectContainerError: The container has ended, and its exit code was lost with its shim";

/// The words of a task that waited in vain for what the server gives it.
const NOT_PROVIDED: &str =
    "ResourceInitializationError: unable to pull secrets or registry auth: the server did not answer in time";

/// AWS: the words of a task whose interface took too long.
const NOT_IN_TIME: &str = "Timeout waiting for network interface provisioning to complete.";

/// Moves the task and says what to do next. Pure; the same event twice asks for nothing twice.
pub fn step(state: &mut TaskState, event: &Event, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        Event::Assigned => {}
        Event::DesiredStopped(why) => {
            state.stop.get_or_insert_with(|| why.clone());
        }
        Event::Dropped => {
            state.dropped.get_or_insert(now.plus_millis(limits::LOGS));
            state.stop.get_or_insert_with(no_longer_assigned);
        }
        Event::Resumed => resume(state, now, &mut effects),
        Event::Reconnected => look_again(state, &mut effects),
        Event::Tick => tick(state, now, &mut effects),
        Event::Attached => {
            if let Some(Interface::Attaching { .. }) = state.interface {
                state.interface = Some(Interface::Attached);
            }
        }
        Event::NotAttached(reason) => not_attached(state, reason),
        Event::Provided => {
            if let Some(Provisioning::Asking { .. }) = state.provision {
                state.provision = Some(Provisioning::Here);
            }
        }
        Event::NotProvided(reason) => not_provided(state, reason),
        Event::Cleared => cleared(state),
        Event::Measured(reading) => state.measure(*reading, now),
        Event::Container(at, happened) => {
            if *at < state.containers.len() {
                let mut one = One { state, at: *at, now, effects: &mut effects };
                one.hear(happened);
            }
        }
        Event::Answered(at, run, happened) => {
            if state.containers.get(*at).is_some_and(|container| container.run() == *run) {
                One { state, at: *at, now, effects: &mut effects }.take(happened);
            }
        }
    }
    settle(state, now, &mut effects);
    effects
}

/// One container, with what its events may touch.
struct One<'a> {
    state: &'a mut TaskState,
    at: usize,
    now: Timestamp,
    effects: &'a mut Vec<Effect>,
}

impl One<'_> {
    fn container(&mut self) -> &mut ContainerState {
        &mut self.state.containers[self.at]
    }

    fn phase(&self) -> Phase {
        self.state.containers[self.at].phase
    }

    /// Takes what was told unasked. Of a container that was started again it may be told of a run before, so it is looked at; what
    /// is found is an answer.
    fn hear(&mut self, happened: &Happened) {
        let may_be_old =
            matches!(happened, Happened::Exited { .. } | Happened::OutOfMemory) && self.container().run() > 0;
        if !may_be_old {
            return self.take(happened);
        }
        if let Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } = self.phase() {
            self.effects.push(Effect::Inspect(self.at));
        }
    }

    fn take(&mut self, happened: &Happened) {
        match happened {
            Happened::Pulled(pulled) => {
                if let Phase::Pulling { .. } = self.phase() {
                    self.container().pulled = Some(pulled.clone());
                    self.container().phase = Phase::Held { since: self.now };
                }
            }
            Happened::Connected(endpoint) => {
                if let Phase::Connecting { .. } = self.phase() {
                    self.container().endpoint = Some(endpoint.clone());
                    self.begin(Operation::Create);
                }
            }
            Happened::Created => {
                if let Phase::Creating { .. } = self.phase() {
                    let now = self.now;
                    self.container().created.get_or_insert(now);
                    self.begin(Operation::Start);
                }
            }
            Happened::Started => {
                if let Phase::Starting { .. } = self.phase() {
                    let now = self.now;
                    self.began();
                    self.container().phase = Phase::Running { by: now.plus_millis(limits::INSPECT) };
                    if self.container().run() > 0 {
                        // Its end may have been told already, and not believed.
                        self.effects.push(Effect::Inspect(self.at));
                    }
                }
            }
            Happened::Failed(operation, reason) => self.failed(*operation, reason),
            Happened::Exited { code, oom } => self.exited(*code, *oom),
            Happened::OutOfMemory => self.container().oom_seen(),
            Happened::Vanished => self.vanished(),
            Happened::Removed => {
                if let Phase::Removing { .. } = self.phase() {
                    let now = self.now;
                    self.container().gone(now);
                }
            }
            Happened::LogsShipped => self.container().logs_open = false,
            Happened::Probed(probed) => {
                let now = self.now;
                if let Some(watch) = &mut self.container().watch {
                    watch.probed(*probed, now);
                }
            }
        }
    }

    fn begin(&mut self, operation: Operation) {
        let start = self.container().start_limit();
        let after = |millis| self.now.plus_millis(millis);
        let phase = match operation {
            Operation::Pull => Phase::Pulling { by: after(limits::PULL) },
            Operation::Connect => Phase::Connecting { by: after(limits::QUEUE + limits::CONNECT) },
            Operation::Create => Phase::Creating { by: after(limits::QUEUE + limits::CREATE) },
            Operation::Start => Phase::Starting { by: after(limits::QUEUE + start) },
            Operation::Remove => {
                let tries = match self.phase() {
                    Phase::Removing { tries, .. } => tries + 1,
                    Phase::Waiting
                    | Phase::Pulling { .. }
                    | Phase::Held { .. }
                    | Phase::Connecting { .. }
                    | Phase::Creating { .. }
                    | Phase::Starting { .. }
                    | Phase::Running { .. }
                    | Phase::Stopping { .. }
                    | Phase::Killing { .. }
                    | Phase::Gone => 1,
                };
                self.state.overdue |= tries > limits::REMOVALS;
                Phase::Removing { by: after(limits::REMOVE), tries }
            }
        };
        self.container().phase = phase;
        self.effects.push(Effect::Begin(self.at, operation));
    }

    fn failed(&mut self, operation: Operation, reason: &Arc<str>) {
        let under_way = match self.phase() {
            Phase::Pulling { .. } => Some(Operation::Pull),
            Phase::Connecting { .. } => Some(Operation::Connect),
            Phase::Creating { .. } => Some(Operation::Create),
            Phase::Starting { .. } => Some(Operation::Start),
            // A removal that failed is tried again at its deadline.
            Phase::Waiting
            | Phase::Held { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. }
            | Phase::Removing { .. }
            | Phase::Gone => None,
        };
        if under_way == Some(operation) {
            self.give_up(reason.clone());
        }
    }

    fn began(&mut self) {
        let now = self.now;
        self.container().started.get_or_insert(now);
        if let Some(restarts) = &mut self.container().restarts {
            restarts.started(now);
        }
    }

    /// It never came to run, or not again.
    fn give_up(&mut self, reason: Arc<str>) {
        self.container().reason.get_or_insert(reason);
        if self.container().is_restarting() {
            return self.stay_ended();
        }
        if self.container().essential {
            self.state.stop.get_or_insert_with(Stop::failed_to_start);
        }
        self.begin(Operation::Remove);
    }

    fn exited(&mut self, code: Option<i32>, oom: bool) {
        let now = self.now;
        match self.phase() {
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => {
                // A short life may be over before its beginning was told.
                self.began();
                if self.state.stop.is_none() && self.container().restarts.as_mut().is_some_and(|r| r.again(code, now)) {
                    return self.start_again();
                }
                self.container().exit_code = code;
                if code.is_none() {
                    self.container().reason.get_or_insert_with(|| CODE_LOST.into());
                }
                if oom || self.container().oom {
                    self.container().oom_seen();
                }
                self.ended();
            }
            Phase::Removing { .. } => {
                let container = self.container();
                if container.started.is_some() {
                    container.exit_code = container.exit_code.or(code);
                }
            }
            Phase::Waiting
            | Phase::Pulling { .. }
            | Phase::Held { .. }
            | Phase::Connecting { .. }
            | Phase::Creating { .. }
            | Phase::Gone => {}
        }
    }

    fn vanished(&mut self) {
        match self.phase() {
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => {
                let reason = "ContainerVanishedError: No container matching saved ID found";
                self.container().reason.get_or_insert_with(|| reason.into());
                self.ended();
            }
            // What is being made or removed is not there at times.
            Phase::Waiting
            | Phase::Pulling { .. }
            | Phase::Held { .. }
            | Phase::Connecting { .. }
            | Phase::Creating { .. }
            | Phase::Starting { .. }
            | Phase::Removing { .. }
            | Phase::Gone => {}
        }
    }

    /// AWS: the task does not end with an essential container that is started again.
    fn start_again(&mut self) {
        let now = self.now;
        self.container().oom = false;
        if let Some(watch) = &mut self.container().watch {
            watch.begin_anew(now);
        }
        self.begin(Operation::Create);
    }

    /// Whatever was to follow, its last run was the last.
    fn stay_ended(&mut self) {
        self.container().exit_code = self.container().code_before();
        self.ended();
    }

    fn ended(&mut self) {
        let now = self.now;
        self.container().finished.get_or_insert(now);
        if self.container().essential {
            self.state.execution_stopped.get_or_insert(now);
            self.state.stop.get_or_insert_with(Stop::essential_exited);
        }
        self.begin(Operation::Remove);
    }

    fn deadline_passed(&mut self) {
        let start = self.container().start_limit();
        match self.phase() {
            Phase::Waiting | Phase::Held { .. } | Phase::Gone => {}
            Phase::Pulling { .. } => {
                self.give_up(format!("DockerTimeoutError: {}", timed_out("PULLED", limits::PULL)).into())
            }
            Phase::Connecting { .. } => {
                self.give_up(format!("DockerTimeoutError: {}", timed_out("CREATED", limits::CONNECT)).into())
            }
            Phase::Creating { .. } => {
                self.give_up(format!("DockerTimeoutError: {}", timed_out("CREATED", limits::CREATE)).into())
            }
            Phase::Starting { .. } => {
                self.give_up(format!("DockerTimeoutError: {}", timed_out("RUNNING", start)).into())
            }
            Phase::Running { .. } => self.look(),
            Phase::Stopping { .. } => self.kill(1),
            Phase::Killing { tries, .. } if tries < limits::KILLS => {
                self.kill(tries + 1);
                self.effects.push(Effect::Inspect(self.at));
            }
            Phase::Killing { .. } => {
                let reason = "CannotStopContainerError: the container did not end after SIGKILL";
                self.container().reason.get_or_insert_with(|| reason.into());
                self.state.unstoppable = true;
                self.begin(Operation::Remove);
            }
            Phase::Removing { .. } => self.begin(Operation::Remove),
        }
    }

    fn kill(&mut self, tries: u32) {
        let by = self.now.plus_millis(limits::KILL);
        self.container().phase = Phase::Killing { by, tries };
        self.effects.push(Effect::Kill(self.at));
    }

    /// What it takes to go on after whatever was under way has been lost.
    fn resume(&mut self) {
        match self.phase() {
            Phase::Waiting | Phase::Gone => {}
            Phase::Pulling { .. } => self.begin(Operation::Pull),
            Phase::Held { .. } => self.container().phase = Phase::Held { since: self.now },
            Phase::Connecting { .. } => self.begin(Operation::Connect),
            Phase::Creating { .. } => self.begin(Operation::Create),
            // Whether it had started is unknown, and nothing may start once the task is to stop.
            Phase::Starting { .. } if self.state.stop.is_some() && self.container().is_restarting() => {
                self.stay_ended()
            }
            Phase::Starting { .. } if self.state.stop.is_some() => self.begin(Operation::Remove),
            Phase::Starting { .. } => self.begin(Operation::Start),
            Phase::Running { .. } => self.look(),
            Phase::Stopping { .. } => {
                // Nobody knows how much of its time was used, so it gets all of it again.
                self.signal();
                self.effects.push(Effect::Inspect(self.at));
            }
            Phase::Killing { .. } => {
                self.kill(1);
                self.effects.push(Effect::Inspect(self.at));
            }
            Phase::Removing { .. } => self.begin(Operation::Remove),
        }
    }

    fn look(&mut self) {
        self.container().phase = Phase::Running { by: self.now.plus_millis(limits::INSPECT) };
        self.effects.push(Effect::Inspect(self.at));
    }

    fn signal(&mut self) {
        let by = self.now.plus_millis(i64::from(self.container().stop_timeout) * 1000);
        self.container().phase = Phase::Stopping { by };
        self.effects.push(Effect::Signal(self.at));
    }

    /// What a task that stops means for it.
    fn stop(&mut self) {
        match self.phase() {
            Phase::Waiting | Phase::Held { .. } => self.container().phase = Phase::Gone,
            Phase::Creating { .. } if self.container().is_restarting() => self.stay_ended(),
            Phase::Pulling { .. } | Phase::Connecting { .. } | Phase::Creating { .. } => self.begin(Operation::Remove),
            // What needs it ends first.
            Phase::Running { .. } if self.state.is_needed(self.at) => {}
            Phase::Running { .. } => self.signal(),
            // A start can not be taken back; it ends soon, one way or another.
            Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. }
            | Phase::Removing { .. }
            | Phase::Gone => {}
        }
    }
}

impl ContainerState {
    fn start_limit(&self) -> i64 {
        self.start_timeout.map_or(limits::START, |seconds| i64::from(seconds) * 1000)
    }

    fn oom_seen(&mut self) {
        self.oom = true;
        // A child that was killed is the container's own affair as long as the container lives, or ends well.
        if self.exit_code.is_some_and(|code| code != 0) {
            self.reason.get_or_insert_with(|| "OutOfMemoryError: Container killed due to memory usage".into());
        }
    }
}

/// The deadlines that are in the ledger were set by another process, whose clock may have been another too: each wait begins
/// anew.
fn resume(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) {
    state.dropped = state.dropped.map(|_| now.plus_millis(limits::LOGS));
    if let Some(Interface::Attaching { .. }) = state.interface
        && state.stop.is_none()
    {
        attach(state, now, effects);
    }
    if let Some(Provisioning::Asking { .. }) = state.provision
        && state.stop.is_none()
    {
        provide(state, now, effects);
    }
    for at in 0..state.containers.len() {
        state.containers[at].drain_anew(now);
        One { state, at, now, effects }.resume();
        if let Some(watch) = &mut state.containers[at].watch {
            watch.resume(now);
        }
        if let Some(restarts) = &mut state.containers[at].restarts {
            restarts.resume(now);
        }
    }
    match state.end {
        End::Clearing { tries, .. } => clear(state, tries, now, effects),
        // It was killed between writing that down and doing it: its entry is still there.
        End::Forgotten => effects.push(Effect::Forget),
        End::Live | End::Cleared => {}
    }
}

fn look_again(state: &TaskState, effects: &mut Vec<Effect>) {
    for (at, container) in state.containers.iter().enumerate() {
        match container.phase {
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => {
                effects.push(Effect::Inspect(at));
            }
            Phase::Waiting
            | Phase::Pulling { .. }
            | Phase::Held { .. }
            | Phase::Connecting { .. }
            | Phase::Creating { .. }
            | Phase::Starting { .. }
            | Phase::Removing { .. }
            | Phase::Gone => {}
        }
    }
}

fn tick(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) {
    for container in &mut state.containers {
        // The router has waited long enough for its output.
        container.drained_by.take_if(|by| *by <= now);
    }
    for at in 0..state.containers.len() {
        if state.containers[at].phase.deadline().is_some_and(|by| by <= now) {
            One { state, at, now, effects }.deadline_passed();
        }
        if state.containers[at].watch.as_mut().is_some_and(|watch| watch.tick(now)) {
            effects.push(Effect::Probe(at));
        }
    }
    if let Some(Interface::Attaching { by }) = state.interface
        && by <= now
    {
        not_attached(state, &NOT_IN_TIME.into());
    }
    if let Some(Provisioning::Asking { by }) = state.provision
        && by <= now
    {
        not_provided(state, &NOT_PROVIDED.into());
    }
    match state.end {
        End::Clearing { by, tries } if by <= now => clear(state, tries + 1, now, effects),
        End::Cleared if state.dropped.is_some_and(|by| by <= now) => {
            // The logs had their time.
            for container in &mut state.containers {
                container.logs_open = false;
            }
        }
        End::Live | End::Clearing { .. } | End::Cleared | End::Forgotten => {}
    }
}

fn clear(state: &mut TaskState, tries: u32, now: Timestamp, effects: &mut Vec<Effect>) {
    state.overdue |= tries > limits::REMOVALS;
    state.end = End::Clearing { by: now.plus_millis(limits::REMOVE), tries };
    effects.push(Effect::Clear);
}

fn cleared(state: &mut TaskState) {
    match state.end {
        End::Clearing { .. } => state.end = End::Cleared,
        End::Live | End::Cleared | End::Forgotten => {}
    }
}

/// The consequences for the whole task.
fn settle(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) {
    if state.interface == Some(Interface::Waiting) && state.stop.is_none() {
        attach(state, now, effects);
    }
    if state.provision == Some(Provisioning::Waiting) && state.stop.is_none() {
        provide(state, now, effects);
    }
    let ready = matches!(state.interface, None | Some(Interface::Attached))
        && matches!(state.provision, None | Some(Provisioning::Here));
    if state.stop.is_some() {
        stop_all(state, now, effects);
    } else if ready {
        for at in 0..state.containers.len() {
            let mut one = One { state, at, now, effects };
            if one.phase() == Phase::Waiting {
                one.begin(Operation::Pull);
                state.pull_started.get_or_insert(now);
            }
        }
    }
    while take_turns(state, now, effects) {}
    for container in &mut state.containers {
        let runs = matches!(container.phase, Phase::Running { .. });
        if let Some(watch) = &mut container.watch {
            watch.follow(runs, now);
        }
    }
    let pulling = |c: &ContainerState| matches!(c.phase, Phase::Waiting | Phase::Pulling { .. });
    if state.pull_started.is_some() && !state.containers.iter().any(pulling) {
        state.pull_stopped.get_or_insert(now);
    }
    if state.end == End::Live && state.containers.iter().all(|c| c.phase == Phase::Gone) {
        state.stop.get_or_insert_with(Stop::essential_exited);
        clear(state, 1, now, effects);
    }
    if state.end == End::Cleared {
        // The router is gone, and its socket with it: what it did not take nobody will.
        state.containers.iter_mut().filter(|c| c.routed_by.is_some()).for_each(|c| c.logs_open = false);
    }
    let shipped = state.containers.iter().all(|c| !c.logs_open);
    if state.end == End::Cleared && state.dropped.is_some() && shipped {
        state.end = End::Forgotten;
        effects.push(Effect::Forget);
    }
}

/// What a task that stops means for all of its containers: again as long as one that is over lets go of another.
fn stop_all(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) {
    let phases = |state: &TaskState| state.containers.iter().map(|c| c.phase).collect::<Vec<_>>();
    loop {
        let before = phases(state);
        for at in 0..state.containers.len() {
            One { state, at, now, effects }.stop();
        }
        if phases(state) == before {
            return;
        }
    }
}

/// Goes on with what has waited for others; true if that may concern others still. Each container has its turn once.
fn take_turns(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
    let mut moved = false;
    for at in 0..state.containers.len() {
        let Phase::Held { since } = state.containers[at].phase else { continue };
        let turn = state.turn(at, since, now);
        let mut one = One { state, at, now, effects };
        match turn {
            Turn::Now => one.begin(Operation::Connect),
            Turn::Later(_) => continue,
            Turn::Never(reason) => {
                one.give_up(reason);
                if state.stop.is_some() {
                    stop_all(state, now, effects);
                }
            }
        }
        moved = true;
    }
    moved
}
