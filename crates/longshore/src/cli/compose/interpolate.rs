//! Variables in compose files: `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?words}`; `$$` is a dollar. In a default
//! there may be variables again.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Deepest that defaults stand in defaults; people nest two or three.
const MAX_DEPTH: usize = 16;

/// Where variables come from, and which of them were asked for in vain.
pub(super) struct Variables<'a> {
    environment: &'a BTreeMap<String, String>,
    /// Names without a value and without a default: each stood for nothing.
    pub(super) missing: BTreeSet<String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(environment: &'a BTreeMap<String, String>) -> Self {
        Self { environment, missing: BTreeSet::new() }
    }

    /// Every text of a document. Done behind the YAML reader, so that no value can change the document's shape and comments
    /// may say what they like.
    pub(super) fn fill(&mut self, value: &mut Value) -> Result<()> {
        match value {
            Value::String(text) if text.contains('$') => *text = self.text(text)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill(item))?,
            Value::Object(members) => members.values_mut().try_for_each(|member| self.fill(member))?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    /// One text.
    pub(super) fn text(&mut self, text: &str) -> Result<String> {
        self.within(text, 0)
    }

    fn within(&mut self, text: &str, depth: usize) -> Result<String> {
        if depth > MAX_DEPTH {
            bail!("variables stand in the defaults of others more than {MAX_DEPTH} times over");
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = closing(after).with_context(|| format!("Invalid interpolation format: '{text}'"))?;
                out.push_str(&self.variable(&after[..end], depth)?);
                rest = &after[end + 1..];
            } else {
                let end = name_end(rest);
                if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                    out.push('$');
                    continue;
                }
                out.push_str(&self.required_nowhere(&rest[..end]));
                rest = &rest[end..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn required_nowhere(&mut self, name: &str) -> String {
        let value = self.environment.get(name).cloned();
        value.unwrap_or_else(|| {
            self.missing.insert(name.to_owned());
            String::new()
        })
    }

    fn variable(&mut self, inner: &str, depth: usize) -> Result<String> {
        let (name, operator) = inner.split_at(name_end(inner));
        let value = self.environment.get(name);
        let filled = value.filter(|v| !v.is_empty());
        // A default that is not wanted is not looked into.
        let mut or = |value: Option<&String>, default: &str| match value {
            Some(value) => Ok(value.clone()),
            None => self.within(default, depth + 1),
        };
        if name.is_empty() {
            bail!("Invalid interpolation format: '${{{inner}}}'")
        } else if operator.is_empty() {
            Ok(self.required_nowhere(name))
        } else if let Some(default) = operator.strip_prefix(":-") {
            or(filled, default)
        } else if let Some(default) = operator.strip_prefix('-') {
            or(value, default)
        } else if let Some(words) = operator.strip_prefix(":?") {
            filled.cloned().with_context(|| format!("required variable {name} is missing a value: {words}"))
        } else if let Some(words) = operator.strip_prefix('?') {
            value.cloned().with_context(|| format!("required variable {name} is missing a value: {words}"))
        } else {
            bail!("Invalid interpolation format: '${{{inner}}}'")
        }
    }
}

/// Where the brace is that closes what is open before the text.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut before) = (0_usize, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        // `$$` is a dollar and begins nothing.
        before = if c == '$' && before == '$' { ' ' } else { c };
    }
    None
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let environment = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let mut variables = Variables::new(&environment);
        for (given, wanted) in
            [("$A-${A}", "1-1"), ("${B:-x}${EMPTY:-y}${EMPTY-z}", "xy"), ("$$A $ $1", "$A $ $1"), ("${C}$D", "")]
        {
            assert_eq!(variables.text(given).unwrap(), wanted, "{given}");
        }
        assert_eq!(variables.missing, BTreeSet::from(["C".to_owned(), "D".to_owned()]), "B has a default");
        for (given, wanted) in [
            ("${B:-${EMPTY:-x}}!", "x!"),
            ("${B:-${C:-${A}2}}", "12"),
            ("${B:-a${A}b$A}}", "a1b1}"),
            ("${A:-${never:?read}}", "1"),
            ("${EMPTY-${B:-x}}", ""),
            ("${B:-{x}", "{x"),
            ("${B:-$$A}", "$A"),
            ("${B:-$${x}}", "${x}"),
        ] {
            assert_eq!(variables.text(given).unwrap(), wanted, "{given}");
        }
        for broken in ["${B:-${A}", "${B:-${never:?read}}"] {
            assert!(variables.text(broken).is_err(), "{broken}");
        }
        let deep = format!("{}x{}", "${B:-".repeat(100_000), "}".repeat(100_000));
        assert!(variables.text(&deep).unwrap_err().to_string().contains("more than 16 times"));
        for broken in ["${B:?is needed}", "${B?is needed}", "${A", "${}", "${A+x}"] {
            assert!(variables.text(broken).is_err(), "{broken}");
        }
        let mut document = serde_json::json!({"a": ["${A}", 5, {"b": "$A: {"}]});
        variables.fill(&mut document).unwrap();
        assert_eq!(document, serde_json::json!({"a": ["1", 5, {"b": "1: {"}]}));
    }
}
