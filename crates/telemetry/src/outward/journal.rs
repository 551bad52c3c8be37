//! The journal's native protocol: a datagram of fields.

use crate::{
    Line,
    driver::{Identity, Journald},
};

/// Where the journal takes entries.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest name of a field. Source: systemd.
const MAX_NAME: usize = 64;
/// Syslog's informational.
const PRIORITY: &str = "6";

/// Writes lines as one container's.
#[derive(Debug)]
pub struct Writer {
    /// The fields that all entries have, as they are sent.
    fields: Vec<u8>,
}

impl Writer {
    /// Of a container.
    pub fn new(options: &Journald, of: &Identity) -> Self {
        let tag = options.common.tag.fill(of);
        let mut fields = Vec::new();
        for (name, value) in [
            ("PRIORITY", PRIORITY),
            ("CONTAINER_ID", of.short_id()),
            ("CONTAINER_ID_FULL", &of.id),
            ("CONTAINER_NAME", &of.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &of.image),
            ("SYSLOG_IDENTIFIER", &tag),
        ] {
            field(&mut fields, name, value);
        }
        for (name, value) in options.common.wanted.of(&of.labels, &of.env) {
            if let Some(name) = sanitized(&name) {
                field(&mut fields, &name, &value);
            }
        }
        Self { fields }
    }

    /// The datagram of a line.
    pub fn write(&self, line: &Line) -> Vec<u8> {
        let mut out = self.fields.clone();
        // Docker: when the daemon read it.
        let at = super::time(line).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        field(&mut out, "SYSLOG_TIMESTAMP", &at);
        field(&mut out, "MESSAGE", &line.message);
        out
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// The name of a label or a variable as the journal takes it: capitals, digits and underscores, and not an underscore first,
/// which the journal keeps to itself.
fn sanitized(name: &str) -> Option<String> {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(word).collect();
    let name = name.trim_start_matches('_');
    let name = &name[..name.len().min(MAX_NAME)];
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| name.to_owned())
}
