//! Credentials of roles, for the containers of tasks and for the instance: asked of the server when somebody asks here, held
//! in memory, and written nowhere. Another run of ours has none and asks again.
//!
//! They are asked for anew once half of their life is over, so that whoever fetches them has about the other half, whatever its
//! clock says. Whoever comes first after that has the old ones at once, and others are fetched aside: nobody waits for a server
//! while there is something to give. While there is no server, those that are here are given as long as they hold.

use crate::{metadata::Secret, plan::TaskPlan, session::Questions};
use effects::Effects;
use link::{Answer, Question, RoleCredentials};
use model::{TaskArn, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;

/// Whose role it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// A task's.
    Task(TaskArn),
    /// The instance's own.
    Instance,
}

/// What is had of one role.
#[derive(Default)]
struct Slot {
    held: Mutex<Option<Held>>,
    /// Held by who asks the server.
    asking: Arc<tokio::sync::Mutex<Failed>>,
}

/// When the last who asked got nothing, and why.
type Failed = Option<(Duration, Unavailable)>;
/// The right to ask.
type Turn = OwnedMutexGuard<Failed>;

impl Slot {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().expect(CALM)
    }

    /// What is here and still holds.
    fn good(&self, now: Duration) -> Option<Held> {
        self.held().clone().filter(|held| now < held.good_until)
    }
}

#[derive(Clone)]
struct Held {
    credentials: Arc<RoleCredentials>,
    /// By our own clock that never jumps.
    fresh_until: Duration,
    good_until: Duration,
}

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unavailable(pub(crate) String);

/// The credentials of this machine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Roles(Arc<Inner>);

struct Inner {
    questions: Questions,
    secret: Secret,
    effects: Effects,
    held: Mutex<HashMap<Whose, Arc<Slot>>>,
}

impl Roles {
    pub(crate) fn new(questions: Questions, secret: Secret, effects: Effects) -> Self {
        Self(Arc::new(Inner { questions, secret, effects, held: Mutex::default() }))
    }

    /// The id by which a task's containers ask: nobody else can know it, and it is the same after a restart.
    pub(crate) fn id(&self, task: &TaskPlan) -> Option<String> {
        task.task_role().map(|_| self.0.secret.id(&format!("credentials of {}", task.assignment.task)))
    }

    /// Credentials of which about half of their life is left, or the best that can be had.
    pub(crate) async fn of(&self, whose: &Whose) -> Result<Arc<RoleCredentials>, Unavailable> {
        let slot = self.slot(whose);
        let came = self.0.effects.monotonic();
        if let Some(held) = slot.good(came) {
            if came >= held.fresh_until
                && let Ok(turn) = slot.asking.clone().try_lock_owned()
            {
                let (roles, whose) = (self.clone(), whose.clone());
                self.0.effects.spawn("renew a role's credentials", async move {
                    if let Err(why) = roles.fetch(&whose, &slot, turn).await {
                        tracing::debug!(why = why.0, "a role's credentials were not renewed");
                    }
                });
            }
            return Ok(held.credentials);
        }
        let turn = slot.asking.clone().lock_owned().await;
        // Who asked while this one waited has asked for it too.
        if let Some(held) = slot.good(self.0.effects.monotonic()) {
            return Ok(held.credentials);
        }
        if let Some((_, why)) = turn.as_ref().filter(|(at, _)| *at > came) {
            return Err(why.clone());
        }
        self.fetch(whose, &slot, turn).await
    }

