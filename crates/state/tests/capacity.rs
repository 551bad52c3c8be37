//! Capacity providers of clusters: kept while they are used, and used by nobody who may not.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::*;
use state::{Command, CommitError, Memory, Outcome, Rejected, Store};

fn strategy(providers: &[CapacityProvider]) -> CapacityProviderStrategy {
    let item =
        |provider: &CapacityProvider| CapacityProviderStrategyItem { provider: provider.clone(), base: 0, weight: 1 };
    CapacityProviderStrategy::new(providers.iter().map(item).collect()).unwrap()
}

fn put(providers: &[CapacityProvider], by_default: &[CapacityProvider]) -> Command {
    Command::PutClusterCapacityProviders {
        arn: cluster_arn("one"),
        providers: providers.to_vec(),
        default_strategy: strategy(by_default),
    }
}

async fn refused(store: &Store, command: Command) -> Rejected {
    let error = store.commit(command).await.unwrap_err();
    let CommitError::Rejected(why) = error else { panic!("{error}") };
    why
}

#[tokio::test]
async fn a_provider_stays_with_its_cluster_as_long_as_a_task_uses_it() {
    use CapacityProvider::{Fargate, FargateSpot};
    let store = Store::open(Box::new(Memory::default()), &effects::Effects::simulated(1, Timestamp(0))).unwrap();
    let pool = model::fargate::POOL_CLUSTER;
    for name in ["one", pool] {
        store.commit(Command::CreateCluster(cluster(name))).await.unwrap();
    }
    store.commit(register("web")).await.unwrap();
    let instance = instance(pool, 1, 1024, 1024);
    store.commit(Command::RegisterContainerInstance { instance }).await.unwrap();
    let mut spot = task("one", 1, 1, definition_arn("web", 1), 10, 10);
    (spot.launch_type, spot.capacity_provider) = (LaunchType::Fargate, Some(FargateSpot));
    let start = Command::StartTasks { tasks: vec![spot.clone()], token: None };
    let not_its = Rejected::CapacityProviderNotAssociated { cluster: cluster_arn("one"), provider: FargateSpot };
    assert_eq!(refused(&store, start.clone()).await, not_its);
    assert_eq!(refused(&store, put(&[Fargate], &[FargateSpot])).await, not_its);

    store.commit(put(&[Fargate, FargateSpot], &[FargateSpot])).await.unwrap();
    store.commit(start).await.unwrap();
    let in_use = Rejected::CapacityProviderInUse { cluster: cluster_arn("one"), provider: FargateSpot };
    assert_eq!(refused(&store, put(&[Fargate], &[])).await, in_use);
    let committed = store.commit(put(&[FargateSpot], &[])).await.unwrap();
    let Outcome::Cluster(known) = committed.outcome else { panic!("a cluster's command answers with it") };
    assert_eq!(known.capacity_providers, [FargateSpot]);
    assert!(known.default_capacity_provider_strategy.is_empty());

    let why = stop(StopCode::UserInitiated, "Task stopped by user");
    store.commit(Command::EndTasks { tasks: vec![spot.arn], why, at: Timestamp(9) }).await.unwrap();
    store.commit(put(&[], &[])).await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_created_again_only_as_it_is() {
    use CapacityProvider::{Fargate, FargateSpot};
    let store = Store::open(Box::new(Memory::default()), &effects::Effects::simulated(1, Timestamp(0))).unwrap();
    let with = |providers: &[CapacityProvider]| {
        let capacity_providers = providers.to_vec();
        Command::CreateCluster(Cluster { capacity_providers, ..cluster("one") })
    };
    store.commit(with(&[Fargate])).await.unwrap();
    store.commit(with(&[Fargate])).await.unwrap();
    store.commit(with(&[])).await.unwrap();
    assert_eq!(refused(&store, with(&[FargateSpot])).await, Rejected::ClusterDiffers(cluster_arn("one")));
    store.commit(Command::DeleteCluster { arn: cluster_arn("one") }).await.unwrap();
    store.commit(with(&[FargateSpot])).await.unwrap();
}

#[tokio::test]
async fn only_spot_tasks_are_interrupted_and_their_instance_remembers_it() {
    let store = Store::open(Box::new(Memory::default()), &effects::Effects::simulated(1, Timestamp(0))).unwrap();
    let pool = model::fargate::POOL_CLUSTER;
    for name in ["one", pool] {
        store.commit(Command::CreateCluster(cluster(name))).await.unwrap();
    }
    store.commit(register("web")).await.unwrap();
    let instance = instance(pool, 1, 1024, 1024);
    store.commit(Command::RegisterContainerInstance { instance: instance.clone() }).await.unwrap();
    store.commit(put(&CapacityProvider::FARGATE, &[])).await.unwrap();
    let providers = [None, Some(CapacityProvider::Fargate), Some(CapacityProvider::FargateSpot)];
    let tasks = providers.iter().zip(1..).map(|(provider, number)| {
        let mut task = task("one", number, 1, definition_arn("web", 1), 10, 10);
        (task.launch_type, task.capacity_provider) = (LaunchType::Fargate, provider.clone());
        task
    });
    let tasks: Vec<Task> = tasks.collect();
    let arns: Vec<TaskArn> = tasks.iter().map(|task| task.arn.clone()).collect();
    store.commit(Command::StartTasks { tasks, token: None }).await.unwrap();
    let why = Stop::spot_interruption();
    let command = |at| Command::ReclaimSpot { tasks: arns.clone(), why: why.clone(), at: Timestamp(at) };
    let committed = store.commit(command(50)).await.unwrap();
    let Outcome::Tasks(interrupted) = committed.outcome else { panic!("it answers with the tasks") };
    assert_eq!(interrupted.iter().map(|task| &task.arn).collect::<Vec<_>>(), [&arns[2]]);
    assert_eq!(interrupted[0].stop(), Some(&why));
    let at = |store: &Store| store.snapshot().instance(&instance.arn).unwrap().instance.reclaimed_at;
    assert_eq!(at(&store), Some(Timestamp(50)));
    // Once is enough, and an agent that registers again changes nothing of it.
    store.commit(command(60)).await.unwrap();
    store.commit(Command::RegisterContainerInstance { instance: instance.clone() }).await.unwrap();
    assert_eq!(at(&store), Some(Timestamp(50)));
    let wrong = state::audit::audit(&store.snapshot());
    assert!(wrong.is_empty(), "{wrong:?}");
}
