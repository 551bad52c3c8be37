//! containerd killed and started again: containers live on, ends in the gap are found with their true codes, the event
//! stream comes back, and whoever comes second adopts what is there.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{Bench, event, exit_of};
use runtime::daemon::ensure_containerd;
use runtime::{ContainerState, CreateError, Runtime, RuntimeError, RuntimeEvent};

#[tokio::test]
async fn containerd_killed_and_restarted_loses_nothing() {
    let (bench, mut daemon, runtime) = Bench::ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let gate = bench.dir().join("gate");
    std::fs::create_dir(&gate).unwrap();
    let wait = "while [ ! -e /gate/go ]; do sleep 0.05; done; echo gone; exit 42";
    for (id, script) in [("gap", wait), ("stays", "while true; do echo tick; sleep 0.1; done")] {
        let mut spec = bench.spec(id, script);
        spec.mounts.push(runtime::BindMount { source: gate.clone(), target: "/gate".into(), read_only: true });
        runtime.create(spec).await.unwrap();
        runtime.start(id).await.unwrap();
    }
    let pid = runtime.status("stays").await.unwrap().unwrap().pid;

    let process = rustix::process::Pid::from_raw(i32::try_from(daemon.pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    bench.until("containerd's end", || daemon.has_ended()).await;
    assert!(matches!(runtime.status("gap").await, Err(RuntimeError::Unavailable(_))));
    std::fs::write(gate.join("go"), "").unwrap();
    bench.wait_log("gap", "gone").await;
    let before = bench.logged("stays").len();
    bench.until("logs while containerd is dead", || bench.logged("stays").len() > before).await;

    let again = ensure_containerd(&bench.daemon_config, &bench.effects).await.unwrap();
    assert!(!again.adopted);
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let gap = bench.stopped(&runtime, "gap").await;
    assert_eq!(gap.exit_code, Some(42));
    let listed = runtime.list(&BTreeMap::new()).await.unwrap();
    let found = |id: &str| listed.iter().find(|c| c.id == id).unwrap().status.clone();
    assert_eq!(found("gap"), gap);
    assert_eq!((found("stays").state, found("stays").pid), (ContainerState::Running, pid));

    // Events flow again, also for containers from before.
    runtime.signal("stays", libc::SIGKILL, true).await.unwrap();
    assert_eq!(exit_of(&mut events, "stays").await.0, 137);

    let adopted = ensure_containerd(&bench.daemon_config, &bench.effects).await.unwrap();
    assert!(adopted.adopted);
    assert_eq!(adopted.pid, again.pid);
    for id in ["gap", "stays"] {
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
    drop(adopted);
    again.stop(&bench.effects).await.unwrap();
    assert!(runtime.info().await.is_err());
}

#[tokio::test]
async fn containerd_killed_while_containers_are_made_leaves_nothing_half_made() {
    let (bench, mut daemon, runtime) = Bench::ready().await;
    let ids: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
    let one = |id: &String| {
        let (id, spec) = (id.clone(), bench.spec(id, "exit 4"));
        let runtime = &runtime;
        async move {
            runtime.create(spec).await?;
            runtime.start(&id).await
        }
    };
    // One after the other, so that the blow falls between or within any two steps.
    let making = async {
        let mut failures = Vec::new();
        for id in &ids {
            failures.extend(one(id).await.err());
        }
        failures
    };
    let blow = async {
        // A few of them are there, another is being made.
        bench.until("some containers", || bench.shims().len() >= 2).await;
        let process = rustix::process::Pid::from_raw(i32::try_from(daemon.pid).unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    };
    let (failures, ()) = futures::join!(making, blow);
    assert!(!failures.is_empty());
    for failure in failures {
        assert!(matches!(failure, CreateError::Runtime(RuntimeError::Unavailable(_))), "{failure:?}");
    }
    bench.until("containerd's end", || daemon.has_ended()).await;
    let again = ensure_containerd(&bench.daemon_config, &bench.effects).await.unwrap();
    for id in &ids {
        one(id).await.unwrap();
        assert_eq!(bench.stopped(&runtime, id).await.exit_code, Some(4));
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
    drop(again);
}
