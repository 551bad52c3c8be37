//! Opens the link: the authority, the host's side of the fabric, the ports, and the loops behind them.

use super::{Link, LinkListener, Sessions};
use crate::{
    ca::{CaError, CertificateAuthority},
    context::Context,
    http, loops,
    machines::{MachineError, MachineHost},
};
use model::{Scope, vpc::DefaultVpc};
use std::{io, net::SocketAddr, sync::Arc};

/// Why the link could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The certificate authority cannot work.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// The host cannot hold local instances.
    #[error("the host could not be prepared for local instances: {0}")]
    Host(MachineError),
    /// An address cannot be listened on.
    #[error("cannot listen for agents on {0}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// The link's ports, taken and not accepting yet.
pub(crate) struct Doors {
    ca: Arc<CertificateAuthority>,
    tls: Arc<rustls::ServerConfig>,
    listeners: Vec<LinkListener>,
    /// Where the listeners are reached, in the order configured; the fabric's address last.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where local instances dial, if there may be any.
    fabric: Option<SocketAddr>,
}

/// Takes the link's ports and prepares the host.
pub(crate) async fn bind(ctx: &Context, host: &dyn MachineHost) -> Result<Doors, LinkError> {
    let now = ctx.effects.now();
    let ca = Arc::new(CertificateAuthority::open(&ctx.config.data_dir.join("ca"), now)?);
    let tls = Arc::new(ca.link_tls(now)?);
    let mut listeners = Vec::new();
    for address in &ctx.config.link_listen {
        listeners.push(LinkListener::bind(*address).await.map_err(|error| LinkError::Listen(*address, error))?);
    }
    let mut fabric = None;
    if ctx.config.local_instances {
        let scope = Scope { account: ctx.config.account.clone(), region: ctx.config.region.clone() };
        let vpc = DefaultVpc::of(&scope, ctx.config.vpc_cidr);
        host.prepare(vpc.gateway(), vpc.cidr.prefix_len()).await.map_err(LinkError::Host)?;
        let port = listeners.first().map_or(0, |listener| listener.address.port());
        let mut address = SocketAddr::from((vpc.gateway(), port));
        // A port that is open on every address is open on this one, and cannot be taken twice.
        let covered =
            |l: &LinkListener| l.address == address || (l.address.ip().is_unspecified() && l.address.port() == port);
        if !listeners.iter().any(covered) {
            let listener = LinkListener::bind(address).await.map_err(|error| LinkError::Listen(address, error))?;
            address = listener.address;
            listeners.push(listener);
        }
        fabric = Some(address);
    }
    let addresses = listeners.iter().map(|listener| listener.address).collect();
    Ok(Doors { ca, tls, listeners, addresses, fabric })
}

impl Doors {
    /// Starts to accept agents, and starts the loops. From now on the CA's certificate is shown.
    pub(crate) fn open(self, ctx: &Context, host: Arc<dyn MachineHost>, api: http::Door) {
        // Only ever set here, once.
        let _ = ctx.ca_pem.set(self.ca.pem().to_owned());
        let sessions = Arc::new(Sessions::default());
        let link = Link { ctx: ctx.clone(), ca: self.ca, sessions: sessions.clone(), api: Some(api) };
        for listener in self.listeners {
            ctx.effects.spawn("link listener", listener.run(link.clone(), self.tls.clone()));
        }
        loops::start(ctx, sessions, self.fabric.map(|address| (host, address)));
    }
}
