//! The instance metadata service of a local instance, at 169.254.169.254: what EC2 tells its instances about themselves.
//!
//! Both of EC2's ways: with a token that is asked for first, and without one where the machine's options allow that. The
//! hop limit is EC2's too: what answers a request for a token gets no further than the instance itself, unless the limit
//! says 2, so a task of mode bridge gets none. The credentials of the role in the instance's profile are asked of the server.
//! Deliberately absent: signatures of the identity document, and what happens to spot instances.

mod profile;
mod tree;

pub use tree::{Facts, ProfileFacts};

use crate::{
    http::{self, Answer, Bounds, respond, text},
    metadata::Secret,
    roles::Roles,
};
use effects::Effects;
use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming, header::HeaderValue};
use model::Timestamp;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// Where an instance finds it. Source: the EC2 user guide.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

const CONNECTIONS: usize = 128;
/// Of one address: a task that asks for all it can leaves the others room.
const OF_ONE: usize = 32;
/// Longer than any answer takes; and how long somebody waits for an answer that does not get that far.
const LIFE: Duration = Duration::from_secs(10);
/// The life of a token in seconds. Source: the EC2 user guide.
const TTL: std::ops::RangeInclusive<u32> = 1..=21_600;
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// How far those who ask through a listener are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// Where they are decides: the instance's own processes have its addresses, all others are a hop away.
    Instance,
    /// Next to it: tasks whose interface is one of the instance's.
    Beside,
}

/// What is told.
pub struct InstanceMetadata {
    facts: Facts,
    leaves: BTreeMap<String, String>,
    secret: Secret,
    roles: Roles,
    effects: Effects,
}

impl InstanceMetadata {
    /// Of one machine.
    pub(crate) fn new(facts: Facts, secret: Secret, roles: Roles, effects: Effects) -> Arc<Self> {
        let leaves = facts.leaves();
        Arc::new(Self { facts, leaves, secret, roles, effects })
    }
}

/// Serves until shutdown. The listener may have been opened in another network namespace.
pub async fn serve(listener: TcpListener, distance: Distance, what: Arc<InstanceMetadata>) {
    let bounds = Bounds { connections: CONNECTIONS, of_one: OF_ONE, life: LIFE };
    let effects = what.effects.clone();
    let answer = move |request: Request<Incoming>, peer: SocketAddr| {
        let what = what.clone();
        async move {
            let (head, _) = request.into_parts();
            let near = distance == Distance::Beside || what.is_own(peer.ip());
            match what.answer(&head.method, head.uri.path(), &head.headers, near).await {
                Some(answer) => answer,
                // On its way to a task it would die at the first hop.
                None => std::future::pending().await,
            }
        }
    };
    http::serve("instance metadata", listener, bounds, effects, answer).await;
}

impl InstanceMetadata {
    fn is_own(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || peer == IpAddr::from(ADDRESS) || peer == IpAddr::from(self.facts.private_ip)
    }

    /// `None` where no answer arrives.
    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap, near: bool) -> Option<Answer> {
        let options = &self.facts.options;
        if !options.enabled {
            return Some(page(StatusCode::FORBIDDEN));
        }
        let path = path.trim_matches('/');
        match *method {
            Method::PUT if path == "latest/api/token" => (near || options.hop_limit > 1).then(|| self.token(headers)),
            Method::GET | Method::HEAD => Some(match self.lets_in(headers) {
                true => self.tell(path).await,
                false => page(StatusCode::UNAUTHORIZED),
            }),
            _ => Some(page(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    fn token(&self, headers: &HeaderMap) -> Answer {
        if headers.contains_key("x-forwarded-for") {
            // AWS: so that no proxy gets one for a stranger.
            return page(StatusCode::FORBIDDEN);
        }
        let seconds = headers.get(TTL_HEADER).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
        let Some(seconds) = seconds.filter(|seconds| TTL.contains(seconds)) else {
            return page(StatusCode::BAD_REQUEST);
        };
        let until = self.effects.now().plus_millis(i64::from(seconds) * 1000);
        let mut answer = text(StatusCode::OK, self.token_until(until));
        answer.headers_mut().insert(TTL_HEADER, HeaderValue::from(seconds));
        answer
    }

    /// It carries its end, so that none has to be remembered.
    fn token_until(&self, until: Timestamp) -> String {
        let proof = self.secret.id(&format!("instance metadata until {}", until.0)).replace('-', "");
        format!("{:016x}{proof}", until.0)
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = headers.get(TOKEN_HEADER) else { return !self.facts.options.tokens_required };
        let until = token.to_str().ok().and_then(|token| i64::from_str_radix(token.get(..16)?, 16).ok());
        until.is_some_and(|until| {
            Timestamp(until) > self.effects.now() && self.token_until(Timestamp(until)).as_bytes() == token.as_bytes()
        })
    }

    async fn tell(&self, path: &str) -> Answer {
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        if version.is_empty() {
            return text(StatusCode::OK, "latest");
        }
        if !tree::is_version(version) {
            return page(StatusCode::NOT_FOUND);
        }
        if rest == "user-data" {
            return match self.facts.user_data() {
                Some(bytes) => respond(StatusCode::OK, "application/octet-stream", bytes.into()),
                None => page(StatusCode::NOT_FOUND),
            };
        }
        let found = match (&self.facts.instance_profile, rest.strip_prefix("meta-data/iam")) {
            (Some(known), Some(rest)) => profile::find(known, &self.roles, rest).await,
            _ => tree::find(&self.leaves, rest),
        };
        match found {
            Some(found) => text(StatusCode::OK, found),
            None => page(StatusCode::NOT_FOUND),
        }
    }
}

/// What EC2 shows instead of an answer.
fn page(status: StatusCode) -> Answer {
    let title = format!("{} - {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let html = format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n");
    respond(status, "text/html", html.into())
}

#[cfg(test)]
mod tests;
