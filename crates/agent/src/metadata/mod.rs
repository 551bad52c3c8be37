//! What a task may ask of its agent at 169.254.170.2: itself (versions 2, 3 and 4 of the task metadata endpoint), what it
//! uses, its protection, and the credentials of its role.
//!
//! Who asks is known by the id in the address, which only the container's own environment has; version 2, which has no id,
//! knows tasks by the address of their own interface. A listener says which tasks it answers for, so that one that was
//! opened in a VPC's namespace tells nothing of tasks outside. Deliberately absent: fault injection and the endpoints of
//! elastic inference, which are answered as an agent without them answers.

mod credentials;
mod ids;
mod limit;
mod protection;
mod response;
mod stats;

pub use ids::Secret;
pub use limit::Rate;
pub use response::Facts;
pub use stats::Places;

use crate::{
    engine::{Board, View},
    http::{self, Answer, Bounds, json, text},
    roles::Roles,
    session::Questions,
};
use effects::Effects;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
};
use limit::{Asker, Limits};
use link::Question;
use model::NetworkMode;
use response::{ContainerResponse, TaskResponse, Version};
use stats::Meters;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// Where tasks find it. Source: the ECS developer guide.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

/// Each of an instance's tasks may ask for several things at once; what is behind that waits for its turn.
const CONNECTIONS: usize = 256;
/// Of one address; all tasks of mode host and everything on the instance have the same.
const OF_ONE: usize = 64;
/// AWS: five seconds to read and to write there; ours is longer than the server may take to answer.
const LIFE: Duration = Duration::from_secs(10);

/// The longest body: two members and some space.
const BODY: usize = 4 << 10;

/// The tasks a listener answers for.
pub type Visible = Arc<dyn Fn(&View) -> bool + Send + Sync>;

/// What is told, and to whom.
pub struct Metadata {
    board: Arc<Board>,
    questions: Questions,
    facts: Facts,
    secret: Secret,
    limits: Limits,
    meters: Meters,
    roles: Roles,
    effects: Effects,
}

impl Metadata {
    /// Of the tasks on the board.
    pub(crate) fn new(
        board: Arc<Board>,
        (questions, roles): (Questions, Roles),
        facts: Facts,
        secret: Secret,
        rate: Rate,
        places: Places,
        effects: Effects,
    ) -> Arc<Self> {
        let (limits, meters) = (Limits::new(rate), Meters::new(places, effects.clone()));
        Arc::new(Self { board, questions, facts, secret, limits, meters, roles, effects })
    }
}

/// Serves until shutdown. The listener may have been opened in another network namespace.
pub async fn serve(listener: TcpListener, visible: Visible, what: Arc<Metadata>) {
    let bounds = Bounds { connections: CONNECTIONS, of_one: OF_ONE, life: LIFE };
    let effects = what.effects.clone();
    let answer = move |request: Request<Incoming>, peer: SocketAddr| {
        let (what, visible) = (what.clone(), visible.clone());
        async move {
            let (head, body) = request.into_parts();
            // A wish for protection is all that has one.
            let body = match head.method {
                Method::PUT => Limited::new(body, BODY).collect().await.map(|body| body.to_bytes()),
                _ => Ok(Bytes::new()),
            };
            let Ok(body) = body else { return text(StatusCode::BAD_REQUEST, "the body cannot be read") };
            let asked = Asked { method: head.method, uri: head.uri.to_string(), body, peer: peer.ip() };
            what.answer(&asked, &visible).await
        }
    };
    http::serve("task metadata", listener, bounds, effects, answer).await;
}

/// What came over a connection.
struct Asked {
    method: Method,
    uri: String,
    body: Bytes,
    peer: IpAddr,
}

/// A container that asks.
struct Found {
    view: View,
    at: usize,
}

