//! Amounts of money and of use, without a fraction anywhere.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
    str::FromStr,
};

/// Digits behind the point of a price.
const PRICE_DIGITS: usize = 12;
/// Digits behind the point of an amount that is shown. AWS: as many.
const SHOWN_DIGITS: usize = 10;
/// Atoms in a picodollar: a price is for an hour of a whole unit, and what is charged is a second of a 1,024th.
const ATOMS: u128 = 3_600 * 1_024;

/// A price in picodollars (10^-12 US dollars) an hour of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Price(pub u64);

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no price; write US dollars an hour, such as \"0.04048\"");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        if fraction.len() > PRICE_DIGITS {
            return Err(format!("'{text}' has more than {PRICE_DIGITS} digits behind the point"));
        }
        let pico: u64 = format!("{fraction:0<PRICE_DIGITS$}").parse().map_err(|_| wrong())?;
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let all = whole.checked_mul(10_u64.pow(12)).and_then(|whole| whole.checked_add(pico));
        all.map(Self).ok_or_else(|| format!("'{text}' is too much for a price"))
    }
}

impl Price {
    /// What a quantity costs: seconds of 1,024ths of the unit.
    pub fn of(self, quantity: u128) -> Atoms {
        Atoms(u128::from(self.0) * quantity)
    }
}

/// An amount of money, in the smallest part that anything costs: 1/3,686,400 of a picodollar. A million vCPUs for a thousand
/// years are 10^33 of them, and there is room for 10^38.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Atoms(pub u128);

impl Add for Atoms {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Atoms {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Atoms {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// US dollars with ten digits behind the point, rounded.
impl fmt::Display for Atoms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal(self.0, ATOMS * 100))
    }
}

/// A quantity (seconds of 1,024ths of a unit) in hours of the unit, with ten digits behind the point, rounded.
pub fn quantity_text(quantity: u128) -> String {
    let scale = 10_u128.pow(10);
    let (whole, rest) = (quantity / ATOMS, quantity % ATOMS);
    decimal(whole * scale + (rest * scale + ATOMS / 2) / ATOMS, 1)
}

/// `amount / divisor` as a count of 10^-10, with its point.
fn decimal(amount: u128, divisor: u128) -> String {
    // Never overflows: the rest is smaller than the divisor.
    let rounded = amount / divisor + u128::from(amount % divisor >= divisor.div_ceil(2));
    let scale = 10_u128.pow(10);
    format!("{}.{:0SHOWN_DIGITS$}", rounded / scale, rounded % scale)
}
