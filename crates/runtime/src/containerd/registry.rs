//! Speaking to registries: which scheme, which credentials, and what their failures mean.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth as WireAuth;
use oci_client::{Reference, RegistryOperation};

use super::documents::{Descriptor, INDEXES, MANIFESTS};
use super::identity;
use crate::auth::RegistryAuth;
use crate::error::PullError;

/// Bound of establishing one connection: a registry that needs longer is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The fewest bytes that a registry must send for the wait to begin anew: at a minute's inactivity, a kilobyte a second. With
/// less a layer of a few megabytes takes hours, and one byte now and then would keep a pull for ever.
const LEAST: usize = 64 << 10;
const TOO_MANY_REQUESTS: u16 = 429;

/// A blob's bytes as they come.
pub(super) type Pieces = BoxStream<'static, Result<bytes::Bytes, std::io::Error>>;

/// Clients that are kept: the repositories an instance's tasks come from, as a rule. Each holds some 200 authorities.
const CLIENTS: usize = 8;

/// One repository at one registry, authenticated.
pub(super) struct Registry {
    client: oci_client::Client,
    reference: Reference,
    auth: WireAuth,
    inactivity: Duration,
}

/// Whether `registry` (host[:port]) is spoken to without TLS: loopback always, as in Docker, and what is listed.
pub(super) fn is_plain(registry: &str, listed: &[String]) -> bool {
    let host = match registry.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((v6, _)) => v6,
        None => registry.split(':').next().unwrap_or(registry),
    };
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || listed.iter().any(|l| l == registry || l == host)
}

/// Who is asked for what a reference names, as people call it: its registry, or the mirror of that.
pub(super) fn asked_of(reference: &Reference) -> &str {
    match (reference.registry(), reference.resolve_registry()) {
        // Docker's own is not where it says.
        (docker @ "docker.io", "index.docker.io") => docker,
        (_, asked) => asked,
    }
}

/// Clients that were used last. Making one reads every authority the machine trusts, 20 ms of CPU; keeping one keeps its
/// connections too. One that was made for other credentials is never used, because it remembers what it was granted.
#[derive(Default)]
pub(super) struct Clients(RefCell<VecDeque<(Asked, oci_client::Client)>>);

/// For what a client was made: registry, repository, credentials, and whether without TLS.
type Asked = (String, String, WireAuth, bool);

impl Clients {
    fn get(&self, asked: Asked, make: impl FnOnce() -> oci_client::Client) -> oci_client::Client {
        let mut kept = self.0.borrow_mut();
        if let Some((_, client)) = kept.iter().find(|(known, _)| *known == asked) {
            return client.clone();
        }
        let client = make();
        kept.truncate(CLIENTS - 1);
        kept.push_front((asked, client.clone()));
        client
    }
}

impl Registry {
    /// Finds out how to authenticate, and does.
    pub(super) async fn open(
        clients: &Clients,
        reference: Reference,
        auth: &RegistryAuth,
        plain: bool,
        inactivity: Duration,
    ) -> Result<Self, PullError> {
        let registry = Self::granted(clients, reference, auth, plain, inactivity).await?;
        let granted = registry.client.auth(&registry.reference, &registry.auth, RegistryOperation::Pull);
        registry.bounded("authentication", granted).await?;
        Ok(registry)
    }

