//! Exit codes of containers that end while containerd is down.
//!
//! Their shim keeps the code until it is asked. containerd 1.6 asks only when we do. From 1.7 on, a restarting containerd
//! takes a shim without processes for one that leaked and clears it away, code and all, unless its sandbox store has a
//! record of that id. So each container gets such a record, which nothing else reads.

use std::sync::atomic::{AtomicBool, Ordering};

use tonic::Code;

use super::RUNTIME;
use super::api::containerd::services::sandbox::v1 as sandbox;
use super::api::containerd::types;
use super::client::{Client, raw, trouble};
use crate::error::RuntimeError;

/// Whether this containerd has a sandbox store, once it is known.
#[derive(Default)]
pub(super) struct Keeper {
    not_needed: AtomicBool,
}

impl Keeper {
    /// From before the task is made until [`Keeper::forget`].
    pub(super) async fn keep(&self, client: &Client, id: &str) -> Result<(), RuntimeError> {
        if self.not_needed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let runtime = types::sandbox::Runtime { name: RUNTIME.into(), options: None };
        let record = types::Sandbox { sandbox_id: id.to_owned(), runtime: Some(runtime), ..Default::default() };
        let request = sandbox::StoreCreateRequest { sandbox: Some(record) };
        let what = "keep exit code";
        self.settle(what, Code::AlreadyExists, raw(what, client.sandboxes().create(request)).await)
    }

    /// No error if there is nothing to forget.
    pub(super) async fn forget(&self, client: &Client, id: &str) -> Result<(), RuntimeError> {
        if self.not_needed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let request = sandbox::StoreDeleteRequest { sandbox_id: id.to_owned() };
        let what = "forget exit code";
        match raw(what, client.sandboxes().delete(request)).await {
            // 1.7's way of saying that it has none.
            Err(status) if status.message().contains("bucket not found") => Ok(()),
            answer => self.settle(what, Code::NotFound, answer),
        }
    }

    fn settle<T>(&self, what: &str, accepted: Code, answer: Result<T, tonic::Status>) -> Result<(), RuntimeError> {
        match answer {
            Ok(_) => Ok(()),
            Err(status) if status.code() == accepted => Ok(()),
            Err(status) if status.code() == Code::Unimplemented => {
                self.not_needed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(status) => Err(trouble(what, &status)),
        }
    }
}
