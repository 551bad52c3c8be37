//! Activations: how many machines may join, until when, and who did.

use super::Applied;
use crate::{
    command::{Outcome, Rejected},
    draft::Draft,
};
use model::{Activation, Registration, Scope, Timestamp};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) fn create_activation(&mut self, activation: Activation) -> Applied {
        if self.next.activation(&activation.scope, &activation.id).is_some() {
            return Err(Rejected::ActivationExists(activation.id));
        }
        self.put_activation(activation);
        Ok(Outcome::Done)
    }

    pub(super) fn register_with_activation(
        &mut self,
        scope: &Scope,
        id: &str,
        wanted: Registration,
        at: Timestamp,
    ) -> Applied {
        let known = self.known_activation(scope, id)?;
        if let Some(same) = known.registrations.iter().find(|r| r.key_sha256 == wanted.key_sha256) {
            return Ok(Outcome::Registration { registration: same.clone(), replayed: true });
        }
        if known.expires_at <= at {
            return Err(Rejected::ActivationExpired(id.to_owned()));
        }
        if known.cluster.as_ref().is_some_and(|cluster| *cluster != wanted.cluster) {
            return Err(Rejected::ActivationForAnotherCluster(id.to_owned()));
        }
        if known.registrations.len() >= known.registration_limit as usize {
            return Err(Rejected::ActivationUsedUp(id.to_owned()));
        }
        let mut activation = Activation::clone(known);
        activation.registrations.push(wanted.clone());
        self.put_activation(activation);
        Ok(Outcome::Registration { registration: wanted, replayed: false })
    }

    pub(super) fn delete_activation(&mut self, scope: &Scope, id: &str) -> Applied {
        self.known_activation(scope, id)?;
        self.remove_activation(scope, id);
        Ok(Outcome::Done)
    }

    fn known_activation(&self, scope: &Scope, id: &str) -> Result<&Arc<Activation>, Rejected> {
        self.next.activation(scope, id).ok_or_else(|| Rejected::ActivationNotFound(id.to_owned()))
    }
}
