use crate::agent::{Machine, token};
use crate::{Harness, ecs, list, text, web};
use serde_json::json;

#[tokio::test]
async fn a_server_that_starts_again_knows_everything() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().to_owned());
    let harness = start().await;
    web(&harness).await;
    let token = token(&harness, None, 1).await;
    let mut machine = Machine::new(&harness).await;
    let identity = machine.join(&harness, &token, None).await.unwrap();
    let (session, _) = machine.session(&harness).await;
    let task = ecs(&harness, "RunTask", json!({"taskDefinition": "web"})).await["tasks"][0]["taskArn"].clone();
    let before = ecs(&harness, "DescribeTasks", json!({"tasks": [task]})).await;
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");

    let harness = start().await;
    let after = ecs(&harness, "DescribeTasks", json!({"tasks": [task]})).await;
    for member in ["taskArn", "lastStatus", "desiredStatus", "createdAt", "containerInstanceArn", "containers"] {
        assert_eq!(after["tasks"][0][member], before["tasks"][0][member], "{member}");
    }
    // The CA is the same one, so the machine's certificate still opens the door, and its token is still its own.
    let (_session, held) = machine.session(&harness).await;
    assert_eq!(held.tasks.iter().map(|task| task.task.to_string()).collect::<Vec<_>>(), [text(&task)]);
    assert_eq!(machine.join(&harness, &token, None).await.unwrap(), identity);
    let instances = ecs(&harness, "ListContainerInstances", json!({})).await;
    assert_eq!(list(&instances["containerInstanceArns"]).len(), 1);
}

#[tokio::test]
async fn agents_believe_a_server_whose_state_was_restored() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().join("data"));
    let harness = start().await;
    web(&harness).await;
    let token = token(&harness, None, 1).await;
    let mut machine = Machine::new(&harness).await;
    machine.join(&harness, &token, None).await.unwrap();
    let (mut session, _) = machine.session(&harness).await;
    // While the server writes, as `longshore state backup` does it: another connection to the same files.
    let backup = dir.path().join("backup.db");
    let (state, to) = (dir.path().join("data/state"), backup.clone());
    let copying = tokio::task::spawn_blocking(move || state::backup(&state, &to));
    let mut placed = 0;
    while placed == 0 || !copying.is_finished() {
        let answer = ecs(&harness, "RunTask", json!({"taskDefinition": "web", "count": 2})).await;
        placed += list(&answer["tasks"]).len();
    }
    // One that the backup does not know, whenever it was made.
    placed += list(&ecs(&harness, "RunTask", json!({"taskDefinition": "web"})).await["tasks"]).len();
    copying.await.unwrap().unwrap();
    assert!(state::check(&backup).unwrap().is_sound());
    let last = loop {
        let set = session.assignments().await;
        if set.tasks.len() == placed {
            break (set.epoch, set.generation);
        }
    };
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");
    let restored = state::restore(&backup, &dir.path().join("data/state"), true, harness.effects.now()).unwrap();
    assert!(restored.revision < last.1, "the backup is the older one");

    let harness = start().await;
    let (_session, held) = machine.session(&harness).await;
    assert!((held.epoch, held.generation) > last, "{} {} after {last:?}", held.epoch, held.generation);
}
