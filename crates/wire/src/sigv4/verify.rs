//! Verifying a signature, in two steps with the caller's look-up of the secret between them: what does the request
//! present, and is it true.

use std::fmt;

use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use subtle::ConstantTimeEq;

use super::canonical::string_to_sign;
use super::key::sha256_hex;
use super::{ALGORITHM, MAX_SKEW_SECONDS, Refusal, Scope, SigningKey, UNSIGNED_PAYLOAD};
use crate::scalar::Timestamp;

/// AWS: seven days, the longest a presigned link may live.
const MAX_EXPIRES_SECONDS: i64 = 7 * 24 * 3600;
/// AWS: what a presigned link lives when it does not say.
const DEFAULT_EXPIRES_SECONDS: i64 = 15 * 60;

/// What a request says about itself; not believed until [`Presented::verify`] has said so.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// Whose signature, and for what.
    pub scope: Scope,
    /// The session token, for keys that are temporary. The caller knows which tokens are good.
    pub session_token: Option<String>,
    signed_headers: Vec<String>,
    signature: String,
    time: String,
    signed_at: Timestamp,
    /// Seconds a presigned link lives; `None` for a signature in the header.
    expires: Option<i64>,
}

/// Says whose, never the token.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Presented {
    /// Reads the signature of a request, from its header or its query string.
    ///
    /// # Errors
    /// [`Refusal::Missing`] and [`Refusal::Incomplete`].
    pub fn parse(parts: &Parts) -> Result<Self, Refusal> {
        let query: Vec<(String, String)> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let presigned = query.iter().any(|(name, _)| name == "X-Amz-Signature" || name == "X-Amz-Credential");
        if parts.headers.contains_key(AUTHORIZATION) {
            Self::from_header(parts)
        } else if presigned {
            Self::from_query(&query)
        } else {
            Err(Refusal::Missing)
        }
    }

    fn from_header(parts: &Parts) -> Result<Self, Refusal> {
        let header = header(parts, AUTHORIZATION.as_str()).unwrap_or_default();
        let (algorithm, fields) = header.trim().split_once(' ').unwrap_or((header, ""));
        check_algorithm(algorithm)?;
        let field = |name: &str| {
            let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            found.filter(|value| !value.is_empty())
        };
        let (credential, signed, signature) = (field("Credential"), field("SignedHeaders"), field("Signature"));
        // AWS: with `X-Amz-Date` absent the `Date` header counts, rewritten as the signer must have written it.
        let time = self::header(parts, "x-amz-date").map(str::to_owned).or_else(|| http_date(parts));
        let mut lacks: Vec<String> = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed)]
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
            .collect();
        if time.is_none() {
            let date = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
            lacks.push(date.to_owned());
        }
        let (Some(credential), Some(signed), Some(signature), Some(time)) = (credential, signed, signature, time)
        else {
            return Err(Refusal::Incomplete(lacks.join(" ")));
        };
        let token = self::header(parts, "x-amz-security-token").map(str::to_owned);
        Self::assemble(credential, signed, signature, time, token, None)
    }

    fn from_query(query: &[(String, String)]) -> Result<Self, Refusal> {
        let field = |wanted: &str| {
            let found = query.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let need = |name: &str| {
            let lacking = || Refusal::Incomplete(format!("AWS query-string parameters must include '{name}'."));
            field(name).ok_or_else(lacking)
        };
        check_algorithm(need("X-Amz-Algorithm")?)?;
        let expires = match field("X-Amz-Expires").map(str::parse::<i64>) {
            None => DEFAULT_EXPIRES_SECONDS,
            Some(Ok(seconds)) if (1..=MAX_EXPIRES_SECONDS).contains(&seconds) => seconds,
            Some(_) => {
                let text = format!("X-Amz-Expires must be between 1 and {MAX_EXPIRES_SECONDS} seconds.");
                return Err(Refusal::Incomplete(text));
            }
        };
        Self::assemble(
            need("X-Amz-Credential")?,
            need("X-Amz-SignedHeaders")?,
            need("X-Amz-Signature")?,
            need("X-Amz-Date")?.to_owned(),
            field("X-Amz-Security-Token").map(str::to_owned),
            Some(expires),
        )
    }

    fn assemble(
        credential: &str,
        signed_headers: &str,
        signature: &str,
        time: String,
        session_token: Option<String>,
        expires: Option<i64>,
    ) -> Result<Self, Refusal> {
        let scope = Scope::parse(credential).ok_or_else(|| {
            let form = "keyid/date/region/service/term";
            Refusal::Incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. {form}, got '{credential}'"
            ))
        })?;
        let signed_at = read_time(&time)
            .ok_or_else(|| Refusal::Incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{time}'.")))?;
        Ok(Self {
            scope,
            session_token,
            signed_headers: signed_headers.split(';').map(str::to_ascii_lowercase).collect(),
            signature: signature.to_owned(),
            time,
            signed_at,
            expires,
        })
    }

    /// Whether the request is what the holder of the key signed, for this service, now. The caller checks the session
    /// token, which only it can.
    ///
    /// # Errors
    /// Any [`Refusal`] but those of [`Presented::parse`].
    pub fn verify(
        &self,
        parts: &Parts,
        body: &[u8],
        key: &SigningKey,
        service: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_signed(parts)?;
        self.check_scope(service)?;
        self.check_time(now)?;
        let payload_hash = self.payload_hash(parts, body)?;
        let text = string_to_sign(parts, &self.scope, &self.time, &self.signed_headers, &payload_hash);
        let mut presented = [0; 32];
        let well_formed = hex::decode_to_slice(&self.signature, &mut presented).is_ok();
        let equal: bool = key.sign(text.as_bytes()).ct_eq(&presented).into();
        if equal && well_formed { Ok(()) } else { Err(Refusal::Mismatch) }
    }

    /// The host, and the operation where a header names it, must be under the signature: or a request signed for one
    /// could be replayed as another.
    fn check_signed(&self, parts: &Parts) -> Result<(), Refusal> {
        let signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        if !signed("host") {
            let text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
            return Err(Refusal::Incomplete(text.to_owned()));
        }
        if parts.headers.contains_key("x-amz-target") && !signed("x-amz-target") {
            let text = "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.";
            return Err(Refusal::Incomplete(text.to_owned()));
        }
        Ok(())
    }

    fn check_scope(&self, service: &str) -> Result<(), Refusal> {
        let day = self.time.get(..8).unwrap_or_default();
        if self.scope.date != day {
            return Err(Refusal::NotCurrent(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{day}', from '{}'.",
                self.scope.date, self.time
            )));
        }
        if self.scope.service != service {
            return Err(Refusal::NotCurrent(format!("Credential should be scoped to correct service: '{service}'. ")));
        }
        Ok(())
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        let minutes = MAX_SKEW_SECONDS / 60;
        let shifted = |seconds: i64| Timestamp::from_millis(now.as_millis() + seconds * 1000);
        let lives = self.expires.unwrap_or(MAX_SKEW_SECONDS);
        let (earliest, latest) = (shifted(-lives), shifted(MAX_SKEW_SECONDS));
        if self.signed_at < earliest {
            return Err(Refusal::Expired(format!(
                "Signature expired: {} is now earlier than {} ({} - {} min.)",
                self.time,
                write_time(earliest),
                write_time(now),
                lives / 60
            )));
        }
        if self.signed_at > latest {
            return Err(Refusal::NotCurrent(format!(
                "Signature not yet current: {} is still later than {} ({} + {minutes} min.)",
                self.time,
                write_time(latest),
                write_time(now)
            )));
        }
        Ok(())
    }

    /// The hash the client signed. One that a header states must be the body's; `UNSIGNED-PAYLOAD` is what it says, and
    /// cannot be put in later, as it stands in the signed text itself.
    fn payload_hash(&self, parts: &Parts, body: &[u8]) -> Result<String, Refusal> {
        let computed = sha256_hex(body);
        match header(parts, "x-amz-content-sha256") {
            Some(UNSIGNED_PAYLOAD) => Ok(UNSIGNED_PAYLOAD.to_owned()),
            Some(stated) if stated.eq_ignore_ascii_case(&computed) => Ok(stated.to_owned()),
            Some(_) => Err(Refusal::Mismatch),
            None if self.expires.is_some() && self.scope.service == "s3" => Ok(UNSIGNED_PAYLOAD.to_owned()),
            None => Ok(computed),
        }
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), Refusal> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    Err(Refusal::Incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")))
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

fn http_date(parts: &Parts) -> Option<String> {
    let text = header(parts, DATE.as_str())?;
    if read_time(text).is_some() {
        return Some(text.to_owned());
    }
    Timestamp::parse(text).map(write_time)
}

/// `20261117T191000Z`.
pub(super) fn write_time(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn read_time(text: &str) -> Option<Timestamp> {
    let shaped = text.len() == 16 && text.is_ascii() && text.as_bytes()[8] == b'T';
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok().filter(|_| shaped)?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}
