//! `env`: shell exports that point AWS clients at a server on this machine.

use crate::{args::EnvArgs, cli::out};
use anyhow::{Context, Result, bail};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

pub(super) fn print(args: &EnvArgs) -> Result<ExitCode> {
    let root = server::credentials::read_root(&args.data_dir)?.with_context(|| {
        format!(
            "no server has started on {} yet; start one with `longshore dev`, or name its --data-dir",
            args.data_dir.display()
        )
    })?;
    let endpoint = match &args.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => endpoint(&args.listen, args.tls_cert.is_some())?,
    };
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", root.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", root.secret_access_key.as_str()),
        ("AWS_REGION", args.region.as_str()),
        ("AWS_DEFAULT_REGION", args.region.as_str()),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        // Cloud Map's DiscoverInstances would be asked of `data-` and the endpoint's host, which is nobody.
        ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true"),
    ] {
        // Single quotes are safe around anything but themselves.
        out(format_args!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    // A token of another account would be sent along and refused.
    out("unset AWS_SESSION_TOKEN AWS_PROFILE");
    Ok(ExitCode::SUCCESS)
}

/// Where a server that listens there is reached from its own machine.
fn endpoint(listen: &[SocketAddr], https: bool) -> Result<String> {
    let first = listen.first().context("--listen names no address")?;
    if first.port() == 0 {
        bail!("which port the server was given for --listen {first} only its log says; name it with --endpoint");
    }
    // One that listens everywhere listens at home too.
    let ip = match first.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    Ok(format!("{}://{}", if https { "https" } else { "http" }, SocketAddr::new(ip, first.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_where_the_server_listens() {
        for (listen, https, want) in [
            (&["127.0.0.1:4566"][..], false, Some("http://127.0.0.1:4566")),
            (&["127.0.0.1:4600", "10.0.0.1:80"], true, Some("https://127.0.0.1:4600")),
            (&["10.0.0.1:80"], false, Some("http://10.0.0.1:80")),
            (&["0.0.0.0:443"], true, Some("https://127.0.0.1:443")),
            (&["[::]:4566"], false, Some("http://[::1]:4566")),
            (&["127.0.0.1:0"], false, None),
            (&[], false, None),
        ] {
            let addresses: Vec<SocketAddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(endpoint(&addresses, https).ok().as_deref(), want, "{listen:?}");
        }
    }
}
