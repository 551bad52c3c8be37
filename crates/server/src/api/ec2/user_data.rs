//! What an instance's user data says to the ECS agent, read without running it.
//!
//! People write `ECS_CLUSTER=…` into `/etc/ecs/ecs.config` by `echo`, `printf`, here-documents and cloud-config, quoted
//! in every way, alone or within MIME parts. What they mean is found by the settings' names: the last one wins, as it
//! does in the file.

use super::invalid;
use crate::api::ApiError;
use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Attribute, Attributes, ClusterName, attribute::MAX_CUSTOM_ATTRIBUTES};
use std::{borrow::Cow, collections::BTreeMap};

/// Longest user data before it is encoded. Source: "Run commands when you launch an EC2 instance" in the EC2 user guide.
const MAX_BYTES: usize = 16 << 10;

/// The settings of the agent that are honoured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserData {
    pub(super) cluster: ClusterName,
    pub(super) attributes: Attributes,
    pub(super) reserved_memory: u32,
}

/// Reads the request's base64.
pub(super) fn decode(encoded: Option<&str>) -> Result<UserData, ApiError> {
    let packed: String = encoded.unwrap_or_default().chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(packed).map_err(|_| invalid("Invalid BASE64 encoding of user data."))?;
    if bytes.len() > MAX_BYTES {
        return Err(invalid("User data is limited to 16384 bytes."));
    }
    read(&String::from_utf8_lossy(&bytes))
}

/// The cluster that an instance of such user data joins; none if they cannot be read.
pub(crate) fn cluster_of(encoded: Option<&str>) -> Option<ClusterName> {
    decode(encoded).ok().map(|data| data.cluster)
}

fn read(text: &str) -> Result<UserData, ApiError> {
    let text = unpacked(text);
    let cluster = settings(&text, "ECS_CLUSTER").pop().map(|(before, rest)| word(before, rest));
    let cluster = cluster.filter(|name| !name.is_empty()).unwrap_or("default");
    let cluster = ClusterName::parse(cluster).map_err(|_| {
        invalid(format!(
            "The user data's ECS_CLUSTER '{cluster}' is not a cluster's name. It is read, not run by a shell."
        ))
    })?;
    let attributes = match settings(&text, "ECS_INSTANCE_ATTRIBUTES").pop() {
        Some((_, rest)) => attributes(rest)?,
        None => Attributes::new(),
    };
    let reserved = settings(&text, "ECS_RESERVED_MEMORY").pop().map(|(before, rest)| word(before, rest));
    let reserved_memory = match reserved.filter(|number| !number.is_empty()) {
        None => 0,
        Some(number) => number
            .parse()
            .map_err(|_| invalid(format!("The user data's ECS_RESERVED_MEMORY '{number}' is not a number of MiB.")))?,
    };
    Ok(UserData { cluster, attributes, reserved_memory })
}

/// MIME parts that are encoded, decoded; all else as it is.
fn unpacked(text: &str) -> Cow<'_, str> {
    if !text.to_ascii_lowercase().contains("content-transfer-encoding: base64") {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut encoded = String::new();
    let (mut in_head, mut is_encoded) = (true, false);
    for line in text.lines().chain(["--"]) {
        if line.starts_with("--") {
            if let Ok(bytes) = STANDARD.decode(std::mem::take(&mut encoded)) {
                out.push_str(&String::from_utf8_lossy(&bytes));
            }
            (in_head, is_encoded) = (true, false);
        } else if in_head {
            in_head = !line.trim().is_empty();
            is_encoded |= line.to_ascii_lowercase().starts_with("content-transfer-encoding: base64");
        } else if is_encoded {
            encoded.push_str(line.trim());
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    Cow::Owned(out)
}

/// Every place where the setting is given: the character before its name, and the text behind `=`. Comments are none.
fn settings<'a>(text: &'a str, name: &str) -> Vec<(Option<char>, &'a str)> {
    let assignment = format!("{name}=");
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&assignment) {
        let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
        let before = line.chars().next_back();
        // `\n` of a printf may stand right before a name; any other letter there makes it another name.
        let is_name = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_') || line.ends_with("\\n");
        if is_name && !line.trim_start().starts_with('#') {
            found.push((before, &text[at + assignment.len()..]));
        }
    }
    found
}

/// The value of a setting that is one word, without the quotes around it or around the whole assignment.
fn word(before: Option<char>, rest: &str) -> &str {
    let rest = rest.split('\n').next().unwrap_or_default();
    let rest = rest.split("\\n").next().unwrap_or_default();
    let quoted = |quote: char| rest.strip_prefix(quote).map(|inner| inner.split(quote).next().unwrap_or_default());
    if let Some(inner) = quoted('"').or_else(|| quoted('\'')) {
        return inner.trim();
    }
    let end = |c: char| match before {
        Some(quote @ ('"' | '\'')) => c == quote,
        Some(_) | None => c.is_whitespace() || "\"';>&|".contains(c),
    };
    rest.split(end).next().unwrap_or_default().trim()
}

