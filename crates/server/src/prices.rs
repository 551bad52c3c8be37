//! The price list that reports reckon with: a file of the operator's, read for each report, so that an edit counts at once.

use crate::config::Config;
use std::{fs, io, path::PathBuf};
use telemetry::usage::PriceList;

/// The file in the data directory, where no other was named.
const FILE: &str = "prices.json";

fn path(config: &Config) -> PathBuf {
    config.prices.clone().unwrap_or_else(|| config.data_dir.join(FILE))
}

/// Writes the list with the published prices where there is none, and checks one that is there.
///
/// # Errors
/// It cannot be written or read, or is none.
pub(crate) fn open(config: &Config) -> io::Result<()> {
    let path = path(config);
    if config.prices.is_none() && !path.exists() {
        // Nothing in it is secret, and an operator edits it.
        return fs::write(&path, PriceList::default().render());
    }
    read(config).map(drop)
}

/// Reads it.
///
/// # Errors
/// It cannot be read, or is none. The text names the file and what is wrong in it.
pub(crate) fn read(config: &Config) -> io::Result<PriceList> {
    let path = path(config);
    let wrong = |why: &dyn std::fmt::Display| io::Error::other(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    PriceList::parse(&text).map_err(|error| wrong(&error))
}
