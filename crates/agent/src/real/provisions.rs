//! What the server gives the containers of a task: asked for before the first of them is made and held in memory as long as the task
//! lives. Another run of ours that has a container still to make asks again, and so does a log driver with secret options. Nothing
//! of it is written to a disk but a log router's configuration, which is a file that it is shown (`super::router`).

use super::router;
use crate::{
    node::Failure,
    plan::{Job, TaskPlan},
    session::Questions,
};
use ::runtime::RegistryAuth;
use effects::Effects;
use link::{Answer, Provided, Provision, Question};
use model::{TaskArn, vault::Plain};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// How long the server may take for an answer: it may have to fetch ten files from elsewhere for each container.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two times of asking, while there is no server. Callers bound how often.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Provisions {
    questions: Questions,
    effects: Effects,
    held: Mutex<HashMap<TaskArn, Arc<Provision>>>,
    /// Whose turn it is, of tasks with secrets as files: an older answer must not come after a newer one.
    turns: Mutex<HashMap<TaskArn, Turn>>,
}

pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

impl Provisions {
    pub(super) fn new(questions: Questions, effects: Effects) -> Self {
        Self { questions, effects, held: Mutex::default(), turns: Mutex::default() }
    }

    /// What the task's containers are given. Waits for a server as long as there is none.
    pub(super) async fn of(&self, task: &TaskPlan) -> Result<Arc<Provision>, Failure> {
        let provision = self.ask(task).await?;
        if provision.logs_only {
            return Err(Failure::new("ResourceInitializationError", "the task has stopped"));
        }
        Ok(provision)
    }

    /// The secret options of a container's log driver. There is nobody to ask where it has none: output is sent on without a server,
    /// and after the task's end. Those of routed containers are the router's.
    pub(super) async fn log_options(&self, task: &TaskPlan, at: usize) -> Result<Vec<(String, Plain)>, Failure> {
        let container = &task.containers[at];
        let has = container.log_configuration.as_ref().is_some_and(|log| !log.secret_options.is_empty());
        if !has || container.is_routed() {
            return Ok(Vec::new());
        }
        let provision = self.ask(task).await?;
        Ok(provision.containers.get(&container.name).map(|provided| provided.log_options.clone()).unwrap_or_default())
    }

    /// The turn of a task, held while something of it is asked for and written.
    pub(super) fn turn(&self, task: &TaskPlan) -> Turn {
        let mut turns = self.turns.lock().expect("nothing panics while it holds the turns");
        turns.entry(task.assignment.task.clone()).or_default().clone()
    }

    /// What one container of a task is given, for who has the task's turn.
    pub(super) async fn given(&self, task: &TaskPlan, at: usize) -> Result<Provided, Failure> {
        let provision = self.ask_in_turn(task).await?;
        if provision.logs_only {
            return Err(Failure::new("ResourceInitializationError", "the task has stopped"));
        }
        Ok(provision.containers.get(&task.containers[at].name).cloned().unwrap_or_default())
    }

    /// The secrets that its containers have as files, as they are now, for who has the task's turn. What is made of the task from now on
    /// is given these too. None if no server could be asked, which comes back to it.
    pub(super) async fn ask_for_secrets(&self, task: &TaskPlan) -> Result<Option<Provision>, Failure> {
        let arn = &task.assignment.task;
        let fresh = match self.questions.ask_for(Question::Secrets { task: arn.clone() }, PATIENCE).await {
            Some(Answer::Provision(fresh)) => fresh,
            Some(Answer::Unprovided { reason } | Answer::Refused { message: reason, .. }) => {
                return Err(Failure(reason.into()));
            }
            Some(Answer::Tags { .. } | Answer::Protection { .. } | Answer::Failure { .. } | Answer::Credentials(_)) => {
                return Err(Failure::new("ResourceInitializationError", "the server answered something else"));
            }
            None => return Ok(None),
        };
        if let Some(held) = self.held().get_mut(arn) {
            let held = Arc::make_mut(held);
            for (name, provided) in &fresh.containers {
                if let Some(of_container) = held.containers.get_mut(name) {
                    of_container.secrets.clone_from(&provided.secrets);
                }
            }
        }
        Ok(Some(fresh))
    }

    async fn ask(&self, task: &TaskPlan) -> Result<Arc<Provision>, Failure> {
        if !task.definition.has_secret_files() {
            return self.ask_in_turn(task).await;
        }
        let turn = self.turn(task);
        let _turn = turn.lock().await;
        self.ask_in_turn(task).await
    }

