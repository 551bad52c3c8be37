//! A further process in a container at a terminal of its own: as root, with the container's environment, limits, control group
//! and namespaces, for as long as somebody sits at it.
//!
//! containerd's shim holds the terminal and copies between it and two named pipes, which are ours and hold what is on its way.
//! They lie in a folder that is named after the container and the process, by which an agent that comes after one that was
//! killed finds what that one left, and ends it.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost_types::Any;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::net::unix::pipe;
use tonic::Code;

use super::Containerd;
use super::api::containerd::services::tasks::v1 as tasks;
use super::client::{ask_if, raw};
use super::exec::{PROCESS, is_refusal, not_running};
use crate::container::{Terminal, TerminalSize};
use crate::error::{RuntimeError, TerminalError};

/// The folder of the pipes, in the runtime's own.
pub(super) const DIR: &str = "terminals";
/// What programs take the terminal for, as under Session Manager.
const KIND: &str = "TERM=xterm-256color";
/// How long a process that has ended may keep its output: the shim gives up sooner.
const DRAIN: Duration = Duration::from_secs(20);

impl Containerd {
    pub(super) async fn open_in(
        &self,
        id: &str,
        name: &str,
        args: &[String],
        size: TerminalSize,
    ) -> Result<Terminal, TerminalError> {
        let record = self.record(id).await?.ok_or_else(|| RuntimeError::NotFound(id.to_owned()))?;
        let process = at_terminal(self.further(&record, args)?, size).to_string().into_bytes();
        let dir = self.terminal_dir(id, name);
        let terminal = pipes(&dir).map_err(|e| RuntimeError::Other(format!("the terminal's pipes: {e}")))?;
        let started = self.start_at(id, name, &dir, process).await;
        if started.is_err() {
            self.close(id, name).await?;
        }
        started.map(|()| terminal)
    }

    async fn start_at(&self, id: &str, name: &str, dir: &Path, process: Vec<u8>) -> Result<(), TerminalError> {
        let (making, starting) = ("make a process", "start a process");
        let request = tasks::ExecProcessRequest {
            container_id: id.to_owned(),
            spec: Some(Any { type_url: PROCESS.to_owned(), value: process }),
            exec_id: name.to_owned(),
            terminal: true,
            stdin: dir.join("in").display().to_string(),
            stdout: dir.join("out").display().to_string(),
            ..Default::default()
        };
        raw(making, self.client.tasks().exec(request)).await.map_err(|status| not_running(making, &status))?;
        let request = tasks::StartRequest { container_id: id.to_owned(), exec_id: name.to_owned() };
        match raw(starting, self.client.tasks().start(request)).await {
            Ok(_) => Ok(()),
            Err(status) if is_refusal(&status) => Err(TerminalError::NotStarted(status.message().to_owned())),
            Err(status) => Err(not_running(starting, &status).into()),
        }
    }

    pub(super) async fn resize(&self, id: &str, name: &str, size: TerminalSize) -> Result<(), RuntimeError> {
        let request = tasks::ResizePtyRequest {
            container_id: id.to_owned(),
            exec_id: name.to_owned(),
            width: size.columns.into(),
            height: size.rows.into(),
        };
        let what = "resize a terminal";
        raw(what, self.client.tasks().resize_pty(request)).await.map_err(|status| not_running(what, &status))
    }

    pub(super) async fn end_of(&self, id: &str, name: &str) -> Result<u32, RuntimeError> {
        let request = tasks::WaitRequest { container_id: id.to_owned(), exec_id: name.to_owned() };
        // Not as other calls, which are answered within minutes: somebody may sit there all day.
        let answer = Box::pin(async { self.client.tasks().wait(request).await }).await;
        Ok(answer.map_err(|status| not_running("wait for a process", &status))?.into_inner().exit_status)
    }

