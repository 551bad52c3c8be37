//! CloudWatch's filter patterns: terms, JSON selectors in braces, fields in brackets. Case matters, as at AWS.
//!
//! - `ERROR Exception`: events that contain both; `"exact phrase"`: for whatever is not a letter, digit or underscore.
//! - `?ERROR ?WARN`: either. AWS: beside other terms, `?` terms have no effect.
//! - `-debug`: not; `%[45]\d\d%`: a regular expression.
//! - `{ $.level = "error" && ($.status >= 500 || $.user.id NOT EXISTS) }`: see the `json` module.
//!
//! - `[ip, user, ..., status = 4*]`: see the `fields` module.

mod fields;
mod json;

use regex::Regex;

use super::error::Error;

/// A parsed filter pattern. The default matches everything.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    kind: Kind,
}

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    All,
    Terms(Terms),
    Json(json::Expr),
    Fields(fields::Fields),
}

#[derive(Debug, Clone, Default)]
struct Terms {
    required: Vec<Term>,
    optional: Vec<Term>,
    excluded: Vec<Term>,
}

#[derive(Debug, Clone)]
enum Term {
    Text(String),
    Matching(Regex),
}

/// Compiled size of one regular expression: ample for AWS's subset, and a bound on what a request can make us hold.
const MAX_REGEX_BYTES: usize = 256 << 10;
/// AWS's bound on `filterPattern`.
const MAX_PATTERN_CHARS: usize = 1_024;

fn invalid(why: &str) -> Error {
    Error::InvalidParameter(if why.is_empty() {
        "Invalid filter pattern".to_string()
    } else {
        format!("Invalid filter pattern: {why}")
    })
}

impl Pattern {
    /// Reads a pattern; the error is AWS's `InvalidParameterException`, saying what cannot be read.
    pub fn parse(text: &str) -> Result<Pattern, Error> {
        if text.chars().count() > MAX_PATTERN_CHARS {
            return Err(invalid("it is longer than 1024 characters"));
        }
        let text = text.trim();
        if text.is_empty() || text == "\"\"" {
            return Ok(Pattern::default());
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| invalid("a bracket is not closed"))?;
            return Ok(Pattern { kind: Kind::Fields(fields::parse(inner)?) });
        }
        if let Some(inner) = text.strip_prefix('{') {
            // AWS: this wording.
            let inner = inner.strip_suffix('}').ok_or_else(|| {
                Error::InvalidParameter("If a filter pattern starts with '{' it must end with '}'".to_string())
            })?;
            return Ok(Pattern { kind: Kind::Json(json::parse(inner)?) });
        }
        Ok(Pattern { kind: Kind::Terms(parse_terms(text)?) })
    }

    /// Whether an event with this text is wanted.
    pub fn matches(&self, message: &str) -> bool {
        match &self.kind {
            Kind::All => true,
            Kind::Terms(terms) => terms.matches(message),
            Kind::Fields(fields) => fields.matches(message),
            Kind::Json(expr) => {
                message.trim_start().starts_with(['{', '['])
                    && serde_json::from_str(message).is_ok_and(|value| expr.matches(&value))
            }
        }
    }
}

impl Terms {
    fn matches(&self, message: &str) -> bool {
        let found = |term: &Term| term.matches(message);
        // AWS: `?` terms beside others are ignored.
        if self.required.is_empty() && self.excluded.is_empty() {
            return self.optional.iter().any(found);
        }
        self.required.iter().all(found) && !self.excluded.iter().any(found)
    }
}

impl Term {
    fn matches(&self, message: &str) -> bool {
        match self {
            Term::Text(text) => message.contains(text.as_str()),
            Term::Matching(regex) => regex.is_match(message),
        }
    }
}

fn parse_terms(text: &str) -> Result<Terms, Error> {
    let mut terms = Terms::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (sign, after) = match rest.strip_prefix(['?', '-']) {
            Some(after) => (Some(rest.as_bytes()[0]), after),
            None => (None, rest),
        };
        let (term, after) = parse_term(after)?;
        match sign {
            Some(b'?') => terms.optional.push(term),
            Some(_) => terms.excluded.push(term),
            None => terms.required.push(term),
        }
        rest = after.trim_start();
    }
    Ok(terms)
}

fn parse_term(text: &str) -> Result<(Term, &str), Error> {
    if text.starts_with('"') {
        let (phrase, rest) = quoted(text)?;
        return Ok((Term::Text(phrase), rest));
    }
    if text.starts_with('%') {
        let (regex, rest) = delimited_regex(text)?;
        return Ok((Term::Matching(regex), rest));
    }
    let end = text.find([' ', '\t', '\n', '\r']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() || !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(invalid(&format!("Invalid character(s) in term '{word}'")));
    }
    Ok((Term::Text(word.to_string()), rest))
}

/// Reads `"..."` at the start of `text`, with `\"` and `\\`, and returns it and what follows.
fn quoted(text: &str) -> Result<(String, &str), Error> {
    let mut phrase = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((phrase, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => phrase.push(escaped),
                Some((_, other)) => phrase.extend(['\\', other]),
                None => break,
            },
            other => phrase.push(other),
        }
    }
    Err(invalid("a quotation mark is not closed"))
}

/// Reads `%...%` at the start of `text`.
fn delimited_regex(text: &str) -> Result<(Regex, &str), Error> {
    let end = text[1..].find('%').ok_or_else(|| invalid("a regular expression is not closed by %"))? + 1;
    let regex = regex::RegexBuilder::new(&text[1..end])
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|_| invalid(&format!("Invalid regular expression '{}'", &text[1..end])))?;
    Ok((regex, &text[end + 1..]))
}

#[cfg(test)]
mod tests;
