//! The batch being gathered: what will be made durable by the next sync, and what later commands must know of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::catalog::Stream;
use super::change::Change;
use super::command::Command;
use super::frame;
use super::types::Scope;

/// A batch not yet durable, and what later commands must know of it.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) frames: Vec<u8>,
    pub(super) changes: Vec<Change>,
    pub(super) appends: bool,
    /// A group was created, changed or deleted in this batch.
    pub(super) groups: bool,
    /// Streams created or deleted in this batch.
    pub(super) renamed: HashSet<(Scope, String, String)>,
    /// Streams appended to in this batch: their next sequence number and producers' offsets.
    pub(super) ahead: HashMap<u64, Ahead>,
}

pub(super) struct Ahead {
    pub(super) next_seq: u64,
    pub(super) producers: BTreeMap<String, u64>,
}

impl Staged {
    pub(super) fn push(&mut self, change: Change) {
        frame::push(&mut self.frames, &change.encode());
        match &change {
            Change::Appended(_) => self.appends = true,
            Change::Fact(fact) => self.groups |= !fact.is_of_stream(),
        }
        self.changes.push(change);
    }

    pub(super) fn ahead(&mut self, stream: &Stream) -> &mut Ahead {
        self.ahead.entry(stream.id).or_insert_with(|| {
            let state = stream.state();
            let producers = state.producers.iter().map(|(id, mark)| (id.clone(), mark.next_offset)).collect();
            Ahead { next_seq: state.next_seq, producers }
        })
    }

    /// Whether a command can be decided on what is durable plus what is remembered here.
    pub(super) fn admits(&self, command: &Command) -> bool {
        let (scope, group, stream) = match command {
            Command::CreateStream { scope, group, stream, .. }
            | Command::DeleteStream { scope, group, stream }
            | Command::Put { scope, group, stream, .. }
            | Command::PutFrom { scope, group, stream, .. } => (scope, group, stream),
            Command::CreateGroup { .. }
            | Command::DeleteGroup { .. }
            | Command::SetRetention { .. }
            | Command::Tag { .. }
            | Command::Untag { .. }
            | Command::Maintain { .. }
            | Command::Checkpoint => return self.changes.is_empty(),
        };
        if self.groups || self.renamed.contains(&(scope.clone(), group.clone(), stream.clone())) {
            return false;
        }
        // Deleting forgets what the batch may have put there, so it waits for that to be visible.
        !(self.appends && matches!(command, Command::DeleteStream { .. }))
    }
}
