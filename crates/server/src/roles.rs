//! What roles are good for on the server's side.

use crate::context::Context;
use link::Answer;
use model::{ContainerInstanceArn, Task};
use state::Snapshot;

pub(crate) fn of_task(_ctx: &Context, _snapshot: &Snapshot, _task: &Task) -> Answer {
    Answer::Refused { status: 400, code: "ClientException".into(), message: "There are no roles yet.".into() }
}

pub(crate) fn of_instance(_ctx: &Context, _snapshot: &Snapshot, _instance: &ContainerInstanceArn) -> Answer {
    Answer::Refused { status: 400, code: "ClientException".into(), message: "There are no roles yet.".into() }
}
