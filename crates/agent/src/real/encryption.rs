//! The device through which this machine and others send each other what is of VPCs, where the server asks for that.

use ::network::{
    self as net, NetContext,
    vpc::tunnel::{self, PrivateKey, PublicKey, Tunnel},
};
use link::Views;
use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};
use tokio::sync::Mutex;

/// This machine's device, or that it has none.
pub(super) struct Encryption {
    context: NetContext,
    netns_dir: PathBuf,
    /// This machine's own key, where it can encrypt.
    key: Option<PrivateKey>,
    stands: Mutex<Stands>,
}

/// What is there, as far as this run has seen to it.
enum Stands {
    Unknown,
    Nothing,
    Device(Ipv4Addr, Tunnel),
}

/// The other machines of all VPCs that are encrypted; `None` where none is.
pub(super) type Peers = Option<BTreeMap<Ipv4Addr, PublicKey>>;

/// Whose packets are to come and go by the device.
pub(super) fn peers(views: &Views) -> Peers {
    let mut encrypted = views.values().filter(|view| view.facts.encrypted).peekable();
    encrypted.peek()?;
    let keys = encrypted.flat_map(|view| view.keys.iter());
    Some(keys.filter_map(|(host, key)| Some((*host, PublicKey::new(key.as_str()).ok()?))).collect())
}

impl Encryption {
    pub(super) fn new(context: NetContext, netns_dir: PathBuf, key: Option<PrivateKey>) -> Self {
        Self { context, netns_dir, key, stands: Mutex::new(Stands::Unknown) }
    }

    /// Makes it so; what a former run has left goes where nothing is encrypted any more.
    pub(super) async fn settle(&self, underlay: Ipv4Addr, peers: Peers) -> net::Result<()> {
        let mut stands = self.stands.lock().await;
        let Some(peers) = peers else {
            if !matches!(*stands, Stands::Nothing) {
                tunnel::remove(&self.context, &self.netns_dir).await?;
                *stands = Stands::Nothing;
            }
            return Ok(());
        };
        let key = self.key.clone().ok_or(net::Error::WireguardMissing("WireGuard"))?;
        let wanted = Tunnel { key, peers };
        if matches!(&*stands, Stands::Device(at, known) if *at == underlay && *known == wanted) {
            return Ok(());
        }
        *stands = Stands::Unknown;
        tunnel::ensure(&self.context, &self.netns_dir, underlay, &wanted).await?;
        *stands = Stands::Device(underlay, wanted);
        Ok(())
    }

    /// Makes good what somebody else broke, such as the process that makes the device.
    pub(super) async fn look(&self) {
        let stands = self.stands.lock().await;
        let Stands::Device(underlay, tunnel) = &*stands else { return };
        if let Err(error) = tunnel::ensure(&self.context, &self.netns_dir, *underlay, tunnel).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the device that encrypts is not as it is to be; trying again"
            );
        }
    }
}