    async fn fetch(&self, whose: &Whose, slot: &Slot, mut turn: Turn) -> Result<Arc<RoleCredentials>, Unavailable> {
        let why = match self.0.questions.ask(question(whose)).await {
            Some(Answer::Credentials(fresh)) => {
                let fresh = Held::new(fresh, self.0.effects.monotonic());
                *slot.held() = Some(fresh.clone());
                return Ok(fresh.credentials);
            }
            // A role that is gone, or a task that has stopped: what was here is good for nothing.
            Some(Answer::Refused { message, .. } | Answer::Unprovided { reason: message }) => {
                *slot.held() = None;
                message
            }
            // The server cannot now; what is here holds.
            Some(Answer::Failure { reason, .. }) => reason,
            Some(Answer::Tags { .. } | Answer::Protection { .. } | Answer::Provision(_)) => {
                "the server answered something else".to_owned()
            }
            None => "the server cannot be reached".to_owned(),
        };
        let why = Unavailable(why);
        *turn = Some((self.0.effects.monotonic(), why.clone()));
        Err(why)
    }

    /// The task has ended.
    pub(crate) fn forget(&self, task: &TaskPlan) {
        self.held().remove(&Whose::Task(task.assignment.task.clone()));
    }

    fn slot(&self, whose: &Whose) -> Arc<Slot> {
        self.held().entry(whose.clone()).or_default().clone()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Whose, Arc<Slot>>> {
        self.0.held.lock().expect(CALM)
    }
}

const CALM: &str = "nothing panics while it holds credentials";

fn question(whose: &Whose) -> Question {
    match whose {
        Whose::Task(task) => Question::Credentials { task: task.clone() },
        Whose::Instance => Question::InstanceCredentials {},
    }
}

impl Held {
    fn new(credentials: RoleCredentials, now: Duration) -> Self {
        let life = credentials.expires.0.saturating_sub(credentials.issued.0);
        let life = Duration::from_millis(u64::try_from(life).unwrap_or(0));
        Self { credentials: Arc::new(credentials), fresh_until: now + life / 2, good_until: now + life }
    }
}

/// How clients are told of them: at the credentials endpoint of tasks, and at that of instances.
pub(crate) fn expiration(credentials: &RoleCredentials) -> String {
    whole_seconds(credentials.expires)
}

/// AWS: how times stand beside credentials, `2026-09-21T14:13:20Z`.
pub(crate) fn whole_seconds(at: Timestamp) -> String {
    let text = crate::introspection::rfc3339(at);
    format!("{}Z", text.split(['.', 'Z']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::vault::Plain;

    const START: i64 = 1_790_000_000_000;

    fn credentials(number: u32, issued: Timestamp, life: i64) -> Answer {
        let plain = |what: &str| Plain::from(format!("{what}{number}"));
        Answer::Credentials(RoleCredentials {
            role: "arn:aws:iam::123456789012:role/web".into(),
            access_key: format!("ASIA{number}"),
            secret: plain("secret"),
            token: plain("token"),
            issued,
            expires: issued.plus_millis(life),
        })
    }

    struct World {
        roles: Roles,
        questions: Questions,
        effects: Effects,
        task: Whose,
        _dir: tempfile::TempDir,
    }

    fn world() -> World {
        let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::simulated(7, Timestamp(START)));
        let questions = Questions::new(effects.clone());
        let secret = Secret::open(dir.path(), &effects).unwrap();
        let (assignment, _) = crate::testing::assignment(1, &["web"]);
        let roles = Roles::new(questions.clone(), secret, effects.clone());
        World { roles, questions, effects, task: Whose::Task(assignment.task), _dir: dir }
    }

    impl World {
        /// Asks, and answers the question that comes of it, if one does.
        async fn asked(&self, answer: Option<Answer>) -> (Result<String, String>, bool) {
            let asking = self.roles.of(&self.task);
            let mut came = false;
            let serving = async {
                let asked = self.questions.next().await;
                came = true;
                match answer {
                    Some(answer) => drop(asked.told.send(answer)),
                    // Nobody ever answers.
                    None => std::future::pending().await,
                }
                std::future::pending::<()>().await;
            };
            let got = tokio::select! {
                got = asking => got,
                () = serving => unreachable!(),
            };
            (got.map(|c| c.access_key.clone()).map_err(|why| why.0), came)
        }
    }

    impl World {
        /// Asks while there is something to give, which takes no time.
        async fn at_once(&self) -> String {
            let came = self.effects.monotonic();
            let got = self.roles.of(&self.task).await.unwrap().access_key.clone();
            assert_eq!(self.effects.monotonic(), came);
            got
        }

        /// Waits until there is what was fetched aside.
        async fn until(&self, key: Option<&str>) {
            let held = || self.roles.slot(&self.task).held().as_ref().map(|held| held.credentials.access_key.clone());
            while held().as_deref() != key {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_renewed_aside_at_half_of_their_life() {
        let world = world();
        let hour = 3_600_000;
        let first = credentials(1, Timestamp(START), hour);
        assert_eq!(world.asked(Some(first)).await, (Ok("ASIA1".into()), true));
        assert_eq!(world.asked(None).await, (Ok("ASIA1".into()), false), "they are here");
        world.effects.sleep(Duration::from_secs(1801)).await;
        assert_eq!(world.at_once().await, "ASIA1");
        assert_eq!(world.at_once().await, "ASIA1");
        let asked = world.questions.next().await;
        world.effects.sleep(Duration::from_secs(5)).await;
        drop(asked);
        assert_eq!(world.at_once().await, "ASIA1", "there is no server; they still hold");
        // The server's clock is another one: only how long they hold matters.
        let asked = world.questions.next().await;
        drop(asked.told.send(credentials(2, Timestamp(5), hour)));
        world.until(Some("ASIA2")).await;
        assert_eq!(world.at_once().await, "ASIA2");
        world.effects.sleep(Duration::from_secs(3601)).await;
        let (got, came) = world.asked(None).await;
        assert_eq!((got, came), (Err("the server cannot be reached".into()), true), "they hold no longer");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_takes_back_is_gone_and_what_it_cannot_give_now_is_not() {
        let world = world();
        world.asked(Some(credentials(1, Timestamp(START), 60_000))).await.0.unwrap();
        world.effects.sleep(Duration::from_secs(31)).await;
        assert_eq!(world.at_once().await, "ASIA1");
        let later = Answer::Failure { reason: "not now".into(), detail: None };
        drop(world.questions.next().await.told.send(later));
        // Its turn is over once another may ask.
        drop(world.roles.slot(&world.task).asking.lock().await);
        assert_eq!(world.at_once().await, "ASIA1");
        let gone = Answer::Refused { status: 400, code: "ClientException".into(), message: "no such role".into() };
        drop(world.questions.next().await.told.send(gone));
        world.until(None).await;
        assert_eq!(world.asked(None).await.0, Err("the server cannot be reached".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_twice_for_a_server_that_is_not_there() {
        let world = world();
        let came = world.effects.monotonic();
        let (one, other) = tokio::join!(world.roles.of(&world.task), world.roles.of(&world.task));
        assert_eq!((one.is_err(), other.is_err()), (true, true));
        assert!(world.effects.monotonic() - came < Duration::from_secs(5), "both waited for one question");
    }

    #[tokio::test]
    async fn ids_are_a_tasks_own() {
        let world = world();
        let plan = |n: u32, role: Option<&str>| {
            let (assignment, definition) = crate::testing::assignment(n, &["web"]);
            let mut definition = (*definition).clone();
            definition.task_role_arn = role.map(str::to_owned);
            TaskPlan::new(assignment, Arc::new(definition))
        };
        let id = |n| world.roles.id(&plan(n, Some("web"))).unwrap();
        assert_eq!((id(1), id(1).len()), (id(1), 36));
        assert_ne!(id(1), id(2));
        assert_eq!(world.roles.id(&plan(1, None)), None);
    }

    #[test]
    fn expiry_is_told_in_whole_seconds() {
        let Answer::Credentials(credentials) = credentials(1, Timestamp(START), 999) else { unreachable!() };
        assert_eq!(expiration(&credentials), "2026-09-21T14:13:20Z");
    }
}
