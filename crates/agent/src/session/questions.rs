//! What tasks ask of the server through their agent: put here by whoever asks, taken by the session when there is one.

use effects::Effects;
use link::{Answer, Question};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Questions that wait for the session. Each of an instance's tasks may ask 40 a second; more than wait here can hardly be
/// answered in time.
const WAITING: usize = 32;
/// AWS: how long the original waits for ECS (`ecsCallTimeout`, 4 s).
const PATIENCE: Duration = Duration::from_secs(4);

/// A question, and where its answer goes.
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) told: oneshot::Sender<Answer>,
}

/// The way to the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Questions(Arc<Inner>);

struct Inner {
    door: mpsc::Sender<Asked>,
    queue: Mutex<mpsc::Receiver<Asked>>,
    effects: Effects,
}

impl Questions {
    pub(crate) fn new(effects: Effects) -> Self {
        let (door, queue) = mpsc::channel(WAITING);
        Self(Arc::new(Inner { door, queue: Mutex::new(queue), effects }))
    }

    /// The server's answer; none if there was no server to give it in time.
    pub(crate) async fn ask(&self, question: Question) -> Option<Answer> {
        self.ask_for(question, PATIENCE).await
    }

    /// The same, for so long.
    pub(crate) async fn ask_for(&self, question: Question, patience: Duration) -> Option<Answer> {
        let (told, answer) = oneshot::channel();
        let asking = async {
            self.0.door.send(Asked { question, told }).await.ok()?;
            answer.await.ok()
        };
        tokio::select! {
            answer = asking => answer,
            () = self.0.effects.sleep(patience) => None,
        }
    }

    /// The next question that somebody still waits for.
    pub(crate) async fn next(&self) -> Asked {
        let mut queue = self.0.queue.lock().await;
        loop {
            let asked = queue.recv().await.expect("we hold a sender");
            if !asked.told.is_closed() {
                return asked;
            }
        }
    }
}
