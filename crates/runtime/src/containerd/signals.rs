//! Signals to containers. Where it is safe they go to the process itself: a signal through containerd is a run of runc, 8 to
//! 12 ms of CPU and as much more of waiting, for one system call.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tonic::{Code, Status};

use super::Containerd;
use super::api::containerd::services::tasks::v1 as tasks;
use super::client::{raw, trouble};
use super::containers::{CGROUP_LABEL, made_by, state};
use crate::container::ContainerState;
use crate::error::RuntimeError;

impl Containerd {
    pub(super) async fn signal_container(&self, id: &str, signal: i32, all: bool) -> Result<(), RuntimeError> {
        let Some(process) = self.process(id).await? else { return Ok(()) };
        if state(&process) == ContainerState::Stopped {
            return Ok(());
        }
        let record = self.record(id).await?;
        let cgroup = record.as_ref().and_then(|record| record.labels.get(CGROUP_LABEL));
        let shares = record.as_ref().is_some_and(|record| made_by(record).shares_processes());
        match cgroup {
            Some(cgroup) if all && signal == libc::SIGKILL && self.cgroups.exists(cgroup) => {
                let killed = self.cgroups.kill_all(cgroup);
                killed.map_err(|e| RuntimeError::Other(format!("kill cgroup: {e}")))
            }
            // In a sandbox no process of this machine is the container's first one.
            Some(cgroup) if !all && shares && self.signal_directly(cgroup, process.pid, signal) => Ok(()),
            Some(_) | None => self.signal_through_runc(id, signal, all).await,
        }
    }

    /// False if it was not sent: the process is not there or not the container's, or the signal has no name.
    fn signal_directly(&self, cgroup: &str, pid: u32, signal: i32) -> bool {
        let (Some(pid), Some(signal)) =
            (i32::try_from(pid).ok().and_then(Pid::from_raw), Signal::from_named_raw(signal))
        else {
            return false;
        };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // Looked at now that the handle holds the process: the number may have gone to another one before.
        self.cgroups.holds(cgroup, pid) && pidfd_send_signal(&process, signal).is_ok()
    }

    pub(super) async fn signal_through_runc(&self, id: &str, signal: i32, all: bool) -> Result<(), RuntimeError> {
        let request = tasks::KillRequest {
            container_id: id.to_owned(),
            signal: signal.unsigned_abs(),
            all,
            ..Default::default()
        };
        let what = "signal container";
        match raw(what, self.client.tasks().kill(request)).await {
            Ok(()) => Ok(()),
            Err(status) if has_ended(&status) => Ok(()),
            Err(status) => Err(trouble(what, &status)),
        }
    }
}

fn has_ended(status: &Status) -> bool {
    status.code() == Code::NotFound || status.message().contains("process already finished")
}
