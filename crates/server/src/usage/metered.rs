//! Up to where usage is in the ledger: what retention asks before it forgets anything that was used.

use model::{ContainerInstanceArn, Machine, MachineState, TaskArn};
use state::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};

/// Up to where usage is in the ledger.
#[derive(Debug, Default)]
pub struct Metered(Mutex<Progress>);

#[derive(Debug, Default, Clone)]
enum Progress {
    /// Nobody meters: the simulator has no ledger.
    #[default]
    Off,
    /// What happened before the start is still being read.
    CatchingUp,
    /// All that had ended by then is durable.
    UpTo(Arc<Snapshot>),
}

impl Metered {
    fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    fn get(&self) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on nothing may be forgotten that is not in the ledger.
    pub(crate) fn begin(&self) {
        self.set(Progress::CatchingUp);
    }

    /// All that has ended in the snapshot is in the ledger.
    pub(crate) fn reached(&self, snapshot: Arc<Snapshot>) {
        self.set(Progress::UpTo(snapshot));
    }

    /// The last state of which all is in the ledger.
    pub(crate) fn up_to(&self) -> Option<Arc<Snapshot>> {
        match self.get() {
            Progress::Off | Progress::CatchingUp => None,
            Progress::UpTo(snapshot) => Some(snapshot),
        }
    }

    /// What may be forgotten now. Ask once for a look, not for each thing.
    pub(crate) fn forgettable(&self) -> Forgettable {
        Forgettable(self.get())
    }
}

/// Says of things that have ended whether their usage is in the ledger.
pub(crate) struct Forgettable(Progress);

impl Forgettable {
    fn holds(&self, ended: impl Fn(&Snapshot) -> bool) -> bool {
        match &self.0 {
            Progress::Off => true,
            Progress::CatchingUp => false,
            Progress::UpTo(snapshot) => ended(snapshot),
        }
    }

    pub(crate) fn task(&self, arn: &TaskArn) -> bool {
        self.holds(|known| known.task(arn).is_some_and(|task| task.stopped_at().is_some()))
    }

    pub(crate) fn instance(&self, arn: &ContainerInstanceArn) -> bool {
        self.holds(|known| known.instance(arn).is_some_and(|row| !row.is_registered()))
    }

    pub(crate) fn machine(&self, machine: &Machine) -> bool {
        self.holds(|known| {
            let known = known.machine(&machine.scope, &machine.id);
            known.is_some_and(|known| known.state == MachineState::Terminated)
        })
    }
}
