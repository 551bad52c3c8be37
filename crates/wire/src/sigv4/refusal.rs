//! Why a request was not believed, and how each protocol says so.

use crate::error::WireError;
use crate::schema::Protocol;

/// Why a signature was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no signature at all.
    Missing,
    /// The signature is there but not whole; the text says what it lacks.
    Incomplete(String),
    /// Nobody has that access key, or the session token is not one of ours.
    UnknownKey,
    /// The session token was ours and is over.
    ExpiredToken,
    /// It was signed too long ago.
    Expired(String),
    /// It was signed in the future, or its scope is not what it should be.
    NotCurrent(String),
    /// Another key, another request: the signature differs.
    Mismatch,
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";
const UNKNOWN: &str = "The security token included in the request is invalid.";
const EXPIRED_TOKEN: &str = "The security token included in the request is expired";
/// AWS: EC2 tells no details.
const EC2_REFUSES: &str = "AWS was not able to validate the provided access credentials";

impl Refusal {
    /// The error a client of that protocol understands.
    pub fn error(&self, protocol: Protocol) -> WireError {
        let (code, message, status) = match protocol {
            Protocol::AwsJson10 | Protocol::AwsJson11 => self.json(),
            Protocol::AwsQuery => self.query(),
            Protocol::Ec2Query => self.ec2(),
        };
        WireError::new(code, message).with_status(status)
    }

    fn json(&self) -> (&'static str, &str, u16) {
        match self {
            Self::Missing => ("MissingAuthenticationTokenException", "Missing Authentication Token", 400),
            Self::Incomplete(text) => ("IncompleteSignatureException", text, 400),
            Self::UnknownKey => ("UnrecognizedClientException", UNKNOWN, 400),
            Self::ExpiredToken => ("ExpiredTokenException", EXPIRED_TOKEN, 400),
            Self::Expired(text) | Self::NotCurrent(text) => ("InvalidSignatureException", text, 400),
            Self::Mismatch => ("InvalidSignatureException", MISMATCH, 400),
        }
    }

    fn query(&self) -> (&'static str, &str, u16) {
        match self {
            Self::Missing => ("MissingAuthenticationToken", "Request is missing Authentication Token", 403),
            Self::Incomplete(text) => ("IncompleteSignature", text, 400),
            Self::UnknownKey => ("InvalidClientTokenId", UNKNOWN, 403),
            Self::ExpiredToken => ("ExpiredToken", EXPIRED_TOKEN, 403),
            Self::Expired(text) | Self::NotCurrent(text) => ("SignatureDoesNotMatch", text, 403),
            Self::Mismatch => ("SignatureDoesNotMatch", MISMATCH, 403),
        }
    }

    fn ec2(&self) -> (&'static str, &str, u16) {
        match self {
            Self::Incomplete(text) => ("IncompleteSignature", text, 400),
            Self::ExpiredToken | Self::Expired(_) => ("RequestExpired", "Request has expired.", 400),
            Self::Missing | Self::UnknownKey | Self::NotCurrent(_) | Self::Mismatch => {
                ("AuthFailure", EC2_REFUSES, 401)
            }
        }
    }
}
