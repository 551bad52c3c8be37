//! `server`: the control plane until a signal ends it.

use super::fault;
use crate::{
    args::ServerArgs,
    local::{HostPaths, LocalHost, LocalOptions},
};
use ::server::{
    Config, Limits, Server, TlsFiles, WebhookConfig,
    machines::{MachineHost, NoMachines},
};
use anyhow::{Context, Result, bail, ensure};
use effects::Effects;
use model::{AccessPoint, AccountId, FileSystem, Region};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{collections::BTreeMap, path::Path, process::ExitCode, sync::Arc, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Twice as much as the authorities of all distributions' browsers together: a few of one's own are what it is for.
const MAX_AUTHORITIES: usize = 512 << 10;

pub(super) fn run(args: ServerArgs) -> Result<ExitCode> {
    super::keep_memory_secret();
    super::start_logging("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let effects = Effects::real();
        let local = args.local_instances;
        let (server, _) = start(args, &effects, local).await?;
        for address in server.endpoints() {
            tracing::info!(%address, "the AWS endpoint answers");
        }
        signals.terminated().await;
        server.shutdown().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A running server, and its host if it makes local instances.
pub(super) async fn start(
    args: ServerArgs,
    effects: &Effects,
    local: bool,
) -> Result<(Server, Option<Arc<LocalHost>>)> {
    if local {
        fault::fit_for_local_instances(args.runtime.containerd_socket.is_none())?;
        if args.vpc_encryption {
            fault::fit_for_encryption().await?;
        }
        args.runtime.oci_runtime.unwrap_or_default().check()?;
        args.runtime.userns()?;
    }
    std::fs::create_dir_all(&args.data_dir)
        .with_context(|| format!("cannot make the data directory {}", args.data_dir.display()))?;
    let data_dir = args.data_dir.canonicalize()?;
    let host = if local {
        let options = LocalOptions {
            containerd_socket: args.runtime.containerd_socket.clone(),
            insecure_registries: args.runtime.insecure_registries.clone(),
            registry_mirrors: args.runtime.registry_mirrors.clone(),
            oci_runtime: args.runtime.oci_runtime,
            userns_remap: args.runtime.userns_remap.clone(),
            public_pool: args.public_pool,
            registry_auth: args.runtime.registry_auth.clone(),
        };
        Some(Arc::new(LocalHost::new(HostPaths::new(&data_dir), options, effects.clone()).context("no cgroups")?))
    } else {
        None
    };
    let machines: Arc<dyn MachineHost> = match &host {
        Some(host) => host.clone(),
        None => Arc::new(NoMachines),
    };
    let config = config(&args, data_dir, local)?;
    let server = ::server::serve(config, effects.clone(), machines).await.map_err(fault::of_start)?;
    if let Some(host) = &host {
        effects.spawn("containerd", host.clone().look_after_containerd());
    }
    Ok((server, host))
}

fn config(args: &ServerArgs, data_dir: std::path::PathBuf, local: bool) -> Result<Config> {
    let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(certificate, key)| TlsFiles { certificate, key });
    let file_systems: BTreeMap<_, _> = args.file_systems.iter().cloned().collect();
    Ok(Config {
        listen: args.listen.clone(),
        tls,
        link_listen: args.link_listen.clone(),
        account: AccountId::parse(args.account_id.as_str())?,
        region: Region::parse(args.region.as_str())?,
        root_credentials: root_credentials()?,
        vpc_cidr: args.vpc_cidr,
        public_pool: args.public_pool,
        vpc_encryption: args.vpc_encryption,
        stopped_task_retention: Duration::from_secs(u64::from(args.stopped_task_hours) * 3600),
        local_instances: local,
        buckets: args.buckets.iter().cloned().collect(),
        access_points: access_points(&args.access_points, &file_systems)?,
        efs_authorities: args.efs_ca.as_deref().map(authorities).transpose()?,
        file_systems,
        secrets_passphrase: args.secrets_passphrase_file.clone(),
        role_credentials: Duration::from_secs(u64::from(args.role_credentials_seconds)),
        prices: args.prices.clone(),
        events_webhook: args.events.url.clone().map(|url| WebhookConfig {
            url,
            secret_file: args.events.secret_file.clone(),
            ca_bundle: args.events.ca_bundle.clone(),
        }),
        limits: limits(),
        ..Config::new(data_dir)
    })
}

/// What access points show. AWS has them only where what travels is encrypted.
fn access_points(
    given: &[(String, AccessPoint)],
    file_systems: &BTreeMap<String, FileSystem>,
) -> Result<BTreeMap<String, AccessPoint>> {
    for (id, point) in given {
        let named = &point.file_system;
        ensure!(
            file_systems.get(named).is_some_and(|file_system| file_system.tls),
            "--efs-access-point {id}: {named} is no file system that is reached over TLS (--efs {named}=tls://HOST/PATH)"
        );
    }
    Ok(given.iter().cloned().collect())
}

/// A file of certificates. It travels to agents with what their tasks are given.
fn authorities(path: &Path) -> Result<String> {
    let what = || format!("--efs-ca {}", path.display());
    let text = std::fs::read_to_string(path).with_context(what)?;
    ensure!(text.len() <= MAX_AUTHORITIES, "{}: it is longer than {MAX_AUTHORITIES} bytes", what());
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    ensure!(!found.with_context(what)?.is_empty(), "{}: there is no certificate in it", what());
    Ok(text)
}

/// The usual bounds, but no more connections than half of the files that this process may open: the rest is for agents, the
/// stores and the link's strangers. Where files run out nobody is served, and nobody can be asked to make room.
fn limits() -> Limits {
    let usual = Limits::default();
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let half = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
    Limits { connections: usual.connections.min(half), ..usual }
}

/// Root credentials from the environment, for test harnesses: both or none.
#[allow(clippy::disallowed_methods)] // Secrets have no flag, so clap does not read them.
fn root_credentials() -> Result<Option<::server::KeyPair>> {
    let of = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
    match (of("LONGSHORE_ROOT_ACCESS_KEY_ID"), of("LONGSHORE_ROOT_SECRET_ACCESS_KEY")) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Ok(Some(::server::KeyPair { access_key_id, secret_access_key }))
        }
        (None, None) => Ok(None),
        _ => bail!("set both LONGSHORE_ROOT_ACCESS_KEY_ID and LONGSHORE_ROOT_SECRET_ACCESS_KEY, or neither"),
    }
}