    /// With what was granted before, if it was: requests authenticate themselves where it is no longer enough, but do not tell
    /// why that fails.
    pub(super) async fn granted(
        clients: &Clients,
        reference: Reference,
        auth: &RegistryAuth,
        plain: bool,
        inactivity: Duration,
    ) -> Result<Self, PullError> {
        let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT.min(inactivity)),
            read_timeout: Some(inactivity),
            user_agent: concat!("longshore/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = match auth {
            RegistryAuth::Anonymous => WireAuth::Anonymous,
            RegistryAuth::Basic { username, password } => WireAuth::Basic(username.clone(), password.clone()),
            RegistryAuth::IdentityToken(token) => {
                WireAuth::Bearer(identity::exchange(&reference, token, plain, inactivity).await?)
            }
        };
        let asked = (asked_of(&reference).to_owned(), reference.repository().to_owned(), auth.clone(), plain);
        let client = clients.get(asked, || oci_client::Client::new(config));
        Ok(Self { client, reference, auth, inactivity })
    }

    /// The digest of what the reference names. Registries that count pulls do not count this.
    pub(super) async fn digest(&self) -> Result<String, PullError> {
        let answer = self.client.fetch_manifest_digest(&self.reference, &self.auth);
        self.bounded("manifest", answer).await
    }

    /// The bytes of a manifest or index: what the reference names, or the one of `digest`.
    pub(super) async fn manifest(&self, digest: Option<&str>) -> Result<bytes::Bytes, PullError> {
        let accepted: Vec<&str> = INDEXES.into_iter().chain(MANIFESTS).collect();
        let reference = match digest {
            Some(digest) => self.reference.clone_with_digest(digest.to_owned()),
            None => self.reference.clone(),
        };
        let answer = self.client.pull_manifest_raw(&reference, &self.auth, &accepted);
        let (bytes, _) = self.bounded("manifest", answer).await?;
        Ok(bytes)
    }

    /// A blob as it comes, from `offset` on or, if the registry does not do parts, from its beginning; where it begins is the
    /// first answer. The digest of a whole one is verified at the end of the stream, that of a part is for the caller to see to.
    pub(super) async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<(u64, Pieces), PullError> {
        let descriptor = OciDescriptor {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.clone(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        if offset == 0 {
            let answer = self.client.pull_blob_stream(&self.reference, &descriptor);
            return Ok((0, self.bounded("blob", answer).await?.stream));
        }
        let answer = self.client.pull_blob_stream_partial(&self.reference, &descriptor, offset, None);
        Ok(match self.bounded("blob", answer).await? {
            BlobResponse::Full(whole) => (0, whole.stream),
            BlobResponse::Partial(part) => (offset, part.stream),
        })
    }

    /// How long this registry's next bytes are waited for.
    pub(super) fn patience(&self, what: &'static str) -> Patience<'_> {
        Patience { registry: self, what, waited: Duration::ZERO, came: 0 }
    }

    /// The registry as people name it.
    pub(super) fn name(&self) -> &str {
        asked_of(&self.reference)
    }

    async fn bounded<T>(
        &self,
        step: &str,
        answer: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, PullError> {
        match tokio::time::timeout(self.inactivity, answer).await {
            Ok(answer) => answer.map_err(|e| self.meaning(step, &e)),
            Err(_) => Err(self.silent(step)),
        }
    }

    /// Nothing came for too long.
    pub(super) fn silent(&self, step: &str) -> PullError {
        PullError::Timeout { registry: self.name().to_owned(), message: step.to_owned() }
    }

    /// A stream that broke: wrong bytes, silence, or a lost connection.
    pub(super) fn broken(&self, error: &std::io::Error) -> PullError {
        let digest = error.get_ref().and_then(|inner| inner.downcast_ref::<DigestError>());
        let request = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
        match digest {
            Some(digest) => PullError::DigestMismatch(digest.to_string()),
            None if request.is_some_and(reqwest::Error::is_timeout) => self.silent(&chain(error)),
            None => PullError::Unreachable { registry: self.name().to_owned(), message: chain(error) },
        }
    }

    #[allow(clippy::wildcard_enum_match_arm)] // oci-client's other errors are about pushing.
    fn meaning(&self, step: &str, error: &OciDistributionError) -> PullError {
        use OciDistributionError as E;
        let reference = self.reference.whole();
        let registry = self.name().to_owned();
        match error {
            E::AuthenticationFailure(message) => PullError::Unauthorized { reference, message: short(message) },
            E::UnauthorizedError { .. } => {
                PullError::Unauthorized { reference, message: "authentication required".into() }
            }
            E::ImageManifestNotFoundError(message) => PullError::NotFound { reference, message: short(message) },
            E::RegistryError { envelope, .. } => {
                let message = short(&envelope.to_string());
                let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|e| codes.contains(&e.code));
                use OciErrorCode as C;
                if has(&[C::Unauthorized, C::Denied]) {
                    PullError::Unauthorized { reference, message }
                } else if has(&[
                    C::ManifestUnknown,
                    C::NameUnknown,
                    C::NotFound,
                    C::BlobUnknown,
                    C::ManifestBlobUnknown,
                ]) {
                    PullError::NotFound { reference, message }
                } else {
                    let passes = has(&[C::Toomanyrequests]);
                    PullError::Registry { registry, message, passes }
                }
            }
            E::ServerError { code: 404, message, .. } => PullError::NotFound { reference, message: short(message) },
            E::ServerError { code: 401 | 403, message, .. } => {
                PullError::Unauthorized { reference, message: short(message) }
            }
            E::ServerError { code, message, .. } => {
                let message = format!("{step}: received unexpected HTTP status: {code}: {}", short(message));
                PullError::Registry { registry, message, passes: *code == TOO_MANY_REQUESTS || *code >= 500 }
            }
            E::DigestError(digest) => PullError::DigestMismatch(digest.to_string()),
            E::RequestError(request) if request.is_timeout() => {
                PullError::Timeout { registry, message: format!("{step}: {}", chain(request)) }
            }
            E::RequestError(request) => PullError::Unreachable { registry, message: chain(request) },
            E::IoError(io) => self.broken(io),
            other => PullError::Registry { registry, message: format!("{step}: {other}"), passes: false },
        }
    }
}

/// The wait for a registry, over all the pieces of one blob. Only waiting counts, not what is done with the pieces.
pub(super) struct Patience<'a> {
    registry: &'a Registry,
    what: &'static str,
    waited: Duration,
    came: usize,
}

impl Patience<'_> {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self, pieces: &mut Pieces) -> Result<Option<bytes::Bytes>, PullError> {
        let begin = tokio::time::Instant::now();
        let left = self.registry.inactivity.saturating_sub(self.waited);
        let next = tokio::time::timeout(left, pieces.next()).await;
        let piece = next.map_err(|_| self.registry.silent(self.what))?;
        self.waited += begin.elapsed();
        let piece = piece.transpose().map_err(|e| self.registry.broken(&e))?;
        self.came += piece.as_ref().map_or(0, bytes::Bytes::len);
        if self.came >= LEAST {
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        Ok(piece)
    }
}

/// An error with all its causes; the outer ones alone say little ("error sending request").
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Registries behind proxies answer errors with whole pages.
fn short(message: &str) -> String {
    /// ECS cuts reasons at 1024 characters; this leaves room for ours.
    const LIMIT: usize = 300;
    message.trim().chars().take(LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn plain_http_is_for_loopback_and_the_listed() {
        let listed = ["r.example:5000".to_owned(), "10.0.0.9".to_owned()];
        let rows = [
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("localhost:1", true),
            ("[::1]:5000", true),
            ("r.example:5000", true),
            ("r.example", false),
            ("10.0.0.9:80", true),
            ("10.0.0.8:80", false),
            ("docker.io", false),
            ("localhost.evil.example", false),
        ];
        for (registry, want) in rows {
            assert_eq!(is_plain(registry, &listed), want, "{registry}");
        }
    }
}
