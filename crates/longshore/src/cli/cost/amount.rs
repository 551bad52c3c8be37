//! Decimals with ten digits behind the point, as Cost Explorer gives them.

use anyhow::{Context, Error, Result};
use std::{
    fmt,
    ops::{Add, AddAssign},
    str::FromStr,
};

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

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Amount {
    /// How much more it is than the other, if it is.
    pub(super) fn above(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).filter(|more| *more > 0).map(Self)
    }

    /// How many hundredths of the other it is, rounded.
    pub(super) fn percent_of(self, other: Self) -> u128 {
        (self.0.saturating_mul(100) + other.0 / 2).checked_div(other.0).unwrap_or(0)
    }

    /// Without what is behind the point, rounded.
    pub(super) fn whole(self) -> u128 {
        (self.0 + SCALE / 2) / SCALE
    }

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
