//! A further process in a container that runs: as its own user, with its environment, limits, control group and namespaces,
//! for no longer than it is given.
//!
//! Its output goes nowhere. There is one at a time in a container, and always under the same name, so that what an agent that
//! was killed has left is found, and cleared away, by the next one.

use std::time::Duration;

use prost_types::Any;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tonic::{Code, Status};

use super::Containerd;
use super::api::containerd::services::containers::v1 as containers;
use super::api::containerd::services::tasks::v1 as tasks;
use super::client::{ask_if, raw, trouble};
use super::containers::{CGROUP_LABEL, made_by};
use super::environment;
use crate::container::ExecEnd;
use crate::error::RuntimeError;

/// What it prints is read and thrown away. Without, runc's shim gives it a `/dev/null` that can only be read, and whoever prints fails.
const NOWHERE: &str = "file:///dev/null";
/// containerd's name of the process within its container.
const NAME: &str = "probe";
/// Starts of such processes at the same time. Each is a run of runc, some 30 ms of a core; a machine full of containers with a
/// check must not spend all its cores on them at one moment.
pub(super) const STARTS: usize = 2;
/// After SIGKILL; longer means the process hangs in the kernel, and the next one finds it.
const DEATH_TIMEOUT: Duration = Duration::from_secs(5);
/// What containerd calls the document of a process.
pub(super) const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

impl Containerd {
    pub(super) async fn run_in(&self, id: &str, args: &[String], limit: Duration) -> Result<ExecEnd, RuntimeError> {
        let record = self.record(id).await?.ok_or_else(|| RuntimeError::NotFound(id.to_owned()))?;
        let document = self.further(&record, args)?.to_string().into_bytes();
        let started = {
            let _turn = self.execs.acquire().await.expect("the semaphore is never closed");
            self.begin(&record, &document).await?
        };
        let pid = match started {
            Ok(pid) => pid,
            Err(why) => {
                self.clear_away(id).await?;
                return Ok(ExecEnd::NotStarted(why));
            }
        };
        let end = match self.wait_for(id, limit).await? {
            Some(code) => ExecEnd::Exited(code),
            None => {
                self.kill_exec(&record, pid).await?;
                self.wait_for(id, DEATH_TIMEOUT).await?;
                ExecEnd::TimedOut
            }
        };
        self.clear_away(id).await?;
        Ok(end)
    }

    /// A further process, as OCI describes it. What secrets the container has is told by its bundle, not by its record.
    pub(super) fn further(
        &self,
        record: &containers::Container,
        args: &[String],
    ) -> Result<serde_json::Value, RuntimeError> {
        let mut process = process(record, args)?;
        if let Some(environment) = environment::of_bundle(&process, &self.socket, &self.namespace, &record.id) {
            let gone = |e| RuntimeError::NotFound(format!("the environment of {}: {e}", record.id));
            process["env"] = environment.map_err(gone)?;
        }
        Ok(process)
    }

    /// The pid of the process that runs now, or why it cannot.
    async fn begin(
        &self,
        record: &containers::Container,
        document: &[u8],
    ) -> Result<Result<u32, String>, RuntimeError> {
        let id = record.id.as_str();
        let (making, starting) = ("make a process", "start a process");
        let request = || tasks::ExecProcessRequest {
            container_id: id.to_owned(),
            spec: Some(Any { type_url: PROCESS.to_owned(), value: document.to_vec() }),
            exec_id: NAME.to_owned(),
            stdout: NOWHERE.to_owned(),
            stderr: NOWHERE.to_owned(),
            ..Default::default()
        };
        let mut made = raw(making, self.client.tasks().exec(request())).await;
        if made.as_ref().is_err_and(|status| status.code() == Code::AlreadyExists) {
            self.kill_left(record).await?;
            self.wait_for(id, DEATH_TIMEOUT).await?;
            self.clear_away(id).await?;
            made = raw(making, self.client.tasks().exec(request())).await;
        }
        made.map_err(|status| not_running(making, &status))?;
        let request = tasks::StartRequest { container_id: id.to_owned(), exec_id: NAME.to_owned() };
        match raw(starting, self.client.tasks().start(request)).await {
            Ok(answer) => Ok(Ok(answer.pid)),
            Err(status) if is_refusal(&status) => Ok(Err(status.message().to_owned())),
            Err(status) => Err(not_running(starting, &status)),
        }
    }

    /// The exit code, if it ends by then. A process that is not there has ended.
    async fn wait_for(&self, id: &str, limit: Duration) -> Result<Option<u32>, RuntimeError> {
        let request = tasks::WaitRequest { container_id: id.to_owned(), exec_id: NAME.to_owned() };
        let what = "wait for a process";
        match tokio::time::timeout(limit, raw(what, self.client.tasks().wait(request))).await {
            Ok(Ok(answer)) => Ok(Some(answer.exit_status)),
            Ok(Err(status)) => Err(not_running(what, &status)),
            Err(_) => Ok(None),
        }
    }

