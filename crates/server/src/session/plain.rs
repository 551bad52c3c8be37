//! The link without its port and its TLS: who calls is told, not proved. The simulator's door; no server opens it.

use super::{Link, Sessions, talk};
use crate::{
    ca::{CaError, CertificateAuthority},
    context::Context,
    loops,
};
use link::Identity;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Takes agents' sessions over any stream.
#[derive(Clone)]
pub struct PlainLink(Link);

impl PlainLink {
    /// Starts the loops, as a server does that opens its doors.
    ///
    /// # Errors
    /// The certificate authority cannot work.
    pub fn open(ctx: Context) -> Result<Self, CaError> {
        let ca = Arc::new(CertificateAuthority::open(&ctx.config.data_dir.join("ca"), ctx.effects.now())?);
        let sessions = Arc::new(Sessions::default());
        loops::start(&ctx, sessions.clone(), None);
        Ok(Self(Link { ctx, ca, sessions, api: None }))
    }

    /// Has a session with an instance's agent, in the background.
    pub fn accept<S>(&self, stream: S, identity: Identity)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (link, peer) = (self.0.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        self.0.ctx.effects.spawn("plain link connection", talk::session(link, stream, identity, peer));
    }
}
