//! Registry credentials, and reading them from Docker's `config.json` (ECS_ENGINE_AUTH_DATA of type `dockercfg` or
//! `docker`). Credential helpers are refused: the agent runs no programs to obtain secrets.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use serde::Deserialize;

/// How to prove ourselves to a registry. `Debug` hides secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RegistryAuth {
    /// Not at all.
    Anonymous,
    /// User and password; exchanged for a token where the registry asks for one.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// An OAuth2 refresh token (`identitytoken` of `docker login`).
    IdentityToken(String),
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}

/// Why a docker configuration gives no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthConfigError {
    /// Not the JSON we know.
    #[error("docker config is not valid: {0}")]
    Invalid(String),
    /// `credsStore` or `credHelpers` would have to be run.
    #[error("docker config names the credential helper {helper:?} for {registry}; helpers are not supported")]
    Helper {
        /// The registry asked for.
        registry: String,
        /// The helper's name.
        helper: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl RegistryAuth {
    /// Credentials for `registry` (host[:port], as [`crate::image::registry_of`] gives it) from the text of a docker
    /// `config.json`, or from the bare `auths` map of an old `.dockercfg`. Anonymous if it says nothing about it.
    ///
    /// # Errors
    /// If the text is not valid, or only a credential helper knows.
    pub fn from_docker_config(json: &str, registry: &str) -> Result<Self, AuthConfigError> {
        let invalid = |e: serde_json::Error| AuthConfigError::Invalid(e.to_string());
        let value: serde_json::Value = serde_json::from_str(json).map_err(invalid)?;
        let modern = ["auths", "credHelpers", "credsStore"].iter().any(|key| value.get(key).is_some());
        let config: DockerConfig = if modern {
            serde_json::from_value(value).map_err(invalid)?
        } else {
            DockerConfig { auths: serde_json::from_value(value).map_err(invalid)?, ..DockerConfig::default() }
        };
        let wanted = host_of(registry);
        if let Some((_, helper)) = config.cred_helpers.iter().find(|(key, _)| host_of(key) == wanted) {
            return Err(AuthConfigError::Helper { registry: registry.to_owned(), helper: helper.clone() });
        }
        match config.auths.iter().find(|(key, _)| host_of(key) == wanted) {
            // A credential store leaves an empty entry behind for what it keeps.
            Some((_, entry)) => match (entry.read()?, config.creds_store) {
                (Self::Anonymous, Some(helper)) => {
                    Err(AuthConfigError::Helper { registry: registry.to_owned(), helper })
                }
                (auth, _) => Ok(auth),
            },
            None => Ok(Self::Anonymous),
        }
    }
}

impl Entry {
    fn read(&self) -> Result<RegistryAuth, AuthConfigError> {
        if let Some(token) = self.identitytoken.as_ref().filter(|t| !t.is_empty()) {
            return Ok(RegistryAuth::IdentityToken(token.clone()));
        }
        if let Some(auth) = self.auth.as_ref().filter(|a| !a.is_empty()) {
            let bad = || AuthConfigError::Invalid("an `auth` is not base64 of user:password".into());
            let bytes = base64::engine::general_purpose::STANDARD.decode(auth.trim()).map_err(|_| bad())?;
            let text = String::from_utf8(bytes).map_err(|_| bad())?;
            let (username, password) = text.trim_end_matches('\0').split_once(':').ok_or_else(bad)?;
            return Ok(RegistryAuth::Basic { username: username.into(), password: password.into() });
        }
        Ok(match (&self.username, &self.password) {
            (Some(username), Some(password)) => {
                RegistryAuth::Basic { username: username.clone(), password: password.clone() }
            }
            (Some(_) | None, None) | (None, Some(_)) => RegistryAuth::Anonymous,
        })
    }
}

/// Docker writes keys as hosts or as URLs, and its own registry under three names.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = rest.split('/').next().unwrap_or(rest);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> RegistryAuth {
        RegistryAuth::Basic { username: username.into(), password: password.into() }
    }

    #[test]
    fn docker_configs_of_all_ages_are_read() {
        let modern = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dTpwOncA"},
            "r.example:5000":{"username":"a","password":"b"},
            "t.example":{"auth":"PHRva2VuPjo=","identitytoken":"refresh"}}}"#;
        let rows = [
            (modern, "docker.io", basic("u", "p:w")),
            (modern, "r.example:5000", basic("a", "b")),
            (modern, "t.example", RegistryAuth::IdentityToken("refresh".into())),
            (modern, "r.example", RegistryAuth::Anonymous),
            (r#"{"old.example":{"auth":"dTpw","email":"x@y"}}"#, "old.example", basic("u", "p")),
            (r#"{"auths":{}}"#, "docker.io", RegistryAuth::Anonymous),
        ];
        for (json, registry, want) in rows {
            assert_eq!(RegistryAuth::from_docker_config(json, registry), Ok(want), "{registry}");
        }
    }

    #[test]
    fn helpers_and_nonsense_are_refused() {
        let helper = r#"{"credHelpers":{"e.example":"ecr-login"},"auths":{}}"#;
        let store = r#"{"credsStore":"desktop","auths":{"e.example":{}}}"#;
        for json in [helper, store] {
            let got = RegistryAuth::from_docker_config(json, "e.example");
            assert!(matches!(got, Err(AuthConfigError::Helper { .. })), "{got:?}");
        }
        for json in ["", "[]", r#"{"auths":{"e.example":{"auth":"!!"}}}"#] {
            let got = RegistryAuth::from_docker_config(json, "e.example");
            assert!(matches!(got, Err(AuthConfigError::Invalid(_))), "{got:?}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert!(!format!("{:?}", basic("u", "hunter2")).contains("hunter2"));
        assert!(!format!("{:?}", RegistryAuth::IdentityToken("hunter2".into())).contains("hunter2"));
    }
}
