//! Profiles of AWS's shared files, `~/.aws/config` and `~/.aws/credentials`.

use super::{
    env,
    files::{self, Keys},
};
use anyhow::{Context, Result, bail};
use configparser::ini::Ini;
use std::path::PathBuf;

/// What a profile says.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) keys: Option<Keys>,
    pub(super) region: Option<String>,
}

/// Ways to come by credentials that other clients of AWS know; here there is nobody to ask.
const ELSEWHERE: [&str; 6] =
    ["role_arn", "source_profile", "credential_process", "web_identity_token_file", "sso_session", "sso_start_url"];

/// The profile of that name; `None` if neither file has it.
pub(super) fn profile(name: &str) -> Result<Option<Profile>> {
    read(name, &file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?, &file("AWS_CONFIG_FILE", "config")?)
}

fn file(variable: &str, name: &str) -> Result<Ini> {
    let home = || Some(PathBuf::from(env("HOME")?).join(".aws").join(name));
    let Some(path) = env(variable).map(PathBuf::from).or_else(home) else { return Ok(Ini::new_cs()) };
    let text = files::text(&path)?.unwrap_or_default();
    files::ini(&text).with_context(|| format!("{} is not as it should be", path.display()))
}

fn read(name: &str, credentials: &Ini, config: &Ini) -> Result<Option<Profile>> {
    let in_config = if name == "default" { name.to_owned() } else { format!("profile {name}") };
    let has = |ini: &Ini, section: &str| ini.sections().iter().any(|s| s == section);
    if !has(credentials, name) && !has(config, &in_config) {
        return Ok(None);
    }
    let get = |key: &str| {
        let value = credentials.get(name, key).or_else(|| config.get(&in_config, key));
        value.filter(|value| !value.is_empty())
    };
    let keys = get("aws_access_key_id").zip(get("aws_secret_access_key")).map(|(id, secret)| Keys {
        aws_access_key_id: id,
        aws_secret_access_key: secret,
        aws_session_token: get("aws_session_token"),
    });
    if keys.is_none()
        && let Some(way) = ELSEWHERE.iter().find(|way| get(way).is_some())
    {
        bail!("The AWS profile {name} gets its credentials by {way}, which is not supported; give it an access key");
    }
    Ok(Some(Profile { keys, region: get("region") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_in_either_file() {
        let credentials = files::ini(
            "[default]\naws_access_key_id = A\naws_secret_access_key = s\n[prod]\naws_access_key_id=P\naws_secret_access_key=t\n",
        );
        let config = files::ini(
            "# mine\n[default]\nregion = eu-west-1\n[profile prod]\nregion=eu-north-1\n[profile only]\nregion=sa-east-1\n\
             [profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = prod\n",
        );
        let (credentials, config) = (credentials.unwrap(), config.unwrap());
        for (name, wanted) in [
            ("default", Some((Some("A"), Some("eu-west-1")))),
            ("prod", Some((Some("P"), Some("eu-north-1")))),
            ("only", Some((None, Some("sa-east-1")))),
            ("none", None),
        ] {
            let found = read(name, &credentials, &config).unwrap();
            let found =
                found.as_ref().map(|p| (p.keys.as_ref().map(|k| k.aws_access_key_id.as_str()), p.region.as_deref()));
            assert_eq!(found, wanted, "{name}");
        }
        assert!(read("role", &credentials, &config).unwrap_err().to_string().contains("role_arn"));
    }
}
