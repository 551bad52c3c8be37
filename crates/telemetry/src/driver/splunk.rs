//! The options of `splunk`.

use super::{
    OptionError, Options,
    common::{Common, flag, host_port},
    invalid,
    syslog::Tls,
};
use model::{LogDriver, LogMode, vault::Plain};

pub(super) const OPTIONS: &[&str] =
    &[URL, TOKEN, SOURCE, SOURCE_TYPE, INDEX, CA_PATH, CA_NAME, SKIP, FORMAT, VERIFY, GZIP, GZIP_LEVEL, INDEX_ACK];

pub(super) const URL: &str = "splunk-url";
/// What AWS wants to have as an option or a secret one.
pub(super) const TOKEN: &str = "splunk-token";
const SOURCE: &str = "splunk-source";
const SOURCE_TYPE: &str = "splunk-sourcetype";
const INDEX: &str = "splunk-index";
pub(super) const CA_PATH: &str = "splunk-capath";
pub(super) const CA_NAME: &str = "splunk-caname";
const SKIP: &str = "splunk-insecureskipverify";
const FORMAT: &str = "splunk-format";
const VERIFY: &str = "splunk-verify-connection";
const GZIP: &str = "splunk-gzip";
const GZIP_LEVEL: &str = "splunk-gzip-level";
const INDEX_ACK: &str = "splunk-index-acknowledgment";

/// Where the collector is, below a URL that says nothing of it.
const PATH: &str = "/services/collector/event/1.0";

/// What they ask for.
#[derive(Debug, Clone)]
pub struct Splunk {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What stands for both in a request.
    pub authority: String,
    /// The path of the collector.
    pub path: String,
    /// `https`, and how the server is known.
    pub tls: Option<Tls>,
    /// What opens it.
    pub token: Plain,
    /// As given.
    pub source: Option<String>,
    /// As given.
    pub source_type: Option<String>,
    /// As given.
    pub index: Option<String>,
    /// How a line is written.
    pub format: SplunkFormat,
    /// The container does not start if nobody answers there.
    pub verify: bool,
    /// Bodies are compressed, and how much.
    pub gzip: Option<Option<u32>>,
    /// Requests name a channel, as collectors with acknowledgments want it.
    pub channel: bool,
    /// The tag is left out.
    pub untagged: bool,
    /// The rest.
    pub common: Common,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplunkFormat {
    /// As text in an object.
    Inline,
    /// The same, as JSON if it is that.
    Json,
    /// As text.
    Raw,
}

impl Splunk {
    /// Reads them.
    pub fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        let set = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let missing = |option| OptionError::Missing { driver: LogDriver::Splunk, option };
        let url = set(URL).ok_or_else(|| missing(URL))?;
        let token = set(TOKEN).ok_or_else(|| missing(TOKEN))?;
        let expected =
            || OptionError::Invalid(format!("splunk: expected format scheme://dns_name_or_ip:port for {URL}"));
        let (encrypted, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) | None => return Err(expected()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // AWS: newer drivers take a path where older ones refuse it; none takes a query.
        if path.contains(['?', '#']) || !path.chars().all(|c| c.is_ascii_graphic()) {
            return Err(expected());
        }
        let (host, port) = host_port(authority, Some(if encrypted { 443 } else { 80 })).ok_or_else(expected)?;
        let skip_verify = flag(options, SKIP)?;
        let ca = set(CA_PATH).cloned();
        if ca.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return invalid(format!("{CA_PATH} should be the absolute path of a file"));
        }
        let tls = Tls { ca, cert: None, key: None, skip_verify, name: set(CA_NAME).cloned() };
        let format = match set(FORMAT).map(String::as_str) {
            None | Some("inline") => SplunkFormat::Inline,
            Some("json") => SplunkFormat::Json,
            Some("raw") => SplunkFormat::Raw,
            Some(other) => {
                return invalid(format!(
                    "Unknown format specified {other}, supported formats are inline, json and raw"
                ));
            }
        };
        let level = match set(GZIP_LEVEL).map(|text| (text, text.parse::<i32>())) {
            None | Some((_, Ok(-1))) => None,
            Some((_, Ok(level @ 0..=9))) => Some(level.unsigned_abs()),
            Some((text, _)) => {
                return invalid(format!(
                    "not supported level '{text}' for {GZIP_LEVEL} (supported values between -1 and 9)"
                ));
            }
        };
        Ok(Self {
            host,
            port,
            authority: authority.to_owned(),
            path: if path.is_empty() { PATH.to_owned() } else { format!("/{path}") },
            tls: encrypted.then_some(tls),
            token: Plain::from(token.clone()),
            source: set(SOURCE).cloned(),
            source_type: set(SOURCE_TYPE).cloned(),
            index: set(INDEX).cloned(),
            format,
            verify: !options.contains_key(VERIFY) || flag(options, VERIFY)?,
            gzip: flag(options, GZIP)?.then_some(level),
            channel: flag(options, INDEX_ACK)?,
            // Docker: an empty tag takes it out.
            untagged: options.get("tag").is_some_and(String::is_empty),
            common: Common::parse(options, default)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Splunk, String> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::super::check_names(LogDriver::Splunk, &options).map_err(|error| error.to_string())?;
        Splunk::parse(&options, LogMode::NonBlocking).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_dockers() {
        let (url, token) = ((URL, "https://splunk.test:8088"), (TOKEN, "t0p"));
        let read = parse(&[url, token]).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.path.as_str()), ("splunk.test", 8088, PATH));
        assert!(read.verify && read.tls.is_some() && read.gzip.is_none() && read.format == SplunkFormat::Inline);
        assert!(!format!("{read:?}").contains("t0p"), "the token is not shown");
        let read =
            parse(&[(URL, "http://[::1]/x/y"), token, (VERIFY, "false"), (GZIP, "1"), (GZIP_LEVEL, "3")]).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.path.as_str()), ("::1", 80, "/x/y"));
        assert!(!read.verify && read.tls.is_none() && read.gzip == Some(Some(3)));
        let check = |pairs: &[(&str, &str)], want: &str| assert_eq!(parse(pairs).err().as_deref(), Some(want));
        check(&[url], "Log driver splunk requires options: splunk-token");
        check(&[token], "Log driver splunk requires options: splunk-url");
        check(&[url, token, ("splunk-colour", "red")], "Log driver splunk disallows options: splunk-colour");
        let form = "splunk: expected format scheme://dns_name_or_ip:port for splunk-url";
        for bad in ["splunk.test:8088", "ftp://x", "https://", "https://x:y", "https://x:1/a?b"] {
            check(&[(URL, bad), token], form);
        }
        let format = "Unknown format specified xml, supported formats are inline, json and raw";
        check(&[url, token, (FORMAT, "xml")], format);
        let level = "not supported level '10' for splunk-gzip-level (supported values between -1 and 9)";
        check(&[url, token, (GZIP_LEVEL, "10")], level);
    }
}
