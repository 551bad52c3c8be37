//! Networks that are made before their turn, while the registry is asked for the image.

use super::network::TaskNetwork;
use crate::{node::Failure, plan::Job, task::Endpoint};
use effects::Effects;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::oneshot;

/// By container id, until somebody takes what came of it.
#[derive(Default)]
pub(super) struct Ahead(Mutex<HashMap<String, Making>>);

/// `None` if it failed: its turn is still to come.
type Making = Shared<BoxFuture<'static, Option<Endpoint>>>;

impl Ahead {
    /// Begins one. It goes on to its end whatever becomes of who asked, since what the kernel was told cannot be untold half-way.
    pub(super) fn begin(&self, network: &Arc<TaskNetwork>, job: &Job, effects: &Effects) {
        let (told, outcome) = oneshot::channel();
        let (network, job, id) = (network.clone(), job.clone(), job.id().to_owned());
        let mut making = self.making();
        if making.contains_key(&id) {
            return;
        }
        effects.spawn("connect ahead", async move {
            let made: Result<Endpoint, Failure> = network.connect(&job).await;
            // Nobody may want to know.
            let _ = told.send(made.ok());
        });
        making.insert(id, outcome.map(|told| told.ok().flatten()).boxed().shared());
    }

    /// Waits until it is over, if one was begun, and says what came of it. Nothing else may touch the container's network before.
    pub(super) async fn end(&self, id: &str) -> Option<Endpoint> {
        let making = self.making().get(id).cloned()?;
        let made = making.await;
        self.making().remove(id);
        made
    }

    fn making(&self) -> MutexGuard<'_, HashMap<String, Making>> {
        self.0.lock().expect("nothing panics while it holds what is made ahead")
    }
}
