//! Policies of identities, read once for as long as nothing in the directory changes.

use crate::context::Caller;
use model::{
    iam::Directory,
    policy::{Document, Kind},
};
use state::Snapshot;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Identities whose policies are kept. More than this many at once read theirs again, which takes some ten microseconds a policy.
const KEPT: usize = 1_024;

/// What identities may do.
#[derive(Default)]
pub(crate) struct Documents {
    /// By the ARN of who has the policies.
    kept: Mutex<HashMap<String, Kept>>,
}

/// What was read, and of which version of the directory; none if one of them cannot be read.
type Kept = (u64, Option<Arc<[Document]>>);

/// What a caller may do: what his policies let him, as far as those of his session let him too.
pub(super) struct Rights {
    own: Arc<[Document]>,
    session: Option<Vec<Document>>,
}

impl Rights {
    #[cfg(test)]
    pub(super) fn of(own: Arc<[Document]>, session: Option<Vec<Document>>) -> Self {
        Self { own, session }
    }

    /// The policies of the user or the role.
    pub(super) fn own(&self) -> &[Document] {
        &self.own
    }

    /// Those of the session, if it has any.
    pub(super) fn session(&self) -> Option<&[Document]> {
        self.session.as_deref()
    }
}

/// The documents; none if one of them is missing or cannot be read.
pub(crate) fn read_policies(texts: Vec<Option<&str>>) -> Option<Vec<Document>> {
    texts.into_iter().map(|text| Document::parse(text?, Kind::Inline).ok()).collect()
}

impl Documents {
    /// What a caller's policies say; none if one of them cannot be read.
    pub(super) fn of(&self, snapshot: &Snapshot, caller: &Caller) -> Option<Rights> {
        let directory = snapshot.directory(caller.account())?;
        let session = match caller.identity.limits(directory) {
            Some(texts) => Some(read_policies(texts)?),
            None => None,
        };
        Some(Rights { own: self.own(directory, caller)?, session })
    }

    fn own(&self, directory: &Directory, caller: &Caller) -> Option<Arc<[Document]>> {
        // All sessions of a role have its policies.
        let whose = caller.identity.principal_arn(caller.account());
        let known = self.kept.lock().expect(CALM).get(&whose).cloned();
        if let Some((version, documents)) = known
            && version == directory.version
        {
            return documents;
        }
        let documents = read_policies(caller.identity.policies(directory)).map(Arc::from);
        if documents.is_none() {
            tracing::error!(principal = caller.principal, "a policy cannot be read; everything is denied");
        }
        let mut kept = self.kept.lock().expect(CALM);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(whose, (directory.version, documents.clone()));
        documents
    }
}

const CALM: &str = "nothing panics while it holds the lock";