/// The JSON object behind `=`, which may run over several lines and have its quotes escaped.
fn attributes(rest: &str) -> Result<Attributes, ApiError> {
    let wrong = |why: &str| invalid(format!("The user data's ECS_INSTANCE_ATTRIBUTES are not usable: {why}"));
    let start = rest.find(|c| !"\"'\\ ".contains(c)).unwrap_or(rest.len());
    let rest = &rest[start..];
    let mut depth = 0_usize;
    let mut end = None;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            end = Some(at + c.len_utf8());
            break;
        }
    }
    let text = end.and_then(|end| rest.get(..end)).filter(|text| text.starts_with('{'));
    let text = text.ok_or_else(|| wrong("they must be a JSON object."))?.replace("\\\"", "\"");
    let values: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    if values.len() > MAX_CUSTOM_ATTRIBUTES {
        return Err(wrong("an instance can have at most 10."));
    }
    let mut attributes = Attributes::new();
    for (name, value) in values {
        let attribute = Attribute { name, value: Some(value).filter(|value| !value.is_empty()) };
        attribute.check().map_err(|why| wrong(&why))?;
        attributes.insert(attribute.name, attribute.value);
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, cluster: &str, attributes: &[(&str, &str)], reserved: u32) {
        let read = read(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((read.cluster.as_str(), read.reserved_memory), (cluster, reserved), "{text}");
        let got: Vec<_> = read.attributes.iter().map(|(n, v)| (n.as_str(), v.as_deref().unwrap_or_default())).collect();
        assert_eq!(got, attributes, "{text}");
    }

    #[test]
    fn user_data_is_read_as_people_write_it() {
        let prod: &[(&str, &str)] = &[("stack", "prod")];
        check("", "default", &[], 0);
        check("#!/bin/bash\necho ECS_CLUSTER=demo >> /etc/ecs/ecs.config\n", "demo", &[], 0);
        check("#!/bin/bash\necho ECS_CLUSTER=demo>>/etc/ecs/ecs.config", "demo", &[], 0);
        check("echo \"ECS_CLUSTER=demo\" >> /etc/ecs/ecs.config", "demo", &[], 0);
        check("echo 'ECS_CLUSTER=demo' >> /etc/ecs/ecs.config; reboot", "demo", &[], 0);
        check("echo ECS_CLUSTER='demo' | tee -a /etc/ecs/ecs.config", "demo", &[], 0);
        check("export ECS_CLUSTER=\"demo\"", "demo", &[], 0);
        check("printf 'ECS_CLUSTER=demo\\nECS_RESERVED_MEMORY=256\\n' > x", "demo", &[], 256);
        check("# ECS_CLUSTER=old\nMY_ECS_CLUSTER=other\nECS_CLUSTER=demo", "demo", &[], 0);
        check("ECS_CLUSTER=one\nECS_CLUSTER=two\n", "two", &[], 0);
        check(
            "cat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=demo\nECS_INSTANCE_ATTRIBUTES={\"stack\": \"prod\"}\n\
             ECS_RESERVED_MEMORY=128\nEOF\n",
            "demo",
            prod,
            128,
        );
        check("echo ECS_INSTANCE_ATTRIBUTES={\\\"stack\\\":\\\"prod\\\"} >> x", "default", prod, 0);
        check("echo \"ECS_INSTANCE_ATTRIBUTES={\\\"stack\\\":\\\"prod\\\"}\" >> x", "default", prod, 0);
        check("echo 'ECS_INSTANCE_ATTRIBUTES={\"stack\":\"prod\"}' >> x", "default", prod, 0);
        check(
            "echo ECS_INSTANCE_ATTRIBUTES='{\"a\":\"b\",\n \"stack\":\"prod\"}' >> x",
            "default",
            &[("a", "b"), ("stack", "prod")],
            0,
        );
        check("#cloud-config\nruncmd:\n  - echo ECS_CLUSTER=demo >> /etc/ecs/ecs.config\n", "demo", &[], 0);
    }

    #[test]
    fn mime_parts_are_opened() {
        let plain = "Content-Type: multipart/mixed; boundary=\"==B\"\nMIME-Version: 1.0\n\n--==B\n\
                     Content-Type: text/x-shellscript\n\n#!/bin/bash\necho ECS_CLUSTER=demo >> /etc/ecs/ecs.config\n--==B--\n";
        check(plain, "demo", &[], 0);
        let packed = STANDARD.encode("#!/bin/bash\necho ECS_CLUSTER=packed >> /etc/ecs/ecs.config\n");
        let encoded = format!(
            "Content-Type: multipart/mixed; boundary=\"==B\"\n\n--==B\nContent-Type: text/x-shellscript\n\
             Content-Transfer-Encoding: base64\n\n{}\n{}\n--==B--\n",
            &packed[..20],
            &packed[20..]
        );
        check(&encoded, "packed", &[], 0);
    }

    #[test]
    fn what_only_a_shell_could_know_is_refused() {
        for text in [
            "echo ECS_CLUSTER=${NAME} >> x",
            "ECS_RESERVED_MEMORY=lots",
            "ECS_INSTANCE_ATTRIBUTES=stack",
            "ECS_INSTANCE_ATTRIBUTES={\"stack\":1}",
            "ECS_INSTANCE_ATTRIBUTES={\"stack\":\"prod\"",
        ] {
            assert_eq!(read(text).unwrap_err().code, "InvalidParameterValue", "{text}");
        }
        assert!(decode(Some("not base64!")).is_err());
        assert_eq!(decode(Some(&STANDARD.encode("ECS_CLUSTER=demo"))).unwrap().cluster.as_str(), "demo");
    }
}
