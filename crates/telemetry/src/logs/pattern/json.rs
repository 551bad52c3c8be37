//! Filter patterns over JSON events: `{ $.a.b = "x*" && ($.n > 5 || $.list[0] IS NULL) }`.
//!
//! `&&` binds tighter than `||`. A comparison with something that is not there is false, `!=` too. `[*]` means any element.

use regex::Regex;
use serde_json::Value;

use super::{delimited_regex, invalid, quoted};
use crate::logs::error::Error;

/// Nested parentheses: more than anyone writes, few enough for any stack.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Test { selector: Vec<Step>, test: Test },
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Field(String),
    Index(usize),
    Any,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    Exists,
    NotExists,
    Is(Value),
    Compare(Operator, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// A number, and how it was written, which a JSON string may equal.
    Number(f64, String),
    /// Text whose `*` stand for anything.
    Glob(String),
    Matching(Regex),
}

impl Expr {
    pub(super) fn matches(&self, event: &Value) -> bool {
        match self {
            Expr::Or(parts) => parts.iter().any(|part| part.matches(event)),
            Expr::And(parts) => parts.iter().all(|part| part.matches(event)),
            Expr::Test { selector, test } => {
                let mut found = Vec::new();
                select(event, selector, &mut found);
                test.holds(&found)
            }
        }
    }
}

fn select<'v>(value: &'v Value, steps: &[Step], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = steps.split_first() else { return found.push(value) };
    match step {
        Step::Field(name) => value.get(name).into_iter().for_each(|inner| select(inner, rest, found)),
        Step::Index(index) => value.get(index).into_iter().for_each(|inner| select(inner, rest, found)),
        Step::Any => value.as_array().into_iter().flatten().for_each(|inner| select(inner, rest, found)),
    }
}

impl Test {
    fn holds(&self, found: &[&Value]) -> bool {
        match self {
            Test::Exists => !found.is_empty(),
            Test::NotExists => found.is_empty(),
            Test::Is(wanted) => found.contains(&wanted),
            Test::Compare(operator, operand) => found.iter().any(|value| operand.compare(*operator, value)),
        }
    }
}

impl Operand {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Operand::Number(..))
    }

    pub(super) fn compare(&self, operator: Operator, value: &Value) -> bool {
        match operator {
            Operator::Equal => self.equals(value),
            Operator::NotEqual => !self.equals(value),
            Operator::Less => self.ordered(value, |a, b| a < b),
            Operator::LessOrEqual => self.ordered(value, |a, b| a <= b),
            Operator::Greater => self.ordered(value, |a, b| a > b),
            Operator::GreaterOrEqual => self.ordered(value, |a, b| a >= b),
        }
    }

    fn ordered(&self, value: &Value, holds: fn(f64, f64) -> bool) -> bool {
        match self {
            Operand::Number(number, _) => value.as_f64().is_some_and(|value| holds(value, *number)),
            Operand::Glob(_) | Operand::Matching(_) => false,
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Operand::Number(number, _), Value::Number(value)) => value.as_f64() == Some(*number),
            (Operand::Number(_, written), Value::String(text)) => written == text,
            (Operand::Glob(glob), Value::String(text)) => glob_matches(glob, text),
            (Operand::Glob(glob), Value::Number(number)) => {
                glob.contains('*') && glob_matches(glob, &number.to_string())
            }
            (Operand::Glob(glob), Value::Bool(flag)) => glob == if *flag { "true" } else { "false" },
            (Operand::Matching(regex), Value::String(text)) => regex.is_match(text),
            (Operand::Matching(regex), Value::Number(number)) => regex.is_match(&number.to_string()),
            (Operand::Number(..) | Operand::Glob(_) | Operand::Matching(_), _) => false,
        }
    }
}

