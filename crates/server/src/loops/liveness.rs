//! Finds instances that are recorded as connected and have no session: those whose server was killed before it could say so.

use crate::{
    context::Context,
    session::{self, Sessions},
};
use model::Scope;
use std::{sync::Arc, time::Duration};

/// Time that agents have to come back after a server's start before they count as gone; they try again after at most 30 s.
const RETURN: Duration = Duration::from_secs(40);
/// How often the records are compared with the sessions afterwards. A session that ends records it itself, so this only
/// finds what failed.
const EVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(ctx: Context, sessions: Arc<Sessions>) {
    let mut pause = RETURN;
    while ctx.effects.sleep_unless_stopped(pause).await {
        pause = EVERY;
        let snapshot = ctx.store.snapshot();
        let scopes: Vec<Scope> = snapshot.scopes().cloned().collect();
        for scope in &scopes {
            for cluster in snapshot.clusters(scope, None) {
                for row in cluster.instances().filter(|r| r.instance.agent_connected && r.is_registered()) {
                    let arn = &row.instance.arn;
                    // Instances registered through the API by an agent that is not ours have no session here.
                    if sessions.has(arn) || !row.instance.agent.hash.starts_with(crate::AGENT_HASH) {
                        continue;
                    }
                    session::disconnected(&ctx, &sessions, arn).await;
                }
            }
        }
    }
}
