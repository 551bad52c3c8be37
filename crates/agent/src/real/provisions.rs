//! What the server gives the containers of a task: asked for before the first of them is made, held in memory as long as the task
//! lives, and written nowhere. Another run of ours that has a container still to make asks again.

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
}

impl Provisions {
    pub(super) fn new(questions: Questions, effects: Effects) -> Self {
        Self { questions, effects, held: Mutex::default() }
    }

    /// What the task's containers are given. Waits for a server as long as there is none.
    pub(super) async fn of(&self, task: &TaskPlan) -> Result<Arc<Provision>, Failure> {
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
