//! What answers tasks inside their VPC's router: the task metadata endpoint, the instance's own, the way to the API, and the
//! VPC's resolver.
//!
//! The sockets are opened in the router's namespace and are ours as long as the VPC is carried here; who asks through one is
//! in that VPC, so that a listener tells nothing of tasks outside.

use crate::{
    api_door::{self, ApiDoor},
    imds::{self, InstanceMetadata},
    metadata::{self, Metadata},
    resolver::{self, Entry, Private, Resolver, Srv, Upstreams, Zone, Zones},
};
use ::network::{self as net, NetContext};
use effects::Effects;
use link::{AliasView, NameView, Names, SrvView, VpcView};
use model::network::VpcId;
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    sync::Arc,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The ports. Sources: the developer guide; RFC 1035.
const HTTP: u16 = 80;
const DNS: u16 = 53;

/// What is behind the doors of every VPC.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) metadata: Arc<Metadata>,
    /// The instance's; none where it has none, or its tasks are kept from it.
    pub(crate) instance: Option<Arc<InstanceMetadata>>,
    pub(crate) api: ApiDoor,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) effects: Effects,
}

/// The doors of one VPC, open until this is dropped.
pub(super) struct Open {
    resolver: Resolver,
    /// Where it answers; none where the VPC has no resolver.
    resolves_at: Option<Ipv4Addr>,
    _close: DropGuard,
}

impl Doors {
    /// Opens them, or leaves them as they are, and has the resolver know what it is to know.
    pub(super) async fn ensure(
        &self,
        open: &mut Option<Open>,
        router: &NetContext,
        id: &VpcId,
        view: &VpcView,
    ) -> net::Result<()> {
        let base = view.facts.cidrs.first().map(|cidr| u32::from(cidr.network()));
        let at = base.map(|base| Ipv4Addr::from(base.saturating_add(2))).filter(|_| view.facts.dns_support);
        let open = match open {
            Some(known) if known.resolves_at == at => known,
            _ => {
                // The old ones' ports must be free first.
                *open = None;
                open.insert(self.open(router, id, at).await?)
            }
        };
        let private = Private::of(&view.facts.region, view.facts.cidrs.clone());
        open.resolver.know(Zones { zones: zones(&view.names), private: Some(private), aliases: aliases(view) });
        Ok(())
    }

    async fn open(&self, router: &NetContext, id: &VpcId, resolves_at: Option<Ipv4Addr>) -> net::Result<Open> {
        let close = CancellationToken::new();
        let of_vpc = {
            let id = id.clone();
            move |view: &crate::engine::View| view.plan.assignment.interface.as_ref().is_some_and(|i| i.vpc == id)
        };
        let listener = tcp(router, metadata::ADDRESS, HTTP).await?;
        let metadata = metadata::serve(listener, Arc::new(of_vpc), self.metadata.clone());
        self.until(&close, "task metadata of a vpc", metadata);
        let listener = tcp(router, metadata::ADDRESS, api_door::PORT).await?;
        self.until(&close, "api of a vpc", self.api.clone().serve(listener));
        if let Some(instance) = &self.instance {
            let listener = tcp(router, imds::ADDRESS, HTTP).await?;
            let serving = imds::serve(listener, imds::Distance::Beside, instance.clone());
            self.until(&close, "instance metadata of a vpc", serving);
        }
        let resolver = Resolver::new(self.upstreams.clone(), self.effects.clone());
        for address in resolves_at.into_iter().chain(resolves_at.map(|_| resolver::ADDRESS)) {
            let socket = udp(router, address, DNS).await?;
            self.until(&close, "resolver of a vpc", resolver.clone().serve_udp(socket));
            let listener = tcp(router, address, DNS).await?;
            self.until(&close, "resolver of a vpc", resolver.clone().serve_tcp(listener));
        }
        Ok(Open { resolver, resolves_at, _close: close.drop_guard() })
    }

    /// Serves until the doors close.
    fn until(&self, close: &CancellationToken, name: &'static str, serve: impl Future<Output = ()> + Send + 'static) {
        let close = close.clone();
        self.effects.spawn(name, async move {
            tokio::select! {
                () = serve => {}
                () = close.cancelled() => {}
            }
        });
    }
}

/// The private namespaces, each with the names in it.
fn zones(names: &Names) -> Vec<Zone> {
    let below =
        |apex: &str, name: &str| name.strip_suffix(apex).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let zone = |(apex, negative_ttl): (&String, &u32)| {
        let own = names.names.iter().filter(|(name, _)| below(apex, name));
        let names = own.map(|(name, view)| (name.clone(), entry(view))).collect();
        Zone { apex: apex.clone(), negative_ttl: *negative_ttl, names }
    };
    names.zones.iter().map(zone).collect()
}

/// The names of Service Connect that each task here knows.
fn aliases(view: &VpcView) -> resolver::Aliases {
    let Some(all) = &view.aliases else { return resolver::Aliases::new() };
    let names = |names: &BTreeMap<String, AliasView>| {
        Arc::new(names.iter().map(|(name, alias)| (name.clone(), alias.address)).collect())
    };
    let known: BTreeMap<_, Arc<BTreeMap<_, _>>> = all.iter().map(|(id, of)| (id, names(of))).collect();
    let clients = view.interfaces.values().filter_map(|one| Some((one.address, one.connect.as_ref()?)));
    clients.filter_map(|(address, namespace)| Some((address, known.get(namespace)?.clone()))).collect()
}

fn entry(view: &NameView) -> Entry {
    let srv =
        |srv: &SrvView| Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.clone() };
    Entry { ttl: view.ttl, a: view.a.clone(), srv: view.srv.iter().map(srv).collect(), most: view.most.into() }
}

async fn tcp(router: &NetContext, address: Ipv4Addr, port: u16) -> net::Result<tokio::net::TcpListener> {
    let bind = move || {
        let listener = TcpListener::bind(SocketAddrV4::new(address, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let made = bound(router, address, port, bind).await?;
    tokio::net::TcpListener::from_std(made).map_err(|source| failed(address, port, source))
}

async fn udp(router: &NetContext, address: Ipv4Addr, port: u16) -> net::Result<tokio::net::UdpSocket> {
    let bind = move || {
        let socket = UdpSocket::bind(SocketAddrV4::new(address, port))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let made = bound(router, address, port, bind).await?;
    tokio::net::UdpSocket::from_std(made).map_err(|source| failed(address, port, source))
}

async fn bound<T: Send + 'static>(
    router: &NetContext,
    address: Ipv4Addr,
    port: u16,
    bind: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> net::Result<T> {
    router.enter(move || Ok(bind())).await?.map_err(|source| failed(address, port, source))
}

fn failed(address: Ipv4Addr, port: u16, source: io::Error) -> net::Error {
    net::Error::Listen { at: SocketAddrV4::new(address, port), source }
}