/// Whether `text` is `glob`, in which each `*` stands for any text: first and last piece anchored, the rest found in turn.
fn glob_matches(glob: &str, text: &str) -> bool {
    let Some((first, pieces)) = glob.split_once('*') else { return glob == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let (middle, last) = pieces.rsplit_once('*').unwrap_or(("", pieces));
    for piece in middle.split('*') {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What ends a value that is not in quotation marks.
const STOPS: &str = "(){}&|\"=<>!";

/// Reads what stands between the braces.
pub(super) fn parse(text: &str) -> Result<Expr, Error> {
    let mut parser = Parser::new(text, STOPS);
    let expr = parser.any_of()?;
    parser.finish()?;
    Ok(expr)
}

pub(super) struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    stops: &'static str,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, stops: &'static str) -> Self {
        Self { rest: text.trim(), depth: 0, stops }
    }

    /// All has to be read.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(invalid(&format!("unexpected '{}'", self.rest))) }
    }

    pub(super) fn at_end_of_field(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(',')
    }

    pub(super) fn word(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let word = self.take_while(wanted);
        self.rest = self.rest.trim_start();
        word
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        if let Some(rest) = found {
            self.rest = rest.trim_start();
        }
        found.is_some()
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let end = self.rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(self.rest.len());
        let found = self.rest[..end].eq_ignore_ascii_case(word);
        if found {
            self.rest = self.rest[end..].trim_start();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn any_of(&mut self) -> Result<Expr, Error> {
        let mut parts = vec![self.all_of()?];
        while self.eat("||") {
            parts.push(self.all_of()?);
        }
        Ok(Expr::Or(parts))
    }

    fn all_of(&mut self) -> Result<Expr, Error> {
        let mut parts = vec![self.unit()?];
        while self.eat("&&") {
            parts.push(self.unit()?);
        }
        Ok(Expr::And(parts))
    }

    fn unit(&mut self) -> Result<Expr, Error> {
        if !self.eat("(") {
            let selector = self.selector()?;
            return Ok(Expr::Test { selector, test: self.test()? });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid("too many nested parentheses"));
        }
        let inner = self.any_of()?;
        self.depth -= 1;
        if self.eat(")") { Ok(inner) } else { Err(invalid("a parenthesis is not closed")) }
    }

    fn selector(&mut self) -> Result<Vec<Step>, Error> {
        let bad = || invalid("a property selector such as $.name is expected");
        self.rest = self.rest.strip_prefix('$').ok_or_else(bad)?;
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('[').or_else(|| self.rest.strip_prefix(".[")) {
                self.rest = rest;
                steps.push(self.bracketed()?);
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                let name = self.take_while(|c| c.is_alphanumeric() || "_-@:#/".contains(c));
                if name.is_empty() {
                    return Err(bad());
                }
                steps.push(Step::Field(name.to_string()));
            } else {
                break;
            }
        }
        self.rest = self.rest.trim_start();
        Ok(steps)
    }

    fn bracketed(&mut self) -> Result<Step, Error> {
        let step = if self.rest.starts_with('"') {
            let (name, rest) = quoted(self.rest)?;
            self.rest = rest;
            Step::Field(name)
        } else {
            match self.take_while(|c| c != ']').trim() {
                "*" => Step::Any,
                quoted if quoted.len() > 1 && quoted.starts_with('\'') && quoted.ends_with('\'') => {
                    Step::Field(quoted[1..quoted.len() - 1].to_string())
                }
                index => Step::Index(index.parse().map_err(|_| invalid(&format!("bad array index '{index}'")))?),
            }
        };
        self.rest = self.rest.strip_prefix(']').ok_or_else(|| invalid("a bracket is not closed"))?;
        Ok(step)
    }

    fn test(&mut self) -> Result<Test, Error> {
        if self.eat_word("IS") {
            for (word, value) in [("NULL", Value::Null), ("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false))] {
                if self.eat_word(word) {
                    return Ok(Test::Is(value));
                }
            }
            return Err(invalid("IS must be followed by NULL, TRUE or FALSE"));
        }
        if self.eat_word("NOT") {
            return if self.eat_word("EXISTS") {
                Ok(Test::NotExists)
            } else {
                Err(invalid("NOT must be followed by EXISTS"))
            };
        }
        if self.eat_word("EXISTS") {
            return Ok(Test::Exists);
        }
        self.comparison().map(|(operator, operand)| Test::Compare(operator, operand))
    }

    pub(super) fn comparison(&mut self) -> Result<(Operator, Operand), Error> {
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let Some((_, operator)) = operators.into_iter().find(|(token, _)| self.eat(token)) else {
            return Err(invalid("a comparison is expected"));
        };
        let operand = self.operand()?;
        if !operand.is_number() && !matches!(operator, Operator::Equal | Operator::NotEqual) {
            return Err(invalid("only numbers can be compared with <, <=, > and >="));
        }
        Ok((operator, operand))
    }

    fn operand(&mut self) -> Result<Operand, Error> {
        if self.rest.starts_with('"') {
            let (text, rest) = quoted(self.rest)?;
            self.rest = rest.trim_start();
            return Ok(Operand::Glob(text));
        }
        if self.rest.starts_with('%') {
            let (regex, rest) = delimited_regex(self.rest)?;
            self.rest = rest.trim_start();
            return Ok(Operand::Matching(regex));
        }
        let stops = self.stops;
        let word = self.take_while(|c| !c.is_whitespace() && !stops.contains(c));
        self.rest = self.rest.trim_start();
        if word.is_empty() {
            return Err(invalid("a value is expected"));
        }
        let numeric = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        match word.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => Ok(Operand::Number(number, word.to_string())),
            Ok(_) | Err(_) => Ok(Operand::Glob(word.to_string())),
        }
    }
}