/// SIGTERM and SIGINT. They are listened to from the moment this is made, and one that came is kept until it is asked for:
/// made before anything else is, it lets a start that is interrupted be taken down in order.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(super) async fn terminated(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_access_point_is_of_a_file_system_that_is_reached_over_tls() {
        let file_systems = [("fs-00000001", "nas:/plain"), ("fs-00000002", "tls://nas/export")];
        let file_systems = file_systems.map(|(id, place)| (id.to_owned(), place.parse().unwrap())).into();
        let points =
            |place: &str| access_points(&[("fsap-00000001".to_owned(), place.parse().unwrap())], &file_systems);
        assert_eq!(points("fs-00000002:/web").unwrap()["fsap-00000001"].folder, "/web");
        for other in ["fs-00000001", "fs-00000003"] {
            let error = points(&format!("{other}:/web")).unwrap_err().to_string();
            assert!(error.contains(&format!("fsap-00000001: {other} is no file system")), "{error}");
        }
    }

    #[test]
    fn authorities_are_a_file_of_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            authorities(&file).map_err(|error| format!("{error:#}"))
        };
        let certificate = rcgen::generate_simple_self_signed(vec!["nas".to_owned()]).unwrap().cert.pem();
        assert_eq!(read(&certificate), Ok(certificate.clone()));
        for (text, why) in [
            (String::new(), "there is no certificate in it"),
            ("text".to_owned(), "there is no certificate in it"),
            (certificate.replace("MII", "***"), "--efs-ca"),
            (certificate.repeat(MAX_AUTHORITIES / certificate.len() + 1), "it is longer than 524288 bytes"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(why) && error.contains("ca.pem"), "{error}");
        }
        assert!(authorities(&dir.path().join("none")).is_err());
    }
}
