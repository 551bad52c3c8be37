//! What stunnel is told and what it says; what the kernel says of a port.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use super::{TUNNEL_ADDRESS, TunnelTo};

/// Longest account of what went wrong: it becomes part of a task's stop reason.
const MAX_TROUBLE: usize = 300;

/// The settings of a tunnel. Its server's certificate has to be of an authority of that file, and of that host.
///
/// Nothing that is encrypted is taken apart with more rights than are needed: it runs as nobody once it listens. A server that has gone
/// without a word is noticed, since the kernel on this side sees a connection that is alive: where nothing has come for longer than an
/// NFS client is ever silent, it connects anew.
pub(super) fn render(to: &TunnelTo, port: u16, authorities: &Path) -> String {
    let mut text = format!(
        "foreground = yes\ndebug = warning\npid =\nsetuid = 65534\nsetgid = 65534\n\n[nfs]\nclient = yes\naccept = {TUNNEL_ADDRESS}:{port}\n\
         connect = {}:{}\ndelay = yes\nsslVersionMin = TLSv1.2\nrenegotiation = no\nverifyChain = yes\nCAfile = {}\n",
        to.host,
        to.port,
        authorities.display()
    );
    // A name is asked for by its name, an address has none.
    let who = match to.host.parse::<IpAddr>() {
        Ok(address) => format!("checkIP = {address}\n"),
        Err(_) => format!("checkHost = {host}\nsni = {host}\n", host = to.host),
    };
    text.push_str(&who);
    text.push_str("TIMEOUTconnect = 8\nTIMEOUTbusy = 8\nTIMEOUTidle = 300\nTIMEOUTclose = 0\n");
    for option in ["SO_KEEPALIVE=1", "TCP_KEEPIDLE=30", "TCP_KEEPINTVL=10", "TCP_KEEPCNT=3"] {
        let _ = writeln!(text, "socket = r:{option}");
    }
    text
}

/// What is an error or a warning of what it said, without when and by which thread. Source: stunnel(8), `debug`.
pub(super) fn trouble(said: &str) -> Option<String> {
    let mut lines: Vec<&str> = Vec::new();
    for line in said.lines() {
        let told = match line.split_once("LOG").and_then(|(_, rest)| rest.split_once("]: ")) {
            Some((level, told)) if level.starts_with(['0', '1', '2', '3', '4']) => told,
            // How it speaks before it has a log.
            None => match line.strip_prefix("[!] ") {
                Some(told) => told,
                None => continue,
            },
            Some(_) => continue,
        };
        // Who asks whether a server is there goes without saying so, which is no trouble.
        if !lines.contains(&told) && !told.contains("TIMEOUTclose") {
            lines.push(told);
        }
    }
    let all = lines.join("; ");
    let end = (0..=MAX_TROUBLE.min(all.len())).rev().find(|end| all.is_char_boundary(*end)).unwrap_or(0);
    (!all.is_empty()).then(|| all[..end].to_owned())
}

/// The socket that listens at that port of the tunnels' address. Source: proc(5), `/proc/net/tcp`.
pub(super) fn listener(table: &str, port: u16) -> Option<u64> {
    let loopback = u32::from_ne_bytes(TUNNEL_ADDRESS.octets());
    let wanted = format!("{loopback:08X}:{port:04X}");
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (at, state) = (words.next()?, words.nth(1)?);
        if at != wanted || state != "0A" {
            return None;
        }
        words.nth(5)?.parse().ok()
    })
}

/// Whether a server at that port of the loopback address is in the kernel's list of NFS servers.
pub(super) fn lists(servers: &str, port: u16) -> bool {
    servers.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, "7f000002", at, ..] if u16::from_str_radix(at, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str) -> TunnelTo {
        TunnelTo { host: host.into(), port: 2049, authorities: None, local: None }
    }

    #[test]
    fn a_server_is_known_by_the_name_it_is_reached_by() {
        let text = render(&to("nas.example"), 20_050, Path::new("/ca.pem"));
        for line in [
            "accept = 127.0.0.2:20050",
            "connect = nas.example:2049",
            "sslVersionMin = TLSv1.2",
            "verifyChain = yes",
            "CAfile = /ca.pem",
            "checkHost = nas.example",
            "sni = nas.example",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
        for address in ["10.0.0.5", "fd00::1"] {
            let text = render(&to(address), 20_050, Path::new("/ca.pem"));
            assert!(text.contains(&format!("checkIP = {address}\n")), "{text}");
            assert!(text.contains(&format!("connect = {address}:2049\n")), "{text}");
            assert!(!text.contains("sni =") && !text.contains("checkHost"), "{text}");
        }
    }

    #[test]
    fn what_went_wrong_is_told_once_and_without_the_time() {
        let said = "2026.11.28 12:18:19 LOG5[ui]: stunnel 5.68 on x86_64-pc-linux-gnu platform\n\
            2026.11.28 12:18:19 LOG4[0]: CERT: Pre-verification error: self-signed certificate\n\
            2026.11.28 12:18:19 LOG3[0]: s_connect: connect 10.0.0.5:2049: Connection refused (111)\n\
            2026.11.28 12:18:20 LOG3[1]: s_connect: connect 10.0.0.5:2049: Connection refused (111)\n";
        let told = "CERT: Pre-verification error: self-signed certificate; s_connect: connect 10.0.0.5:2049: Connection refused (111)";
        assert_eq!(trouble(said).as_deref(), Some(told));
        assert_eq!(
            trouble("[.] Reading configuration\n[!] Binding service [nfs] failed\n").as_deref(),
            Some("Binding service [nfs] failed")
        );
        for fine in
            ["LOG5[ui]: Configuration successful", "LOG3[0]: transfer: s_poll_wait: TIMEOUTclose exceeded: closing"]
        {
            assert_eq!(trouble(&format!("2026.11.28 12:18:19 {fine}\n")), None);
        }
        assert_eq!(trouble(&format!("LOG3[0]: {}", "ä".repeat(400))).map(|told| told.len()), Some(MAX_TROUBLE));
    }

    #[test]
    fn the_kernels_tables_say_who_has_a_port() {
        let loopback = u32::from_ne_bytes(TUNNEL_ADDRESS.octets());
        let any = "   1: 00000000:4E51 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1";
        let line = |state: &str| {
            format!(
                "   0: {loopback:08X}:4E51 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 84721 1 x\n{any}\n"
            )
        };
        assert_eq!(listener(&line("0A"), 20_049), Some(84_721));
        assert_eq!(listener(&line("01"), 20_049), None);
        assert_eq!(listener(&line("0A"), 20_050), None);

        let servers = "NV SERVER   PORT USE HOSTNAME\nv4 7f000002 4e51   2 127.0.0.2\nv4 0a630002  801   1 10.99.0.2\n";
        assert!(lists(servers, 20_049));
        assert!(!lists(servers, 0x801) && !lists(servers, 20_050) && !lists("", 20_049));
    }
}
