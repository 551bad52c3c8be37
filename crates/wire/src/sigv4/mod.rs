//! Signature version 4.

use http::request::Parts;

/// What a signature is good for.
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
        // An access key may hold a slash; the four parts after it may not.
        let mut parts = credential.rsplitn(5, '/');
        let terminator = parts.next()?;
        let (service, region, date, access_key) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (terminator == "aws4_request").then(|| Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }

    /// The scope a request claims, unverified: good for routing and for error texts, for nothing else.
    pub fn claimed(parts: &Parts) -> Option<Self> {
        let header = parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(header) = header {
            let credential = header.split([' ', ',']).find_map(|part| part.strip_prefix("Credential="))?;
            return Self::parse(credential);
        }
        let query = parts.uri.query()?.as_bytes();
        let credential = form_urlencoded::parse(query).find(|(name, _)| name == "X-Amz-Credential")?.1;
        Self::parse(&credential)
    }
}
