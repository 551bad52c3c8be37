//! Decimals with ten digits behind the point, as Cost Explorer gives them.

use anyhow::{Context, Error, Result};
use std::{fmt, ops::AddAssign, str::FromStr};

/// Digits behind the point.
const DIGITS: usize = 10;
const SCALE: u128 = 10_u128.pow(10);

/// A decimal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(u128);

impl FromStr for Amount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let fraction = fraction.get(..fraction.len().min(DIGITS))?;
            let whole = whole.parse::<u128>().ok()?.checked_mul(SCALE)?;
            whole.checked_add(format!("{fraction:0<DIGITS$}").parse().ok()?).map(Self)
        };
        read().with_context(|| format!("the server's amount '{text}' is no decimal"))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl Amount {
    /// With four digits behind the point, rounded: for people.
    pub(super) fn short(self) -> String {
        let rounded = (self.0 + SCALE / 20_000) / (SCALE / 10_000);
        format!("{}.{:04}", rounded / 10_000, rounded % 10_000)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:0DIGITS$}", self.0 / SCALE, self.0 % SCALE)
    }
}
