//! The options of `journald`.

use super::{OptionError, Options, common::Common};
use model::LogMode;

pub(super) const OPTIONS: &[&str] = &[];

/// What they ask for.
#[derive(Debug, Clone)]
pub struct Journald {
    /// All there is.
    pub common: Common,
}

impl Journald {
    /// Reads them.
    pub fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        Ok(Self { common: Common::parse(options, default)? })
    }
}