    /// A shell's children are of its group and die with it, lest every check that hangs leave one behind.
    async fn kill_exec(&self, record: &containers::Container, pid: u32) -> Result<(), RuntimeError> {
        let shares = made_by(record).shares_processes();
        let cgroup = record.labels.get(CGROUP_LABEL).filter(|_| shares);
        if cgroup.is_some_and(|cgroup| self.kill_group(cgroup, pid)) { Ok(()) } else { self.kill_left(record).await }
    }

    /// The same where nobody knows its pid.
    async fn kill_left(&self, record: &containers::Container) -> Result<(), RuntimeError> {
        if !made_by(record).shares_processes() {
            self.kill_inside(&record.id).await?;
        }
        self.signal_exec(&record.id, NAME).await
    }

    /// False if it was not sent: the process is not there or not the container's.
    fn kill_group(&self, cgroup: &str, pid: u32) -> bool {
        let Some(leader) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
        // The handle holds the number while it is looked at.
        let Ok(_held) = pidfd_open(leader, PidfdFlags::empty()) else { return false };
        self.cgroups.holds(cgroup, leader) && kill_process_group(leader, Signal::KILL).is_ok()
    }

    pub(super) async fn signal_exec(&self, id: &str, name: &str) -> Result<(), RuntimeError> {
        let request = tasks::KillRequest {
            container_id: id.to_owned(),
            exec_id: name.to_owned(),
            signal: libc::SIGKILL.unsigned_abs(),
            all: false,
        };
        let what = "kill a process";
        match raw(what, self.client.tasks().kill(request)).await {
            Ok(()) => Ok(()),
            // It has ended, or never began: what is left of it is cleared away all the same.
            Err(status)
                if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) || is_refusal(&status) =>
            {
                Ok(())
            }
            Err(status) => Err(trouble(what, &status)),
        }
    }

    async fn clear_away(&self, id: &str) -> Result<(), RuntimeError> {
        let request = tasks::DeleteProcessRequest { container_id: id.to_owned(), exec_id: NAME.to_owned() };
        let what = "clear a process away";
        ask_if(what, Code::NotFound, self.client.tasks().delete_process(request)).await.map(drop)
    }
}

/// The container's own process, with another command.
fn process(record: &containers::Container, args: &[String]) -> Result<serde_json::Value, RuntimeError> {
    let unreadable = || RuntimeError::Other(format!("the record of {} names no process", record.id));
    let spec = record.spec.as_ref().ok_or_else(unreadable)?;
    let mut spec: serde_json::Value = serde_json::from_slice(&spec.value).map_err(|_| unreadable())?;
    let mut process = spec.get_mut("process").map(serde_json::Value::take).ok_or_else(unreadable)?;
    process["args"] = args.into();
    // It has none of its own, and nobody to read from it.
    if process["terminal"] == true {
        process["terminal"] = false.into();
    }
    Ok(process)
}

/// Whether the OCI runtime itself said no, rather than containerd or the connection to it.
pub(super) fn is_refusal(status: &Status) -> bool {
    status.code() == Code::Unknown && std::error::Error::source(status).is_none()
}

/// A container whose process has ended, or is ending, takes in no other.
pub(super) fn not_running(what: &str, status: &Status) -> RuntimeError {
    // What containerd's shim says of a container that has ended, under the code for everything it has no code for.
    let stopped = status.message().contains("cannot exec in a");
    match stopped || status.code() == Code::FailedPrecondition {
        true => RuntimeError::NotFound(format!("{what}: {}", status.message())),
        false => trouble(what, status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_process_is_as_the_first_one_but_for_its_command() {
        let spec = serde_json::json!({"process": {"args": ["/dev/init", "web"], "cwd": "/srv", "user": {"uid": 7}}});
        let spec = Any { type_url: String::new(), value: spec.to_string().into_bytes() };
        let record = containers::Container { spec: Some(spec), ..Default::default() };
        let made = process(&record, &["true".to_owned(), "-x".to_owned()]).unwrap();
        assert_eq!(made, serde_json::json!({"args": ["true", "-x"], "cwd": "/srv", "user": {"uid": 7}}));
        let spec = serde_json::json!({"process": {"args": ["sh"], "terminal": true}});
        let spec = Any { type_url: String::new(), value: spec.to_string().into_bytes() };
        let record = containers::Container { spec: Some(spec), ..Default::default() };
        let made = process(&record, &[]).unwrap();
        assert_eq!(made, serde_json::json!({"args": [], "terminal": false}));
        assert!(process(&containers::Container::default(), &[]).is_err());
    }
}