    async fn ask_in_turn(&self, task: &TaskPlan) -> Result<Arc<Provision>, Failure> {
        if !task.needs_provision() {
            return Ok(Arc::default());
        }
        let arn = &task.assignment.task;
        if let Some(held) = self.held().get(arn) {
            return Ok(held.clone());
        }
        loop {
            match self.questions.ask_for(Question::Provision { task: arn.clone() }, PATIENCE).await {
                Some(Answer::Provision(provision)) => {
                    let provision = Arc::new(provision);
                    self.held().insert(arn.clone(), provision.clone());
                    return Ok(provision);
                }
                Some(Answer::Unprovided { reason }) => return Err(Failure(reason.into())),
                Some(Answer::Refused { message, .. }) => {
                    return Err(Failure::new("ResourceInitializationError", message));
                }
                Some(
                    Answer::Tags { .. } | Answer::Protection { .. } | Answer::Failure { .. } | Answer::Credentials(_),
                ) => {
                    return Err(Failure::new("ResourceInitializationError", "the server answered something else"));
                }
                None => self.effects.sleep(AGAIN).await,
            }
        }
    }

    /// What one container of it is given.
    pub(super) async fn of_container(&self, task: &TaskPlan, at: usize) -> Result<Provided, Failure> {
        let provision = self.of(task).await?;
        Ok(provision.containers.get(&task.containers[at].name).cloned().unwrap_or_default())
    }

    /// What the task's log router is given for the secret options of other containers, if that container is it.
    pub(super) async fn of_router(&self, job: &Job) -> Result<Vec<(String, Plain)>, Failure> {
        if job.container().firelens.is_none() {
            return Ok(Vec::new());
        }
        let provision = self.of(&job.task).await?;
        let mut all = Vec::new();
        for (at, container) in job.task.containers.iter().enumerate().filter(|(_, container)| container.is_routed()) {
            let Some(provided) = provision.containers.get(&container.name) else { continue };
            let options = provided.log_options.iter();
            all.extend(options.map(|(option, value)| (router::secret_variable(option, at), value.clone())));
        }
        Ok(all)
    }

    /// The task has ended.
    pub(super) fn forget(&self, task: &TaskPlan) {
        self.held().remove(&task.assignment.task);
        self.turns.lock().expect("nothing panics while it holds the turns").remove(&task.assignment.task);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<TaskArn, Arc<Provision>>> {
        self.held.lock().expect("nothing panics while it holds what tasks are given")
    }
}

/// Whom a registry is to take us for, if that is given.
pub(super) fn login(provided: &Provided) -> Option<RegistryAuth> {
    let login = provided.login.as_ref()?;
    let (username, password) = (login.username.reveal().to_owned(), login.password.reveal().to_owned());
    Some(RegistryAuth::Basic { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::{ContainerSecret, LogConfiguration, LogDriver};

    fn plan(driver: LogDriver, secret_option: Option<&str>) -> TaskPlan {
        let secret = |name: &str| ContainerSecret { name: name.into(), value_from: "/key".into() };
        let (assignment, definition) = testing::assignment(1, &["app", "other"]);
        let mut definition = (*definition).clone();
        definition.containers[1].secrets = vec![secret("KEY")];
        let secret_options = secret_option.map(secret).into_iter().collect();
        definition.containers[0].log_configuration =
            Some(LogConfiguration { driver, options: Default::default(), secret_options });
        TaskPlan::new(assignment, Arc::new(definition))
    }

    /// Nobody answers here.
    #[tokio::test(start_paused = true)]
    async fn a_driver_asks_for_secrets_only_if_it_has_some() {
        let effects = Effects::simulated(1, model::Timestamp(0));
        let provisions = Provisions::new(Questions::new(effects.clone()), effects.clone());
        for (driver, secret, asks) in [
            (LogDriver::Syslog, None, false),
            (LogDriver::Awsfirelens, Some("apikey"), false),
            (LogDriver::Splunk, Some("splunk-token"), true),
        ] {
            let plan = plan(driver, secret);
            assert!(plan.needs_provision());
            let answered = tokio::select! {
                outcome = provisions.log_options(&plan, 0) => outcome.unwrap().is_empty(),
                () = effects.sleep(PATIENCE * 2) => false,
            };
            assert_eq!(answered, !asks, "{driver:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_made_of_what_is_told_after_the_end() {
        let effects = Effects::simulated(1, model::Timestamp(0));
        let questions = Questions::new(effects.clone());
        let provisions = Provisions::new(questions.clone(), effects);
        let plan = plan(LogDriver::Splunk, Some("splunk-token"));
        let log_options = vec![("splunk-token".to_owned(), Plain::from("t".to_owned()))];
        let provided = Provided { log_options: log_options.clone(), ..Provided::default() };
        let told =
            Provision { containers: [("app".to_owned(), provided)].into(), logs_only: true, ..Provision::default() };
        let server = async {
            let asked = questions.next().await;
            asked.told.send(Answer::Provision(told)).unwrap();
        };
        let (found, ()) = tokio::join!(provisions.log_options(&plan, 0), server);
        assert_eq!(found.unwrap(), log_options);
        let failure = provisions.of(&plan).await.unwrap_err();
        assert!(failure.0.ends_with("the task has stopped"), "{failure}");
    }
}
