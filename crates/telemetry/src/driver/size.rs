//! Sizes as Docker's options write them: a number, perhaps with a fraction, and a unit.

/// `10m` is 10 × 1,024 × 1,024 bytes (`max-buffer-size`).
pub(super) fn binary(text: &str) -> Option<u64> {
    parse(text, 1_024)
}

/// `10m` is 10,000,000 bytes (`max-size`).
pub(super) fn decimal(text: &str) -> Option<u64> {
    parse(text, 1_000)
}

fn parse(text: &str, step: u64) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let factor = step.pow(power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // Nine digits behind the point are exact to the byte for every unit that fits a disk.
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor) / 1_000_000_000;
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, in_binary, in_decimal) in [
            ("25m", Some(25 << 20), Some(25_000_000)),
            ("1", Some(1), Some(1)),
            ("0", Some(0), Some(0)),
            ("4k", Some(4_096), Some(4_000)),
            ("4KiB", Some(4_096), Some(4_000)),
            ("1.5 gb", Some(3 << 29), Some(1_500_000_000)),
            ("2T", Some(2 << 40), Some(2_000_000_000_000)),
            ("10b", Some(10), Some(10)),
            ("", None, None),
            ("m", None, None),
            ("-1", None, None),
            ("1x", None, None),
            ("1.2.3m", None, None),
            ("1.m", None, None),
            ("1  m", None, None),
            ("99999999999999999999", None, None),
            ("999999999t", None, None),
        ] {
            assert_eq!((binary(text), decimal(text)), (in_binary, in_decimal), "{text}");
        }
    }
}