impl Metadata {
    async fn answer(&self, asked: &Asked, visible: &Visible) -> Answer {
        let Asked { method, uri, body, peer } = asked;
        let (peer, (path, query)) = (*peer, uri.split_once('?').unwrap_or((uri, "")));
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (found, by_address) = match words[..] {
            ["v3" | "v4" | "api", id, ..] => (self.by_id(id, visible), false),
            ["v2", "metadata" | "metadataWithTags" | "stats", ..] => (self.by_address(peer, visible), true),
            ["v2", "credentials", id] => (self.by_credentials_id(id, peer, visible), false),
            ["v1", "credentials"] => {
                (self.by_credentials_id(query.strip_prefix("id=").unwrap_or_default(), peer, visible), false)
            }
            _ => (None, false),
        };
        let asker = match &found {
            Some(found) => Asker::Task(found.view.plan.assignment.task.clone()),
            None => Asker::Stranger(peer),
        };
        if !self.limits.admits(&asker, self.effects.monotonic()) {
            // AWS: tollbooth's words, with which the original limits its clients.
            return text(StatusCode::TOO_MANY_REQUESTS, "You have reached maximum request limit.");
        }
        match (&words[..], found) {
            (["v4", _, rest @ ..], Some(found)) => self.tell(Version::V4, rest, &found).await,
            (["v3", _, rest @ ..], Some(found)) => self.tell(Version::V3, rest, &found).await,
            (["api", _, "task-protection", "v1", "state"], found) => {
                let task = found.as_ref().map(|found| &found.view.plan.assignment.task);
                protection::answer(method, body, task, &self.questions).await
            }
            (["v2", rest @ ..], Some(found)) if by_address => self.tell_by_address(rest, &found).await,
            (["v2", ..], None) if by_address => {
                let why = format!("Unable to get task arn from request: unable to associate '{peer}' with task");
                json(StatusCode::BAD_REQUEST, &why)
            }
            ([version @ ("v3" | "v4"), id, rest @ ..], None) => unknown(version, id, rest),
            (["v2", "credentials", _], Some(found)) => credentials::tell(&self.roles, 2, &found.view).await,
            (["v1", "credentials"], Some(found)) => credentials::tell(&self.roles, 1, &found.view).await,
            (["v2", "credentials", rest @ ..], _) => credentials::none(2, rest.first().copied()),
            (["v1", "credentials"], _) => credentials::none(1, query.strip_prefix("id=")),
            _ => nothing_there(),
        }
    }

    fn by_id(&self, id: &str, visible: &Visible) -> Option<Found> {
        // A few hundred containers at the most, and some hundred nanoseconds for each.
        let mut views = self.board.views().into_iter().filter(|view| visible(view));
        views.find_map(|view| {
            let at = view.plan.ids.iter().position(|runtime| self.secret.id(runtime) == id)?;
            Some(Found { view, at })
        })
    }

    /// The task whose role's credentials are asked for by that id. Which of its containers asks is all the same. What the original does
    /// not look at: whoever has learnt the id of a task with an interface of its own has to ask from there too.
    fn by_credentials_id(&self, id: &str, peer: IpAddr, visible: &Visible) -> Option<Found> {
        let is_its_own = |view: &View| {
            let interface = view.plan.assignment.interface.as_ref();
            interface.is_none_or(|interface| IpAddr::from(interface.address) == peer)
        };
        let mut views = self.board.views().into_iter().filter(|view| visible(view) && !view.state.is_stopped());
        let view = views.find(|view| self.roles.id(&view.plan).is_some_and(|known| known == id))?;
        is_its_own(&view).then_some(Found { view, at: 0 })
    }

    /// The task whose own interface has that address. AWS: tasks of mode bridge are not found that way.
    fn by_address(&self, peer: IpAddr, visible: &Visible) -> Option<Found> {
        let mut views = self.board.views().into_iter().filter(|view| visible(view) && has_interface(view));
        views.find_map(|view| {
            let interface = view.plan.assignment.interface.as_ref()?;
            let is_it = IpAddr::from(interface.address) == peer && !view.plan.containers.is_empty();
            is_it.then_some(Found { view, at: 0 })
        })
    }

    async fn tell(&self, version: Version, rest: &[&str], Found { view, at }: &Found) -> Answer {
        match rest {
            [] => json(StatusCode::OK, &ContainerResponse::new(view, *at, version)),
            ["task"] => json(StatusCode::OK, &self.task(version, view)),
            ["taskWithTags"] => self.task_with_tags(version, view).await,
            ["stats"] => self.stats(version, view, *at).await,
            ["task", "stats"] => self.task_stats(version, view).await,
            _ => nothing_there(),
        }
    }

