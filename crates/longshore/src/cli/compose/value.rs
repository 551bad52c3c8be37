//! Small readings of YAML values that compose files write in more than one way.

use super::number::fraction_text;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// A scalar as text; compose files write numbers and booleans where text is meant.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) if n.is_f64() => n.as_f64().map(fraction_text),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A scalar as text, or that it is none.
pub(super) fn scalar(what: &str, value: &Value) -> Result<String> {
    text(value).with_context(|| format!("{what} must be a text or a number"))
}

/// Yes or no; a variable that was filled in left a text. AWS: the words of YAML 1.1 count too.
pub(super) fn boolean(what: &str, value: &Value) -> Result<bool> {
    match text(value).unwrap_or_default().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => bail!("{what} must be true or false"),
    }
}

/// A whole number.
pub(super) fn integer(what: &str, value: &Value) -> Result<i32> {
    text(value).and_then(|t| t.trim().parse().ok()).with_context(|| format!("{what} must be a whole number"))
}

/// A list of texts; a single text is a list of one.
pub(super) fn texts(what: &str, value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Array(items) => {
            items.iter().map(|i| text(i).ok_or_else(|| anyhow!("{what} must contain texts"))).collect()
        }
        other => Ok(vec![text(other).ok_or_else(|| anyhow!("{what} must be a text or a list of texts"))?]),
    }
}

/// A command: a list, or a line that is split as a shell would.
pub(super) fn words(what: &str, value: &Value) -> Result<Vec<String>> {
    match value {
        Value::String(line) => {
            model::words::split(line).with_context(|| format!("{what}: unbalanced quotes in '{line}'"))
        }
        other => texts(what, other),
    }
}

/// A mapping or a list of `key=value`, in order. A key without a value has `None`.
pub(super) fn pairs(what: &str, value: &Value) -> Result<Vec<(String, Option<String>)>> {
    match value {
        Value::Object(map) => {
            let pair = |(k, v): (&String, &Value)| match v {
                Value::Null => Ok((k.clone(), None)),
                v => Ok((k.clone(), Some(scalar(k, v)?))),
            };
            map.iter().map(pair).collect()
        }
        Value::Array(_) => Ok(texts(what, value)?
            .into_iter()
            .map(|item| match item.split_once('=') {
                Some((k, v)) => (k.to_owned(), Some(v.to_owned())),
                None => (item, None),
            })
            .collect()),
        _ => bail!("{what} must be a mapping or a list"),
    }
}

/// Bytes: a number, or one with b, k, m or g behind it.
pub(super) fn bytes(what: &str, value: &Value) -> Result<u64> {
    let given = text(value).ok_or_else(|| anyhow!("{what} must be a size"))?;
    let lower = given.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => bail!("{what}: '{given}' is not a size"),
    };
    let number: f64 = digits.trim().parse().map_err(|_| anyhow!("{what}: '{given}' is not a size"))?;
    Ok((number * factor as f64) as u64)
}

/// The same in whole mebibytes.
pub(super) fn mebibytes(what: &str, value: &Value) -> Result<i32> {
    i32::try_from(bytes(what, value)? >> 20).map_err(|_| anyhow!("{what} is too large"))
}

/// Seconds: a number, or durations like `1m30s`.
pub(super) fn seconds(what: &str, value: &Value) -> Result<i32> {
    let given = text(value).ok_or_else(|| anyhow!("{what} must be a duration"))?;
    if let Ok(number) = given.parse() {
        return Ok(number);
    }
    let (mut total, mut digits) = (0f64, String::new());
    let mut chars = given.chars().peekable();
    while let Some(c) = chars.next() {
        let unit = match c {
            c if c.is_ascii_digit() || c == '.' => {
                digits.push(c);
                continue;
            }
            'h' => 3600.0,
            'm' if chars.peek() == Some(&'s') => {
                chars.next();
                0.001
            }
            'm' => 60.0,
            's' => 1.0,
            _ => bail!("{what}: '{given}' is not a duration"),
        };
        let number: f64 = digits.parse().map_err(|_| anyhow!("{what}: '{given}' is not a duration"))?;
        total += number * unit;
        digits.clear();
    }
    if digits.is_empty() { Ok(total as i32) } else { bail!("{what}: '{given}' is not a duration") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_and_durations_have_units() {
        for (given, mib) in [(json!("100m"), 100), (json!("1g"), 1024), (json!(134_217_728), 128), (json!("0.5G"), 512)]
        {
            assert_eq!(mebibytes("x", &given).unwrap(), mib);
        }
        assert!(mebibytes("x", &json!("lots")).is_err());
        for (given, s) in [(json!(5), 5), (json!("1m30s"), 90), (json!("1500ms"), 1), (json!("2h"), 7200)] {
            assert_eq!(seconds("x", &given).unwrap(), s);
        }
        assert!(seconds("x", &json!("soon")).is_err());
    }
}
