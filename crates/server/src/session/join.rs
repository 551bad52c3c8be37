//! A machine joins: a token is turned into a certificate.
//!
//! The activation is used up before the certificate is made, and remembers the machine's key: a machine whose answer was lost
//! asks again with the same key and becomes the same container instance; a token that is replayed with another key is refused.

use super::{Link, PATIENCE};
use crate::{ca::CertificateAuthority, lobby::Guest};
use link::{Identity, JoinAnswer, JoinRefusal, JoinRequest};
use model::{ClusterArn, ClusterName, ContainerInstanceArn, ContainerInstanceId, Scope};
use sha2::{Digest, Sha256};
use state::{Command, CommitError, Outcome, Rejected};
use std::net::SocketAddr;
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub(super) async fn answer(link: &Link, stream: TlsStream<TcpStream>, peer: SocketAddr, guest: &Guest) {
    let mut framed = link::framed_small(stream);
    let asked = tokio::select! {
        asked = framed.receive::<JoinRequest>() => asked,
        () = guest.has_to_go(PATIENCE) => {
            return tracing::debug!(%peer, "a joining machine took too long to ask, or somebody else needed its place");
        }
    };
    let request = match asked {
        Ok(request) => request,
        Err(error) => return tracing::debug!(%peer, %error, "a joining machine did not ask"),
    };
    guest.served();
    let answer = match join(link, &request).await {
        Ok(answer) => answer,
        Err(refusal) => {
            tracing::warn!(%peer, activation = request.activation_id, reason = refusal.message, "a machine was not let in");
            JoinAnswer::Refused(refusal)
        }
    };
    let _ = tokio::time::timeout(PATIENCE, framed.send(&answer)).await;
}

fn refuse(message: impl Into<String>) -> JoinRefusal {
    JoinRefusal { message: message.into(), retry: false }
}

/// The one sentence for every way in which a token can be wrong, so that nobody learns which part was right.
const WRONG: &str = "The join token is not valid. Make one with `longshore token create`.";

async fn join(link: &Link, request: &JoinRequest) -> Result<JoinAnswer, JoinRefusal> {
    let (ctx, now) = (&link.ctx, link.ctx.effects.now());
    let snapshot = ctx.store.snapshot();
    let activation = snapshot
        .scopes()
        .find_map(|scope| snapshot.activation(scope, &request.activation_id))
        .ok_or_else(|| refuse(WRONG))?
        .clone();
    let digest = hex::encode(Sha256::digest(request.activation_code.as_bytes()));
    if !bool::from(digest.as_bytes().ct_eq(activation.code_sha256.as_bytes())) {
        return Err(refuse(WRONG));
    }
    let key_sha256 = CertificateAuthority::key_fingerprint(&request.csr_pem)
        .map_err(|_| refuse("The certificate signing request is not valid."))?;
    let default = || ClusterName::parse("default").expect("the constant is a cluster name");
    let pool = |name: &ClusterName| name.as_str() == model::fargate::POOL_CLUSTER;
    if activation.cluster.as_ref().is_some_and(|cluster| !pool(cluster)) && request.cluster.as_ref().is_some_and(pool) {
        return Err(refuse(
            "The join token is for a cluster, not for Fargate. Make one without --cluster and join with --fargate.",
        ));
    }
    let cluster = activation.cluster.clone().or_else(|| request.cluster.clone()).unwrap_or_else(default);
    let new_id = ContainerInstanceId::parse(ctx.effects.hex32()).expect("32 hexadecimal digits");
    let command = Command::RegisterWithActivation {
        scope: activation.scope.clone(),
        id: activation.id.clone(),
        key_sha256,
        cluster,
        container_instance: new_id,
        at: now,
    };
    let committed = ctx.store.commit(command).await.map_err(|error| refusal(&error))?;
    let Outcome::Registration { registration, .. } = committed.outcome else {
        return Err(JoinRefusal { message: "The server could not record the join.".into(), retry: true });
    };
    let identity = identity(&activation.scope, registration, activation.ec2_instance_id.clone());
    match link.ca.issue_agent(&request.csr_pem, &identity, now) {
        Ok(certificate_pem) => {
            tracing::info!(instance = %identity.container_instance, "a machine joined");
            Ok(JoinAnswer::Joined { certificate_pem, ca_pem: link.ca.pem().to_owned() })
        }
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn identity(scope: &Scope, registration: model::Registration, machine: Option<String>) -> Identity {
    let cluster = ClusterArn { scope: scope.clone(), name: registration.cluster };
    let container_instance = ContainerInstanceArn { cluster, id: registration.container_instance };
    // A machine that an operator attached gets a name of the form that Systems Manager gives them.
    let attached = || format!("mi-{}", &container_instance.id.as_str()[..17]);
    let ec2_instance_id = Some(machine.unwrap_or_else(attached));
    Identity { container_instance, ec2_instance_id }
}

fn refusal(error: &CommitError) -> JoinRefusal {
    match error {
        CommitError::Rejected(Rejected::ActivationExpired(_)) => {
            refuse("The join token has expired. Make another with `longshore token create`.")
        }
        CommitError::Rejected(Rejected::ActivationUsedUp(_)) => refuse(
            "The join token has been used by as many machines as it may. Make another with `longshore token create`.",
        ),
        CommitError::Rejected(Rejected::ActivationForAnotherCluster(_)) => {
            refuse("The join token is for another cluster.")
        }
        CommitError::Rejected(_) => refuse(WRONG),
        CommitError::Storage(_) | CommitError::Busy | CommitError::Closed | CommitError::LostLeadership => {
            JoinRefusal { message: error.to_string(), retry: true }
        }
    }
}
