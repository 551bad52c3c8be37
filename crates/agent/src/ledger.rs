//! The ledger: one file per task under `tasks/`, and the newest set of assignments that was accepted.
//!
//! It is written before the world is changed, so that after `kill -9` at any moment every container, address and port
//! that exists has an entry that leads to it. One JSON file per task, because people read them when things go wrong and a
//! torn or foreign one costs one task, not all.

use crate::{
    files::{self, Durable, Mode},
    task::TaskState,
};
use link::Assignment;
use model::{TaskDefinitionSpec, TaskId};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The version of the files' form; raised when a member changes its meaning. Members may be added without raising it.
pub const VERSION: u32 = 1;

/// One task's entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`] when it was written.
    pub version: u32,
    /// What the server asked for.
    pub assignment: Assignment,
    /// The definition it names.
    pub definition: Arc<TaskDefinitionSpec>,
    /// How far it has come.
    pub state: TaskState,
}

/// The newest set of assignments: epoch and generation only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Newest {
    /// The server's leadership epoch.
    pub epoch: u64,
    /// The server's revision in that epoch.
    pub generation: u64,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file cannot be read or written.
    #[error("the agent's ledger {path} cannot be used")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer agent wrote it.
    #[error("{path} was written by a newer agent (form {found}, this one knows {VERSION}); update the agent")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The ledger's folder.
#[derive(Debug, Clone)]
pub struct Ledger {
    tasks: PathBuf,
    newest: PathBuf,
}

impl Ledger {
    /// Opens the ledger under the data directory, making it at first start.
    pub fn open(data: &Path) -> Result<Self, LedgerError> {
        let tasks = data.join("tasks");
        files::folder(&tasks).map_err(|source| LedgerError::Io { path: tasks.clone(), source })?;
        Ok(Self { tasks, newest: data.join("newest.json") })
    }