    /// Ends the process, if it has not ended, and clears it away with its pipes. What it has printed is in the pipe by then, as far as
    /// somebody reads it.
    pub(super) async fn close(&self, id: &str, name: &str) -> Result<(), RuntimeError> {
        let dir = self.terminal_dir(id, name);
        // A shim whose start of the process is under way waits for somebody to read. Where that one has died it would give up after
        // half a minute, forget the process, and leave it running.
        let _held = opened(&dir);
        self.signal_exec(id, name).await?;
        let request = tasks::WaitRequest { container_id: id.to_owned(), exec_id: name.to_owned() };
        let mut client = self.client.tasks();
        let gone = raw("wait for a process", client.wait(request));
        // One that hangs in the kernel is left to the end of its container.
        let _ = tokio::time::timeout(DRAIN, gone).await;
        let request = tasks::DeleteProcessRequest { container_id: id.to_owned(), exec_id: name.to_owned() };
        ask_if("clear a process away", Code::NotFound, self.client.tasks().delete_process(request)).await?;
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RuntimeError::Other(format!("the terminal's pipes: {error}")));
            }
            _ => {}
        }
        // That of the container goes with its last terminal.
        let _ = std::fs::remove_dir(self.terminals.join(id));
        Ok(())
    }

    /// Ends what an agent that was killed has left. What cannot be ended is left to the end of its container, or to the next start.
    pub(super) async fn close_left(&self) {
        for container in entries(&self.terminals) {
            for terminal in entries(&self.terminals.join(&container)) {
                tracing::info!(container, terminal, "a terminal that nobody sits at any more is closed");
                if let Err(error) = self.close(&container, &terminal).await {
                    tracing::warn!(container, terminal, %error, "a terminal could not be closed");
                }
            }
        }
    }

    fn terminal_dir(&self, id: &str, name: &str) -> PathBuf {
        self.terminals.join(id).join(name)
    }
}

/// The names in a folder; none where there is no folder.
fn entries(dir: &Path) -> Vec<String> {
    let Ok(read) = std::fs::read_dir(dir) else { return Vec::new() };
    read.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Makes both pipes and opens our ends.
fn pipes(dir: &Path) -> std::io::Result<Terminal> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for name in ["in", "out"] {
        mknodat(CWD, dir.join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    }
    opened(dir)
}

/// Our ends of pipes that are there. Each is opened for both directions, so that neither end needs the other one to be there.
fn opened(dir: &Path) -> std::io::Result<Terminal> {
    let open = || {
        let mut options = pipe::OpenOptions::new();
        options.read_write(true);
        options
    };
    Ok(Terminal { input: open().open_sender(dir.join("in"))?, output: open().open_receiver(dir.join("out"))? })
}

/// The process at a terminal, and as root: who may open one may be so.
fn at_terminal(mut process: Value, size: TerminalSize) -> Value {
    process["terminal"] = true.into();
    process["consoleSize"] = json!({"height": size.rows, "width": size.columns});
    process["user"] = json!({"uid": 0, "gid": 0});
    // Those of another user may have been taken from what is effective; root has all that the container may have.
    let bounding = process["capabilities"]["bounding"].clone();
    if bounding.is_array() {
        for set in ["effective", "permitted"] {
            process["capabilities"][set] = bounding.clone();
        }
    }
    if let Some(env) = process["env"].as_array_mut() {
        env.retain(|line| !line.as_str().is_some_and(|line| line.starts_with("TERM=")));
        env.push(KIND.into());
    }
    process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_roots_with_what_the_container_may_have() {
        let process = json!({
            "args": ["sh"], "cwd": "/srv", "user": {"uid": 7, "gid": 7, "additionalGids": [8]}, "env": ["A=1", "TERM=dumb"],
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}, "noNewPrivileges": true,
        });
        let all = ["CAP_CHOWN"];
        assert_eq!(
            at_terminal(process, TerminalSize { columns: 80, rows: 24 }),
            json!({
                "args": ["sh"], "cwd": "/srv", "user": {"uid": 0, "gid": 0}, "env": ["A=1", "TERM=xterm-256color"],
                "capabilities": {"bounding": all, "effective": all, "permitted": all}, "noNewPrivileges": true,
                "terminal": true, "consoleSize": {"height": 24, "width": 80},
            })
        );
    }
}
