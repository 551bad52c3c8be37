//! Filter patterns over events whose fields are separated by spaces: `[ip, user, ..., status = 4* && status != 404, bytes > 1000]`.
//!
//! What stands in brackets or quotation marks is one field of the event. An event has to have as many fields as the pattern;
//! `...`, at most once, stands for any number of them.

use super::invalid;
use super::json::{Operand, Operator, Parser};
use crate::logs::error::Error;
use serde_json::Value;

/// What ends a value that is not in quotation marks.
const STOPS: &str = "(){}&|\"=<>!,]";

#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    /// Conditions on the first fields, or on all if there is no ellipsis.
    before: Vec<Condition>,
    /// Conditions on the last fields, behind an ellipsis.
    after: Option<Vec<Condition>>,
}

/// Any of these, each of which is all of those. A field without a condition is one empty list of tests.
#[derive(Debug, Clone)]
struct Condition(Vec<Vec<(Operator, Operand)>>);

/// Reads what stands between the brackets.
pub(super) fn parse(text: &str) -> Result<Fields, Error> {
    let mut parser = Parser::new(text, STOPS);
    let mut fields = Fields::default();
    loop {
        if parser.eat("...") {
            if fields.after.replace(Vec::new()).is_some() {
                return Err(invalid("'...' may stand only once"));
            }
        } else {
            let condition = condition(&mut parser)?;
            fields.after.as_mut().unwrap_or(&mut fields.before).push(condition);
        }
        if !parser.eat(",") {
            break;
        }
    }
    parser.finish()?;
    Ok(fields)
}

fn condition(parser: &mut Parser<'_>) -> Result<Condition, Error> {
    let field = name(parser)?;
    let mut any = vec![Vec::new()];
    if parser.at_end_of_field() {
        return Ok(Condition(any));
    }
    loop {
        any.last_mut().expect("there is always one").push(parser.comparison()?);
        if parser.eat("||") {
            any.push(Vec::new());
        } else if !parser.eat("&&") {
            return Ok(Condition(any));
        }
        let again = name(parser)?;
        if again != field {
            return Err(invalid(&format!("the conditions of field '{field}' name '{again}'")));
        }
    }
}

fn name<'a>(parser: &mut Parser<'a>) -> Result<&'a str, Error> {
    match parser.word(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        "" => Err(invalid("a field's name is expected")),
        name => Ok(name),
    }
}

impl Fields {
    pub(super) fn matches(&self, message: &str) -> bool {
        let found = split(message);
        let wanted = self.before.len() + self.after.as_ref().map_or(0, Vec::len);
        if found.len() < wanted || (self.after.is_none() && found.len() > wanted) {
            return false;
        }
        let after = self.after.as_deref().unwrap_or_default();
        let last = &found[found.len() - after.len()..];
        let all = |conditions: &[Condition], fields: &[&str]| {
            conditions.iter().zip(fields).all(|(condition, field)| condition.holds(field))
        };
        all(&self.before, &found) && all(after, last)
    }
}

impl Condition {
    fn holds(&self, field: &str) -> bool {
        self.0.iter().any(|all| all.iter().all(|(operator, operand)| test(*operator, operand, field)))
    }
}

fn test(operator: Operator, operand: &Operand, field: &str) -> bool {
    let number = field.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    let equal = || {
        let as_number = |number: &Value| operand.is_number() && operand.compare(Operator::Equal, number);
        operand.compare(Operator::Equal, &Value::String(field.to_string())) || number.as_ref().is_some_and(as_number)
    };
    match operator {
        Operator::Equal => equal(),
        Operator::NotEqual => !equal(),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            number.as_ref().is_some_and(|number| operand.compare(operator, number))
        }
    }
}

/// An event's fields, without the brackets or quotation marks around them. One that is not closed goes on to the end.
fn split(message: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '[' => Some(']'),
            '"' => Some('"'),
            _ => None,
        };
        let (field, after) = match close {
            Some(close) => rest[1..].split_once(close).unwrap_or((&rest[1..], "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        fields.push(field);
        rest = after.trim_start();
    }
    fields
}
