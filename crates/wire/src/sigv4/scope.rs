//! What a signature is good for: one key, one day, one region, one service.

use std::fmt;

use http::header::AUTHORIZATION;
use http::request::Parts;

/// The scope of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Whose key signed.
    pub access_key: String,
    /// The day, `20261117`.
    pub date: String,
    /// The region.
    pub region: String,
    /// The service's signing name.
    pub service: String,
}

impl Scope {
    /// Reads `AKID/20261117/us-east-1/ecs/aws4_request`.
    pub fn parse(credential: &str) -> Option<Self> {
        let mut parts = credential.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (access_key, date, region, service) = (next()?, next()?, next()?, next()?);
        let whole = next().as_deref() == Some("aws4_request") && parts.next().is_none();
        whole.then_some(Self { access_key, date, region, service })
    }

    /// The scope a request claims, unverified: good for routing and for error texts, for nothing else.
    pub fn claimed(parts: &Parts) -> Option<Self> {
        if let Some(header) = parts.headers.get(AUTHORIZATION) {
            let credential = header.to_str().ok()?.split([' ', ',']).find_map(|part| part.strip_prefix("Credential="));
            return Self::parse(credential?);
        }
        let query = parts.uri.query()?.as_bytes();
        let credential = form_urlencoded::parse(query).find(|(name, _)| name == "X-Amz-Credential")?.1;
        Self::parse(&credential)
    }
}

/// The part of the scope that is signed: without the access key.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}
