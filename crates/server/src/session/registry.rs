//! Which instances have a session now. A newer session of the same instance ends the older one.

use model::ContainerInstanceArn;
use std::{collections::HashMap, sync::Mutex};
use tokio_util::sync::CancellationToken;

/// The open sessions by instance.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_instance: HashMap<ContainerInstanceArn, (u64, CancellationToken)>,
    next: u64,
}

impl Sessions {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().expect("nothing in this module panics while it holds the lock")
    }

    /// Opens a session and ends the instance's older one. The token is cancelled when a newer one comes.
    pub(crate) fn begin(&self, instance: &ContainerInstanceArn) -> (u64, CancellationToken) {
        let mut open = self.open();
        open.next += 1;
        let entry = (open.next, CancellationToken::new());
        if let Some((_, older)) = open.by_instance.insert(instance.clone(), entry.clone()) {
            older.cancel();
        }
        entry
    }

    /// Closes a session; true if it was still the instance's newest, so that the instance now has none.
    pub(crate) fn end(&self, instance: &ContainerInstanceArn, number: u64) -> bool {
        let mut open = self.open();
        let newest = open.by_instance.get(instance).is_some_and(|(n, _)| *n == number);
        if newest {
            open.by_instance.remove(instance);
        }
        newest
    }

    /// Whether the instance has a session.
    pub(crate) fn has(&self, instance: &ContainerInstanceArn) -> bool {
        self.open().by_instance.contains_key(instance)
    }
}
