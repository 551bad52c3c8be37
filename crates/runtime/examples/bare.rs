//! The measure of `bench/containers`: containers straight through containerd's gRPC API, with nothing of Longshore in between.
//!
//! `bare SOCKET IMAGE-CHAIN-ID SPEC CGROUP` reads commands from its input, one a line, and answers each with a line of JSON:
//! `start COUNT PARALLEL` starts that many containers, `stop PARALLEL` ends all of them. What it asks for is the least there
//! is: prepare a snapshot, record a container, create and start its task; kill, wait, delete, forget, remove the snapshot.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measuring tool")]

#[path = "../src/containerd/api.rs"]
mod api;

use api::containerd::services::containers::v1 as containers;
use api::containerd::services::snapshots::v1 as snapshots;
use api::containerd::services::tasks::v1 as tasks;
use containers::containers_client::ContainersClient;
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use snapshots::snapshots_client::SnapshotsClient;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;
use tasks::tasks_client::TasksClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

const SNAPSHOTTER: &str = "overlayfs";
const SIGKILL: u32 = 9;

struct Bare {
    channel: Channel,
    chain_id: String,
    spec: Value,
    cgroup: String,
    made: usize,
    running: Vec<String>,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, chain_id, spec, cgroup] = &arguments[..] else { panic!("SOCKET CHAIN-ID SPEC CGROUP") };
    let socket = socket.clone();
    let channel = Endpoint::from_static("http://containerd").connect_with_connector_lazy(tower::service_fn(
        move |_: http::Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        },
    ));
    let spec = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let mut bare =
        Bare { channel, chain_id: chain_id.clone(), spec, cgroup: cgroup.clone(), made: 0, running: Vec::new() };
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let began = Instant::now();
        let each = match words[..] {
            ["start", count, parallel] => bare.start(count.parse().unwrap(), parallel.parse().unwrap()).await,
            ["stop", parallel] => bare.stop(parallel.parse().unwrap()).await,
            _ => panic!("start COUNT PARALLEL | stop PARALLEL"),
        };
        println!("{}", serde_json::json!({ "each_ms": each, "wall_ms": millis(began) }));
        std::io::stdout().flush().unwrap();
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// A call in the one namespace everything is in.
fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("containerd-namespace", "default".parse().unwrap());
    request
}

impl Bare {
    async fn start(&mut self, count: usize, parallel: usize) -> Vec<f64> {
        // A name is never used twice, also not by the next process on this containerd.
        let ids: Vec<String> = (0..count).map(|n| format!("bare-{}-{}", std::process::id(), self.made + n)).collect();
        self.made += count;
        self.running.extend(ids.clone());
        let this = &*self;
        let work = ids.iter().map(|id| async move {
            let began = Instant::now();
            this.start_one(id).await;
            millis(began)
        });
        futures::stream::iter(work).buffer_unordered(parallel).collect().await
    }

    async fn start_one(&self, id: &str) {
        let prepare = snapshots::PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.into(),
            key: id.to_owned(),
            parent: self.chain_id.clone(),
            labels: HashMap::from([("containerd.io/gc.root".to_owned(), "1".to_owned())]),
        };
        let prepared = SnapshotsClient::new(self.channel.clone()).prepare(request(prepare)).await.unwrap();
        let mut spec = self.spec.clone();
        spec["linux"]["cgroupsPath"] = format!("{}/{id}", self.cgroup).into();
        let record = containers::Container {
            id: id.to_owned(),
            runtime: Some(containers::container::Runtime { name: "io.containerd.runc.v2".into(), options: None }),
            spec: Some(prost_types::Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".into(),
                value: spec.to_string().into_bytes(),
            }),
            snapshotter: SNAPSHOTTER.into(),
            snapshot_key: id.to_owned(),
            ..Default::default()
        };
        let record = containers::CreateContainerRequest { container: Some(record) };
        ContainersClient::new(self.channel.clone()).create(request(record)).await.unwrap();
        let create = tasks::CreateTaskRequest {
            container_id: id.to_owned(),
            rootfs: prepared.into_inner().mounts,
            ..Default::default()
        };
        let mut client = TasksClient::new(self.channel.clone());
        client.create(request(create)).await.unwrap();
        client.start(request(tasks::StartRequest { container_id: id.to_owned(), ..Default::default() })).await.unwrap();
    }

    async fn stop(&mut self, parallel: usize) -> Vec<f64> {
        let running = std::mem::take(&mut self.running);
        let this = &*self;
        let work = running.iter().map(|id| async move {
            let began = Instant::now();
            this.stop_one(id).await;
            millis(began)
        });
        futures::stream::iter(work).buffer_unordered(parallel).collect().await
    }

    async fn stop_one(&self, id: &str) {
        let mut client = TasksClient::new(self.channel.clone());
        let container_id = id.to_owned();
        let kill = tasks::KillRequest { container_id: container_id.clone(), signal: SIGKILL, ..Default::default() };
        client.kill(request(kill)).await.unwrap();
        let wait = tasks::WaitRequest { container_id: container_id.clone(), ..Default::default() };
        client.wait(request(wait)).await.unwrap();
        client.delete(request(tasks::DeleteTaskRequest { container_id: container_id.clone() })).await.unwrap();
        let forget = containers::DeleteContainerRequest { id: container_id.clone() };
        ContainersClient::new(self.channel.clone()).delete(request(forget)).await.unwrap();
        let remove = snapshots::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.into(), key: container_id };
        SnapshotsClient::new(self.channel.clone()).remove(request(remove)).await.unwrap();
    }
}
