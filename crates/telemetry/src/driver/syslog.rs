//! The options of `syslog`.

use super::{
    OptionError, Options,
    common::{Address, Common},
    invalid,
};
use model::LogMode;

pub(super) const OPTIONS: &[&str] = &[ADDRESS, FACILITY, FORMAT, CA, CERT, KEY, SKIP];

pub(super) const ADDRESS: &str = "syslog-address";
const FACILITY: &str = "syslog-facility";
const FORMAT: &str = "syslog-format";
pub(super) const CA: &str = "syslog-tls-ca-cert";
pub(super) const CERT: &str = "syslog-tls-cert";
pub(super) const KEY: &str = "syslog-tls-key";
const SKIP: &str = "syslog-tls-skip-verify";

/// By number.
const FACILITIES: &[&str] =
    &["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];

/// What they ask for.
#[derive(Debug, Clone)]
pub struct Syslog {
    /// Where to; without it, the instance's own.
    pub address: Option<Address>,
    /// The number of the facility.
    pub facility: u8,
    /// How a line is written.
    pub format: SyslogFormat,
    /// How an encrypted server is known.
    pub tls: Tls,
    /// The rest.
    pub common: Common,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyslogFormat {
    /// `<30>Jan  2 15:04:05 TAG[1]: text`
    Local,
    /// The same with the host's name.
    Rfc3164,
    /// The newer one; with microseconds if true.
    Rfc5424 {
        /// Microseconds.
        micro: bool,
    },
}

/// Files and names that say whom a client trusts and who it is. Paths are the instance's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities in PEM; without it, the system's.
    pub ca: Option<String>,
    /// The client's certificate.
    pub cert: Option<String>,
    /// The client's key.
    pub key: Option<String>,
    /// The server is believed whatever it shows.
    pub skip_verify: bool,
    /// The server's name, if another than it is dialled by.
    pub name: Option<String>,
}

impl Syslog {
    /// Reads them.
    pub fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        let set = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let address = match set(ADDRESS) {
            None => None,
            Some(text) => match Address::parse(text, Some(514)) {
                Some(address) => Some(address),
                None => {
                    return invalid(format!("syslog-address should be in form proto://address, got {text}"));
                }
            },
        };
        let Some(facility) = set(FACILITY).map_or(Some(3), |text| facility(text)) else {
            return invalid("invalid syslog facility".to_owned());
        };
        let format = match set(FORMAT).map(String::as_str) {
            None => SyslogFormat::Local,
            Some("rfc3164") => SyslogFormat::Rfc3164,
            Some("rfc5424") => SyslogFormat::Rfc5424 { micro: false },
            Some("rfc5424micro") => SyslogFormat::Rfc5424 { micro: true },
            Some(_) => return invalid("Invalid syslog format".to_owned()),
        };
        let path = |name: &str| match set(name) {
            Some(path) if !path.starts_with('/') => {
                invalid(format!("{name} should be the absolute path of a file, got {path}"))
            }
            path => Ok(path.cloned()),
        };
        let tls = Tls {
            ca: path(CA)?,
            cert: path(CERT)?,
            key: path(KEY)?,
            // Docker: whatever its value is.
            skip_verify: options.contains_key(SKIP),
            name: None,
        };
        if tls.cert.is_some() != tls.key.is_some() {
            return invalid(format!("{CERT} and {KEY} go together"));
        }
        Ok(Self { address, facility, format, tls, common: Common::parse(options, default)? })
    }
}

fn facility(text: &str) -> Option<u8> {
    let named = FACILITIES.iter().position(|name| *name == text).and_then(|at| u8::try_from(at).ok());
    let local = || text.strip_prefix("local")?.parse::<u8>().ok().filter(|n| *n < 8).map(|n| 16 + n);
    named.or_else(local).or_else(|| text.parse().ok().filter(|n| *n < 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Syslog, String> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::super::check_names(model::LogDriver::Syslog, &options).map_err(|error| error.to_string())?;
        Syslog::parse(&options, LogMode::NonBlocking).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_given_is_as_dockers() {
        let plain = parse(&[]).unwrap();
        assert_eq!((plain.address, plain.facility, plain.format), (None, 3, SyslogFormat::Local));
        for (text, want) in [("kern", 0), ("ftp", 11), ("local0", 16), ("local7", 23), ("23", 23), ("16", 16)] {
            assert_eq!(parse(&[(FACILITY, text)]).unwrap().facility, want, "{text}");
        }
        assert!(parse(&[(SKIP, "")]).unwrap().tls.skip_verify);
    }

    #[test]
    fn refusals_are_dockers() {
        let check = |pairs: &[(&str, &str)], want: &str| assert_eq!(parse(pairs).err().as_deref(), Some(want));
        check(&[("syslog-colour", "red")], "unknown log opt 'syslog-colour' for syslog log driver");
        check(&[(ADDRESS, "10.0.0.1:514")], "syslog-address should be in form proto://address, got 10.0.0.1:514");
        check(&[(FACILITY, "local8")], "invalid syslog facility");
        check(&[(FACILITY, "24")], "invalid syslog facility");
        check(&[(FORMAT, "rfc1")], "Invalid syslog format");
        check(&[(CERT, "/c.pem")], "syslog-tls-cert and syslog-tls-key go together");
        check(&[(CA, "ca.pem")], "syslog-tls-ca-cert should be the absolute path of a file, got ca.pem");
        check(&[("cache-disabled", "true")], "cache-disabled");
    }
}
