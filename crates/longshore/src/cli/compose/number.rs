//! What number a YAML scalar is to the original, and which text that number has.
//!
//! AWS: the original reads YAML with go-yaml 2.3 and makes texts of its numbers as Go does. So 0777 is octal and becomes 511, 1e3
//! becomes 1000 and 1.0 becomes 1. In one thing we do not follow it: of 012345678901, which is no octal number, it makes
//! 1.2345678901e+10. A number that is written without an exponent and would get one stays as it is written.

/// What a scalar without quotes is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Fraction(f64),
    /// No number, or one of which only the text as written is known for sure.
    None,
}

/// Reads a scalar that is written without quotes.
pub(super) fn number(written: &str) -> Number {
    let plain = written.replace('_', "");
    let (sign, unsigned) = match plain.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if let Some(size) = whole(unsigned) {
        let number = sign * i128::from(size);
        return if number < i128::from(i64::MIN) { Number::None } else { Number::Whole(number) };
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) || !is_fraction(unsigned) {
        return Number::None;
    }
    let same =
        |number: &f64| number.is_finite() && (unsigned.contains(['e', 'E']) || !fraction_text(*number).contains('e'));
    plain.parse().ok().filter(same).map_or(Number::None, Number::Fraction)
}

/// A whole number in Go's notations: decimal, 0x, 0b, 0o, and octal with a mere 0 before it.
fn whole(unsigned: &str) -> Option<u64> {
    let lower = unsigned.to_ascii_lowercase();
    let of = |prefix: &str, radix| lower.strip_prefix(prefix).map(|digits| (digits.to_owned(), radix));
    let prefixed = of("0x", 16).or_else(|| of("0b", 2)).or_else(|| of("0o", 8));
    let octal = || lower.strip_prefix('0').filter(|rest| !rest.is_empty()).map(|rest| (rest.to_owned(), 8));
    let (digits, radix) = prefixed.or_else(octal).unwrap_or((lower.clone(), 10));
    // Rust takes a sign here, which would be a second one.
    digits.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| u64::from_str_radix(&digits, radix).ok())?
}

/// Digits with a point, an exponent or both.
fn is_fraction(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let any = !before.is_empty() || !behind.is_empty();
    any && digits(before) && digits(behind) && !exponent.is_empty() && digits(exponent)
}

/// The text that Go prints for a number: the fewest digits that mean it, with an exponent when that is below -4 or above 5.
pub(super) fn fraction_text(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_text_that_the_original_gives_them() {
        for (written, text) in [
            ("0", "0"),
            ("12", "12"),
            ("-7", "-7"),
            ("+7", "7"),
            ("0777", "511"),
            ("-010", "-8"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("1_000", "1000"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1.0", "1"),
            ("1.10", "1.1"),
            ("1.", "1"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("0.0001", "0.0001"),
            ("1e6", "1e+06"),
            ("15e-6", "1.5e-05"),
            ("007.5", "7.5"),
        ] {
            let got = match number(written) {
                Number::Whole(number) => number.to_string(),
                Number::Fraction(number) => fraction_text(number),
                Number::None => "none".to_owned(),
            };
            assert_eq!(got, text, "{written}");
        }
    }

    #[test]
    fn what_is_no_number_for_sure_is_none() {
        for written in [
            "08",
            "012345678901",
            "18446744073709551616",
            "-9223372036854775809",
            "1e999",
            "1234567.5",
            "0.00001",
            ".inf",
            ".nan",
            "--1",
            "0x-1",
            "0x",
            "1e",
            ".",
            "",
            "1.2.3",
            "0b2",
            "1:30",
        ] {
            assert_eq!(number(written), Number::None, "{written}");
        }
    }
}
