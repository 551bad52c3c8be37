//! Variables in compose files: `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?words}`; `$$` is a dollar.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = after.find('}').with_context(|| format!("Invalid interpolation format: '{text}'"))?;
                out.push_str(&self.variable(&after[..end])?);
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

    fn variable(&mut self, inner: &str) -> Result<String> {
        let (name, operator) = inner.split_at(name_end(inner));
        let value = self.environment.get(name);
        let filled = value.filter(|v| !v.is_empty());
        let or = |value: Option<&String>, default: &str| value.cloned().unwrap_or_else(|| default.to_owned());
        if name.is_empty() {
            bail!("Invalid interpolation format: '${{{inner}}}'")
        } else if operator.is_empty() {
            Ok(self.required_nowhere(name))
        } else if let Some(default) = operator.strip_prefix(":-") {
            Ok(or(filled, default))
        } else if let Some(default) = operator.strip_prefix('-') {
            Ok(or(value, default))
        } else if let Some(words) = operator.strip_prefix(":?") {
            filled.cloned().with_context(|| format!("required variable {name} is missing a value: {words}"))
        } else if let Some(words) = operator.strip_prefix('?') {
            value.cloned().with_context(|| format!("required variable {name} is missing a value: {words}"))
        } else {
            bail!("Invalid interpolation format: '${{{inner}}}'")
        }
    }
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
        for broken in ["${B:?is needed}", "${B?is needed}", "${A", "${}", "${A+x}"] {
            assert!(variables.text(broken).is_err(), "{broken}");
        }
        let mut document = serde_json::json!({"a": ["${A}", 5, {"b": "$A: {"}]});
        variables.fill(&mut document).unwrap();
        assert_eq!(document, serde_json::json!({"a": ["1", 5, {"b": "1: {"}]}));
    }
}
