//! The user data of instances that `up` makes: a shell script that names the cluster, as the original writes it, and what
//! `--extra-user-data` adds.

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{fmt::Write, fs, path::PathBuf};

/// Longest user data that EC2 takes. Source: EC2's user guide.
const MAX_BYTES: usize = 16 << 10;
/// What separates the parts; it must occur in none of them.
const BOUNDARY: &str = "==longshore-user-data==";

/// User data as RunInstances takes it.
pub(super) fn encode(cluster: &str, extra: &[PathBuf]) -> Result<String> {
    let mut parts = Vec::new();
    for path in extra {
        parts.push(fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let text = text(cluster, &parts)?;
    if text.len() > MAX_BYTES {
        bail!("User data is limited to 16384 bytes; --extra-user-data makes it {}", text.len());
    }
    Ok(BASE64_STANDARD.encode(text))
}

fn text(cluster: &str, extra: &[String]) -> Result<String> {
    let script = format!("#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n");
    if extra.is_empty() {
        return Ok(script);
    }
    let mut text = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n");
    let own = [script];
    for part in own.iter().chain(extra) {
        if part.contains(BOUNDARY) {
            bail!("--extra-user-data must not contain {BOUNDARY}");
        }
        let kind = if part.starts_with("#cloud-config") { "text/cloud-config" } else { "text/x-shellscript" };
        write!(text, "--{BOUNDARY}\nContent-Type: {kind}; charset=\"utf-8\"\nMime-Version: 1.0\n\n{part}\n")?;
    }
    writeln!(text, "--{BOUNDARY}--")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        assert_eq!(text("shop", &[]).unwrap(), "#!/bin/bash\necho ECS_CLUSTER=shop >> /etc/ecs/ecs.config\n");
        let more = text("shop", &["#cloud-config\nx: y".to_owned(), "#!/bin/sh\necho z".to_owned()]).unwrap();
        let kinds: Vec<_> = more.lines().filter(|line| line.starts_with("Content-Type: text/")).collect();
        assert_eq!(kinds.len(), 3, "{more}");
        assert!(kinds[1].contains("cloud-config") && kinds[2].contains("x-shellscript"), "{more}");
        assert_eq!(more.matches(BOUNDARY).count(), 5);
        assert!(text("shop", &[BOUNDARY.to_owned()]).is_err());
    }
}