    /// Every entry. A file that cannot be read is set aside with a warning: its containers are then unknown and removed, and
    /// the server, which still assigns the task, has it started anew.
    pub fn load(&self) -> Result<Vec<Record>, LedgerError> {
        let io = |source| LedgerError::Io { path: self.tasks.clone(), source };
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.tasks).map_err(io)? {
            let path = entry.map_err(io)?.path();
            // Killed in the middle of an entry's first write, or of its removal.
            if path.extension().is_some_and(|e| e == "new") && !path.with_extension("").exists() {
                files::remove(&path).map_err(io)?;
            }
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            match files::read_json::<Record>(&path) {
                Ok(Some(record)) if record.version > VERSION => {
                    return Err(LedgerError::Newer { path, found: record.version });
                }
                Ok(Some(record)) => records.push(record),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a ledger entry cannot be read and is set aside");
                    fs::rename(&path, path.with_extension("broken")).map_err(io)?;
                }
            }
        }
        Ok(records)
    }

    fn path(&self, task: &TaskId) -> PathBuf {
        self.tasks.join(format!("{task}.json"))
    }

    /// Writes one entry.
    pub(crate) fn save(&self, record: &Record, durable: Durable) -> Result<(), LedgerError> {
        let path = self.path(&record.assignment.task.id);
        files::write_json(&path, record, Mode::Private, durable).map_err(|source| LedgerError::Io { path, source })
    }

    /// Removes one entry.
    pub fn forget(&self, task: &TaskId) -> Result<(), LedgerError> {
        let path = self.path(task);
        files::remove(&path).map_err(|source| LedgerError::Io { path, source })
    }

    /// The newest set that was accepted.
    pub fn newest(&self) -> Result<Newest, LedgerError> {
        let read = files::read_json(&self.newest);
        Ok(read.map_err(|source| LedgerError::Io { path: self.newest.clone(), source })?.unwrap_or_default())
    }

    /// Remembers the newest set.
    pub fn set_newest(&self, newest: Newest) -> Result<(), LedgerError> {
        files::write_json(&self.newest, &newest, Mode::Private, Durable::ProcessDeath)
            .map_err(|source| LedgerError::Io { path: self.newest.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn entries_come_back_and_broken_ones_are_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let (assignment, definition) = testing::assignment(1, &["web"]);
        let state = TaskState::new(false, [(&definition.containers[0], "id".into(), false)]);
        let record = Record { version: VERSION, assignment, definition, state };
        ledger.save(&record, Durable::PowerFailure).unwrap();
        fs::write(dir.path().join("tasks/torn.json"), "{\"version\":1,").unwrap();
        fs::write(dir.path().join("tasks/half.json.new"), "{").unwrap();
        assert_eq!(ledger.load().unwrap(), std::slice::from_ref(&record));
        assert_eq!(ledger.load().unwrap(), std::slice::from_ref(&record), "setting aside is done once");
        assert!(dir.path().join("tasks/torn.broken").exists());
        assert!(!dir.path().join("tasks/half.json.new").exists(), "half an entry that belongs to none is removed");
        ledger.forget(&record.assignment.task.id).unwrap();
        ledger.forget(&record.assignment.task.id).unwrap();
        assert_eq!(ledger.load().unwrap(), []);
    }

    /// An agent must read what the last one wrote: the files are never changed, a new form gets new ones. `LONGSHORE_BLESS=1`
    /// writes them.
    #[test]
    #[allow(clippy::disallowed_methods)] // The variable is the tester's.
    fn the_files_have_their_golden_form() {
        let check = |name: &str, written: String| -> String {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.v{VERSION}.json"));
            if std::env::var("LONGSHORE_BLESS").is_ok() {
                fs::write(&file, &written).unwrap();
            }
            let golden = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert_eq!(written, golden, "{name}");
            golden
        };
        let (assignment, definition) = testing::assignment(1, &["web", "db"]);
        let containers = &definition.containers;
        let mut state =
            TaskState::new(false, [(&containers[0], "id-web".into(), true), (&containers[1], "id-db".into(), false)]);
        let at = model::Timestamp;
        state.stop = Some(model::Stop::essential_exited());
        state.end = crate::task::End::Clearing { by: at(9), tries: 1 };
        (state.pull_started, state.pull_stopped, state.execution_stopped) = (Some(at(1)), Some(at(2)), Some(at(3)));
        let web = &mut state.containers[0];
        web.phase = crate::task::Phase::Removing { by: at(8), tries: 2 };
        let (digest, image_id) = ("sha256:d".into(), "sha256:i".into());
        web.pulled = Some(crate::task::Pulled { digest, image_id, stop_signal: 15 });
        web.endpoint =
            Some(crate::task::Endpoint { address: Some("172.17.0.2".parse().unwrap()), bindings: Vec::new() });
        (web.created, web.started, web.exit_code, web.oom) = (Some(at(4)), Some(at(5)), Some(137), true);
        web.reason = Some("OutOfMemoryError: Container killed due to memory usage".into());
        let record = Record { version: VERSION, assignment, definition, state };
        let golden = check("task", serde_json::to_string(&record).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<Record>(&golden).unwrap(), record);
        let mut checked = record.clone();
        let mut definition = (*checked.definition).clone();
        definition.containers[1].health_check = Some(testing::check(30));
        checked.state.containers[1] =
            TaskState::new(false, [(&definition.containers[1], "id-db".into(), false)]).containers.remove(0);
        checked.definition = definition.into();
        let golden = check("task.health", serde_json::to_string(&checked).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<Record>(&golden).unwrap(), checked);
        let mut used = record.clone();
        let measured = model::Measured { memory: 130, cpu_millis: 61_500, cpu_peak: 900, over_millis: 600_000 };
        used.state.used = Some(crate::task::Use { at: at(7), measured });
        let golden = check("task.used", serde_json::to_string(&used).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<Record>(&golden).unwrap(), used);
        let routed = routed(&record);
        let golden = check("task.routed", serde_json::to_string(&routed).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<Record>(&golden).unwrap(), routed);
        let newest = Newest { epoch: 2, generation: 7 };
        let golden = check("newest", serde_json::to_string(&newest).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<Newest>(&golden).unwrap(), newest);
        let joined = crate::identity::Joined { certificate_pem: "certificate".into(), ca_pem: "ca".into() };
        let golden = check("joined", serde_json::to_string(&joined).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<crate::identity::Joined>(&golden).unwrap(), joined);
    }

    /// The same with a log router.
    fn routed(record: &Record) -> Record {
        let mut routed = record.clone();
        let mut definition = (*routed.definition).clone();
        let options = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        definition.containers[0].log_configuration = Some(model::LogConfiguration {
            driver: model::LogDriver::Awsfirelens,
            options: options("Name", "stdout"),
            secret_options: vec![model::ContainerSecret { name: "apikey".into(), value_from: "/key".into() }],
        });
        let kind = model::FirelensType::Fluentbit;
        definition.containers[1].firelens =
            Some(model::Firelens { kind, options: options("enable-ecs-log-metadata", "false") });
        routed.definition = definition.into();
        let web = &mut routed.state.containers[0];
        (web.routed_by, web.drained_by) = (Some(1), Some(model::Timestamp(9)));
        routed
    }

    #[test]
    fn a_newer_agents_entries_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let (assignment, definition) = testing::assignment(1, &["web"]);
        let state = TaskState::new(false, [(&definition.containers[0], "id".into(), false)]);
        ledger.save(&Record { version: VERSION + 1, assignment, definition, state }, Durable::PowerFailure).unwrap();
        assert!(matches!(ledger.load(), Err(LedgerError::Newer { found: 2, .. })));
    }

    #[test]
    fn the_newest_set_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(ledger.newest().unwrap(), Newest::default());
        let newest = Newest { epoch: 2, generation: 7 };
        ledger.set_newest(newest).unwrap();
        assert_eq!(Ledger::open(dir.path()).unwrap().newest().unwrap(), newest);
        assert!(newest > Newest { epoch: 1, generation: 900 });
    }
}
