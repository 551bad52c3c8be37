//! Syslog: RFC 3164, RFC 5424, and what local daemons take.

use super::{MAX_DATAGRAM, cut, time};
use crate::{
    Line,
    driver::{Address, Identity, Syslog, SyslogFormat},
};
use std::borrow::Cow;

/// The severity of all lines: informational.
const SEVERITY: u8 = 6;

/// Writes lines as one container's.
#[derive(Debug)]
pub struct Writer {
    priority: u8,
    format: SyslogFormat,
    tag: String,
    hostname: String,
    pid: u32,
    framing: Framing,
}

/// Where one message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// At the end of its datagram.
    Datagram,
    /// At a newline.
    Newline,
    /// After as many bytes as are said before it (RFC 5425).
    Length,
}

impl Writer {
    /// Of a container; `pid` is the agent's, as Docker tells its daemon's.
    pub fn new(options: &Syslog, of: &Identity, pid: u32) -> Self {
        let framing = match &options.address {
            Some(Address::Udp { .. } | Address::Unix { datagrams: true, .. }) | None => Framing::Datagram,
            Some(Address::Tcp { tls: true, .. }) if matches!(options.format, SyslogFormat::Rfc5424 { .. }) => {
                Framing::Length
            }
            Some(Address::Tcp { .. } | Address::Unix { datagrams: false, .. }) => Framing::Newline,
        };
        let newer = matches!(options.format, SyslogFormat::Rfc5424 { .. });
        let word = |text: &str| match text {
            // RFC 5424: what is not known is a dash.
            "" if newer => "-".to_owned(),
            _ => text.replace(|c: char| c.is_ascii_whitespace() || c.is_ascii_control(), "_"),
        };
        Self {
            priority: options.facility * 8 + SEVERITY,
            format: options.format,
            tag: word(&options.common.tag.fill(of)),
            hostname: word(&of.hostname),
            pid,
            framing,
        }
    }

    /// Adds one line to what is sent, or makes the datagram.
    pub fn write(&self, line: &Line, out: &mut Vec<u8>) {
        let Self { priority, tag, hostname, pid, .. } = self;
        let at = time(line);
        let stamp = || at.strftime("%b %e %H:%M:%S").to_string();
        let head = match self.format {
            SyslogFormat::Local => format!("<{priority}>{} {tag}[{pid}]: ", stamp()),
            SyslogFormat::Rfc3164 => format!("<{priority}>{} {hostname} {tag}[{pid}]: ", stamp()),
            SyslogFormat::Rfc5424 { micro } => {
                let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
                format!("<{priority}>1 {} {hostname} {tag} {pid} {tag} - ", at.strftime(format))
            }
        };
        match self.framing {
            Framing::Datagram => {
                out.extend_from_slice(head.as_bytes());
                let room = MAX_DATAGRAM.saturating_sub(head.len() + 1);
                out.extend_from_slice(cut(&line.message, room).as_bytes());
                out.push(b'\n');
            }
            Framing::Newline => {
                out.extend_from_slice(head.as_bytes());
                // A newline within would be the end.
                let text: Cow<'_, str> = match line.message.contains('\n') {
                    true => line.message.replace('\n', " ").into(),
                    false => line.message.as_str().into(),
                };
                out.extend_from_slice(text.as_bytes());
                out.push(b'\n');
            }
            Framing::Length => {
                let length = head.len() + line.message.len() + 1;
                out.extend_from_slice(format!("{length} {head}{}\n", line.message).as_bytes());
            }
        }
    }
}
