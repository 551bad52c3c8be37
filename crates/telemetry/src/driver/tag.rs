//! `tag`: text with things of the container in it, `{{.Name}}` for example.
//!
//! Docker evaluates any of Go's templates over what it knows of a container. Here are the fields that make sense of a container
//! of ECS, and labels; whatever else stands between the braces is refused by name.

use std::collections::BTreeMap;

/// What is known of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its runtime id.
    pub id: String,
    /// Its name as the runtime knows it.
    pub name: String,
    /// What it was made of.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// What it runs.
    pub command: String,
    /// The instance's host name.
    pub hostname: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its variables, as far as they may be told.
    pub env: Vec<(String, String)>,
    /// When it was made, RFC 3339.
    pub created: String,
}

impl Identity {
    /// Docker: the first twelve digits of the id; ours has its digits at the end.
    pub fn short_id(&self) -> &str {
        let digits = self.id.rsplit('-').next().unwrap_or(&self.id);
        digits.get(..12).unwrap_or(digits)
    }

    fn short_image_id(&self) -> &str {
        let digits = self.image_id.strip_prefix("sha256:").unwrap_or(&self.image_id);
        digits.get(..12).unwrap_or(digits)
    }
}

/// A tag before it is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
    Label(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    FullId,
    Name,
    ImageId,
    ImageFullId,
    ImageName,
    DaemonName,
    Hostname,
    Command,
}

const FIELDS: &[(&str, Field)] = &[
    (".ID", Field::Id),
    (".FullID", Field::FullId),
    (".ContainerID", Field::FullId),
    (".Name", Field::Name),
    (".ContainerName", Field::Name),
    (".ImageID", Field::ImageId),
    (".ImageFullID", Field::ImageFullId),
    (".ContainerImageID", Field::ImageFullId),
    (".ImageName", Field::ImageName),
    (".ContainerImageName", Field::ImageName),
    (".DaemonName", Field::DaemonName),
    (".Hostname", Field::Hostname),
    (".Command", Field::Command),
];

impl Template {
    /// Docker's own.
    pub const DEFAULT: &'static str = "{{.ID}}";

    /// Reads it.
    ///
    /// # Errors
    /// What cannot be filled in.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inside, after)) = after.split_once("}}") else {
                return Err(format!("template: log-tag: unclosed action in '{text}'"));
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(
                part(inside.trim()).ok_or_else(|| format!("template: log-tag: '{{{{{inside}}}}}' is not honoured"))?,
            );
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Fills it in.
    pub fn fill(&self, of: &Identity) -> String {
        let one = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Label(name) => of.labels.get(name).cloned().unwrap_or_default(),
            Part::Field(field) => match field {
                Field::Id => of.short_id().to_owned(),
                Field::FullId => of.id.clone(),
                Field::Name => of.name.clone(),
                Field::ImageId => of.short_image_id().to_owned(),
                Field::ImageFullId => of.image_id.clone(),
                Field::ImageName => of.image.clone(),
                Field::DaemonName => "longshore".to_owned(),
                Field::Hostname => of.hostname.clone(),
                Field::Command => of.command.clone(),
            },
        };
        self.0.iter().map(one).collect()
    }
}

fn part(inside: &str) -> Option<Part> {
    if let Some(rest) = inside.strip_prefix("index ") {
        let name = rest.trim().strip_prefix(".ContainerLabels")?.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'))?;
        return (!name.contains(['"', '\\'])).then(|| Part::Label(name.to_owned()));
    }
    FIELDS.iter().find(|(name, _)| *name == inside).map(|(_, field)| Part::Field(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_filled_in() {
        let of = Identity {
            id: "ffeeddcc-web-00112233445566778899".into(),
            name: "ffeeddcc-web-00112233445566778899".into(),
            image: "nginx:1.27".into(),
            image_id: "sha256:abcdef0123456789".into(),
            command: "nginx -g".into(),
            hostname: "i-1".into(),
            labels: [("team".to_owned(), "blue".to_owned())].into(),
            ..Identity::default()
        };
        for (text, want) in [
            ("{{.ID}}", "001122334455"),
            ("{{ .Name }}", "ffeeddcc-web-00112233445566778899"),
            ("{{.ImageName}}/{{.ImageID}}", "nginx:1.27/abcdef012345"),
            ("{{.ImageFullID}}", "sha256:abcdef0123456789"),
            ("web", "web"),
            ("a-{{.Hostname}}-{{.DaemonName}}: {{.Command}}", "a-i-1-longshore: nginx -g"),
            ("{{index .ContainerLabels \"team\"}}{{index .ContainerLabels \"none\"}}", "blue"),
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(&of), want, "{text}");
        }
        for bad in ["{{.ID", "{{.Colour}}", "{{if .ID}}x{{end}}", "{{index .ContainerEnv \"X\"}}"] {
            assert!(Template::parse(bad).unwrap_err().starts_with("template: log-tag: "), "{bad}");
        }
    }
}