    async fn tell_by_address(&self, rest: &[&str], Found { view, .. }: &Found) -> Answer {
        let of = |id: &str| view.plan.ids.iter().position(|known| **known == *id);
        match rest {
            ["metadata"] => json(StatusCode::OK, &self.task(Version::V2, view)),
            ["metadataWithTags"] => self.task_with_tags(Version::V2, view).await,
            ["metadata", id] => match of(id) {
                Some(at) => json(StatusCode::OK, &ContainerResponse::new(view, at, Version::V2)),
                None => json(StatusCode::BAD_REQUEST, &format!("Unable to generate metadata for container '{id}'")),
            },
            ["stats"] => self.task_stats(Version::V2, view).await,
            ["stats", id] => match of(id) {
                Some(at) => self.stats(Version::V2, view, at).await,
                None => json(StatusCode::BAD_REQUEST, &format!("Unable to get container stats for: {id}")),
            },
            _ => nothing_there(),
        }
    }

    async fn task_with_tags(&self, version: Version, view: &View) -> Answer {
        let task = &view.plan.assignment.task;
        let tags = match self.questions.ask(Question::Tags { task: task.clone() }).await {
            Some(link::Answer::Tags { task, container_instance }) => Ok((task, container_instance)),
            Some(link::Answer::Refused { message, .. }) => Err(message),
            Some(
                link::Answer::Protection { .. }
                | link::Answer::Failure { .. }
                | link::Answer::Provision(_)
                | link::Answer::Credentials(_)
                | link::Answer::Unprovided { .. },
            ) => Err("Unexpected error occurred".to_owned()),
            None => Err("the server cannot be reached".to_owned()),
        };
        json(StatusCode::OK, &self.task(version, view).with_tags(tags, task, &self.facts))
    }

    fn task(&self, version: Version, view: &View) -> TaskResponse {
        let told = TaskResponse::new(view, &self.facts, version);
        match version {
            Version::V2 | Version::V3 => told,
            Version::V4 => told.with_disk(view, self.meters.disk(&view.plan)),
        }
    }

    async fn stats(&self, version: Version, view: &View, at: usize) -> Answer {
        self.forget_meters();
        match self.meters.stats(view, at).await {
            Some(stats) if version == Version::V4 => json(StatusCode::OK, &stats),
            Some(stats) => json(StatusCode::OK, &stats.of_version_3()),
            None => {
                let status = match version {
                    Version::V4 => StatusCode::INTERNAL_SERVER_ERROR,
                    Version::V2 | Version::V3 => StatusCode::BAD_REQUEST,
                };
                json(status, &format!("Unable to get container stats for: {}", view.plan.ids[at]))
            }
        }
    }

    /// Those of every container that runs, by its id. AWS: the others are there with nothing.
    async fn task_stats(&self, version: Version, view: &View) -> Answer {
        self.forget_meters();
        let mut all = BTreeMap::new();
        for (at, id) in view.plan.ids.iter().enumerate() {
            let stats = self.meters.stats(view, at).await;
            let stats = if version == Version::V4 { stats } else { stats.map(stats::Stats::of_version_3) };
            all.insert(id.to_string(), stats);
        }
        json(StatusCode::OK, &all)
    }

    fn forget_meters(&self) {
        let views = self.board.views();
        self.meters.forget(|id| views.iter().any(|view| view.plan.ids.iter().any(|known| **known == *id)));
    }
}

/// Whether a task has an interface of its own, by whose address it is known.
fn has_interface(view: &View) -> bool {
    match view.plan.mode() {
        NetworkMode::Awsvpc => true,
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => false,
    }
}

/// The words for an id that nobody has. Source: `agent/handlers/v4/tmdsstate.go` and `v3`.
fn unknown(version: &str, id: &str, rest: &[&str]) -> Answer {
    let container =
        format!("unable to get container ID from request: unable to get docker ID from v3 endpoint ID: {id}");
    let task = format!("unable to get task arn from request: unable to get task Arn from v3 endpoint ID: {id}");
    let (what, why) = match rest {
        [] => ("container metadata", container),
        ["task" | "taskWithTags"] => ("task metadata", task),
        ["stats"] => ("container stats", task),
        ["task", "stats"] => ("task stats", task),
        _ => return nothing_there(),
    };
    // AWS: the fourth version knows 404.
    let (name, status) = if version == "v4" { ("V4", StatusCode::NOT_FOUND) } else { ("V3", StatusCode::BAD_REQUEST) };
    json(status, &format!("{name} {what} handler: {why}"))
}

/// AWS: the words of Go's router.
fn nothing_there() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

#[cfg(test)]
mod tests;
