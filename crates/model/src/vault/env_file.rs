//! Environment files: where they are and what their lines mean.

use std::collections::BTreeMap;

/// Files of one container. Source: `EnvironmentFile`.
pub const MAX_FILES: usize = 10;

/// A file in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key. None of its parts leads elsewhere.
    pub key: String,
}

/// An ARN that names no file that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{arn}' {what}")]
pub struct InvalidPlace {
    arn: String,
    what: &'static str,
}

impl Place {
    /// Reads `arn:aws:s3:::BUCKET/KEY.env`.
    pub fn parse(arn: &str) -> Result<Self, InvalidPlace> {
        let place = Self::object(arn)?;
        // AWS: "The file must have a .env file extension."
        if !place.key.ends_with(".env") {
            return Err(InvalidPlace { arn: arn.to_owned(), what: "does not end in .env" });
        }
        Ok(place)
    }

    /// Reads `arn:aws:s3:::BUCKET/KEY`.
    pub fn object(arn: &str) -> Result<Self, InvalidPlace> {
        let invalid = |what| InvalidPlace { arn: arn.to_owned(), what };
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", _, "s3", _, _, resource] = parts[..] else { return Err(invalid("is no ARN of an object in S3")) };
        let (bucket, key) = resource.split_once('/').ok_or_else(|| invalid("names no object"))?;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        if bucket.is_empty() || bucket.starts_with('.') || !bucket.chars().all(is_name) {
            return Err(invalid("names no bucket"));
        }
        if key.contains(['\0', '\\']) || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid("has a path that leads elsewhere"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

/// The variables of a file: of two with one name the last. AWS: lines that begin with `#`, that have no `=`, or nothing on one
/// side of it are left out, and nothing is trimmed or unquoted (ecs-agent `envFiles`).
pub fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let pairs = pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What files add to a container's own environment. AWS: the own one wins, and among files the first.
pub fn added(
    own: &[(String, String)],
    files: impl IntoIterator<Item = BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for file in files {
        for (name, value) in file {
            if !own.iter().any(|(known, _)| *known == name) {
                all.entry(name).or_insert(value);
            }
        }
    }
    all
}
