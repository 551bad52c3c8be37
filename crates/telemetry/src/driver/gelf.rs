//! The options of `gelf`.

use super::{
    OptionError, Options,
    common::{Address, Common},
    invalid,
};
use model::LogMode;
use std::time::Duration;

pub(super) const OPTIONS: &[&str] = &[ADDRESS, COMPRESSION, LEVEL, RECONNECTS, DELAY];

pub(super) const ADDRESS: &str = "gelf-address";
const COMPRESSION: &str = "gelf-compression-type";
const LEVEL: &str = "gelf-compression-level";
const RECONNECTS: &str = "gelf-tcp-max-reconnect";
const DELAY: &str = "gelf-tcp-reconnect-delay";

/// What they ask for.
#[derive(Debug, Clone)]
pub struct Gelf {
    /// Where to.
    pub address: Address,
    /// How datagrams are compressed.
    pub compression: Compression,
    /// New connections tried for a message before it is dropped.
    pub reconnects: u32,
    /// The wait before each.
    pub delay: Duration,
    /// The rest.
    pub common: Common,
}

/// How something is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// With a header and a checksum of gzip.
    Gzip(Option<u32>),
    /// With those of zlib.
    Zlib(Option<u32>),
    /// Not at all.
    None,
}

impl Gelf {
    /// Reads them.
    pub fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        let set = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let Some(text) = set(ADDRESS) else {
            return invalid("gelf-address is a required parameter".to_owned());
        };
        let address = match (text.split_once("://"), Address::parse(text, None)) {
            (None, _) => return invalid(format!("gelf-address should be in form proto://address, got {text}")),
            (Some(("udp" | "tcp", _)), Some(address)) => address,
            (Some(("udp" | "tcp", _)), None) => {
                return invalid("gelf: please provide gelf-address as proto://host:port".to_owned());
            }
            (Some(_), _) => return invalid("gelf: endpoint needs to be TCP or UDP".to_owned()),
        };
        let udp = matches!(address, Address::Udp { .. });
        if !udp && (options.contains_key(COMPRESSION) || options.contains_key(LEVEL)) {
            return invalid("compression is only supported on UDP".to_owned());
        }
        let unknown = |name: &str, value: &str| {
            Err(OptionError::Invalid(format!("unknown value \"{value}\" for log opt \"{name}\" for gelf log driver")))
        };
        let level = match options.get(LEVEL) {
            None => None,
            Some(text) => match text.parse::<i32>() {
                Ok(-1) => None,
                Ok(level @ 0..=9) => Some(level.unsigned_abs()),
                Ok(_) | Err(_) => return unknown(LEVEL, text),
            },
        };
        let compression = match options.get(COMPRESSION).map(String::as_str) {
            None | Some("gzip") => Compression::Gzip(level),
            Some("zlib") => Compression::Zlib(level),
            Some("none") => Compression::None,
            Some(other) => return unknown(COMPRESSION, other),
        };
        let of_tcp = |name: &str, default: u32| match options.get(name) {
            None => Ok(default),
            Some(_) if udp => invalid(format!("\"{name}\" is only valid for TCP")),
            Some(text) => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => invalid(format!("\"{name}\" must be a positive integer")),
            },
        };
        // Docker's defaults.
        let (reconnects, delay) = (of_tcp(RECONNECTS, 3)?, of_tcp(DELAY, 1)?);
        let delay = Duration::from_secs(u64::from(delay));
        Ok(Self { address, compression, reconnects, delay, common: Common::parse(options, default)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Gelf, String> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::super::check_names(model::LogDriver::Gelf, &options).map_err(|error| error.to_string())?;
        Gelf::parse(&options, LogMode::NonBlocking).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_dockers() {
        let udp = (ADDRESS, "udp://10.0.0.1:12201");
        let tcp = (ADDRESS, "tcp://10.0.0.1:12201");
        assert_eq!(parse(&[udp]).unwrap().compression, Compression::Gzip(None));
        assert_eq!(parse(&[udp, (COMPRESSION, "zlib"), (LEVEL, "9")]).unwrap().compression, Compression::Zlib(Some(9)));
        assert_eq!(parse(&[udp, (COMPRESSION, "none")]).unwrap().compression, Compression::None);
        let read = parse(&[tcp, (RECONNECTS, "5"), (DELAY, "2")]).unwrap();
        assert_eq!((read.reconnects, read.delay), (5, Duration::from_secs(2)));
        let check = |pairs: &[(&str, &str)], want: &str| assert_eq!(parse(pairs).err().as_deref(), Some(want));
        check(&[], "gelf-address is a required parameter");
        check(&[(ADDRESS, "x:1")], "gelf-address should be in form proto://address, got x:1");
        check(&[(ADDRESS, "unix:///x")], "gelf: endpoint needs to be TCP or UDP");
        check(&[(ADDRESS, "udp://x")], "gelf: please provide gelf-address as proto://host:port");
        check(&[udp, (LEVEL, "10")], "unknown value \"10\" for log opt \"gelf-compression-level\" for gelf log driver");
        check(
            &[udp, (COMPRESSION, "lz4")],
            "unknown value \"lz4\" for log opt \"gelf-compression-type\" for gelf log driver",
        );
        check(&[tcp, (LEVEL, "1")], "compression is only supported on UDP");
        check(&[udp, (DELAY, "1")], "\"gelf-tcp-reconnect-delay\" is only valid for TCP");
        check(&[tcp, (DELAY, "-1")], "\"gelf-tcp-reconnect-delay\" must be a positive integer");
        check(&[udp, ("gelf-colour", "red")], "unknown log opt 'gelf-colour' for gelf log driver");
    }
}
