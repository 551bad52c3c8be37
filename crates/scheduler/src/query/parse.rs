//! From text to tree: a recursive descent over the grammar, one function per rule.
//!
//! ```text
//! or     := and (("||" | "or") and)*
//! and    := not (("&&" | "and") not)*
//! not    := ("!" | "not") not | "(" or ")" | subject operator [value | "[" value ("," value)* "]"]
//! ```
//! A value without quotes ends at white space, a parenthesis, `&&` or `||`, and in a list also at a comma or the
//! closing bracket; anything else goes between single or double quotes, where nothing is an escape because patterns
//! are full of backslashes.

use super::{Comparison, InvalidExpression, MAX_LENGTH, MAX_NESTING, Node, Test, TextTest, value};

type Parsed<T> = Result<T, InvalidExpression>;

const SUBJECTS: &str = "a subject (agentConnected, agentVersion, attribute:<name>, ec2InstanceId, registeredAt, \
                        runningTasksCount or task:group)";

pub(super) fn expression(text: &str) -> Parsed<Node> {
    let length = text.chars().count();
    if length > MAX_LENGTH {
        return Err(InvalidExpression::TooLong(length));
    }
    let mut cursor = Cursor { text, at: 0, value_at: 0 };
    let root = cursor.or(0)?;
    if cursor.rest().is_empty() { Ok(root) } else { Err(cursor.unexpected("'and', 'or' or the end")) }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Where the last value began, for errors about what it says.
    value_at: usize,
}

enum Kind {
    Compare(Comparison),
    Exists,
    In,
    Matches,
}

/// Where a value without quotes ends.
#[derive(PartialEq, Eq, Clone, Copy)]
enum End {
    Word,
    /// As a word, and it may begin with a bracket.
    Pattern,
    InList,
}

struct Operator {
    kind: Kind,
    negated: bool,
    /// Byte offset, for errors.
    at: usize,
}

const fn operator(kind: Kind, negated: bool) -> Operator {
    Operator { kind, negated, at: 0 }
}

/// Longer symbols stand before their prefixes.
const SYMBOLS: [(&str, Operator); 8] = [
    ("==", operator(Kind::Compare(Comparison::Equal), false)),
    ("!=", operator(Kind::Compare(Comparison::Equal), true)),
    (">=", operator(Kind::Compare(Comparison::GreaterEqual), false)),
    (">", operator(Kind::Compare(Comparison::Greater), false)),
    ("<=", operator(Kind::Compare(Comparison::LessEqual), false)),
    ("<", operator(Kind::Compare(Comparison::Less), false)),
    ("=~", operator(Kind::Matches, false)),
    ("!~", operator(Kind::Matches, true)),
];

const WORDS: [(&str, Operator); 14] = [
    ("equals", operator(Kind::Compare(Comparison::Equal), false)),
    ("not_equals", operator(Kind::Compare(Comparison::Equal), true)),
    ("greater_than", operator(Kind::Compare(Comparison::Greater), false)),
    ("greater_than_equal", operator(Kind::Compare(Comparison::GreaterEqual), false)),
    ("less_than", operator(Kind::Compare(Comparison::Less), false)),
    ("less_than_equal", operator(Kind::Compare(Comparison::LessEqual), false)),
    ("exists", operator(Kind::Exists, false)),
    ("!exists", operator(Kind::Exists, true)),
    ("not_exists", operator(Kind::Exists, true)),
    ("in", operator(Kind::In, false)),
    ("!in", operator(Kind::In, true)),
    ("not_in", operator(Kind::In, true)),
    ("matches", operator(Kind::Matches, false)),
    ("not_matches", operator(Kind::Matches, true)),
];

impl<'a> Cursor<'a> {
    fn or(&mut self, depth: usize) -> Parsed<Node> {
        let mut nodes = vec![self.and(depth)?];
        while self.eat("||") || self.eat_word("or") {
            nodes.push(self.and(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Or(nodes) })
    }

    fn and(&mut self, depth: usize) -> Parsed<Node> {
        let mut nodes = vec![self.not(depth)?];
        while self.eat("&&") || self.eat_word("and") {
            nodes.push(self.not(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::And(nodes) })
    }

    fn not(&mut self, depth: usize) -> Parsed<Node> {
        if depth > MAX_NESTING {
            return Err(InvalidExpression::TooDeep(self.position(self.at)));
        }
        if self.eat("!") || self.eat_word("not") {
            return Ok(Node::Not(Box::new(self.not(depth + 1)?)));
        }
        if !self.eat("(") {
            return self.simple();
        }
        let inner = self.or(depth + 1)?;
        if self.eat(")") { Ok(inner) } else { Err(self.unexpected("'and', 'or' or ')'")) }
    }

    fn simple(&mut self) -> Parsed<Node> {
        let rest = self.rest();
        let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
        let start = self.at;
        self.at += name.len();
        let (test, negated) = match name {
            "agentConnected" => self.connected()?,
            "agentVersion" => {
                let version = |t: &str| value::is_version(t).then(|| t.to_owned());
                let (comparison, negated, than) = self.ordered("agentVersion", "a version such as 1.82.0", version)?;
                (Test::AgentVersion(comparison, than), negated)
            }
            "attribute" if self.eat_here(":") => {
                let name = self.attribute_name()?;
                let (test, negated) = self.text_test("attribute", true, true)?;
                (Test::Attribute(name, test), negated)
            }
            "ec2InstanceId" => {
                let (test, negated) = self.text_test("ec2InstanceId", false, false)?;
                (Test::Ec2InstanceId(test), negated)
            }
            "registeredAt" => {
                let (comparison, negated, than) = self.ordered("registeredAt", value::MOMENT_FORMS, value::moment)?;
                (Test::RegisteredAt(comparison, than), negated)
            }
            "runningTasksCount" => {
                let number = |t: &str| t.parse().ok();
                let (comparison, negated, than) = self.ordered("runningTasksCount", "a whole number", number)?;
                (Test::RunningTasksCount(comparison, than), negated)
            }
            "task" if self.eat_here(":group") => {
                let (test, negated) = self.text_test("task:group", true, false)?;
                (Test::TaskGroup(test), negated)
            }
            _ => {
                self.at = start;
                return Err(self.unexpected(SUBJECTS));
            }
        };
        Ok(Node::Test { test, negated })
    }

    fn connected(&mut self) -> Parsed<(Test, bool)> {
        let (test, negated) = self.text_test("agentConnected", false, false)?;
        if let TextTest::Compare(_, to) = &test
            && to != "true"
            && to != "false"
        {
            self.at = self.value_at;
            return Err(self.unexpected("true or false"));
        }
        Ok((Test::AgentConnected(test), negated))
    }

    fn attribute_name(&mut self) -> Parsed<String> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-./\\".contains(c))).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unexpected("the name of an attribute"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// An operator on text, and its value.
    fn text_test(&mut self, subject: &'static str, exists: bool, ordered: bool) -> Parsed<(TextTest, bool)> {
        let operator = self.operator()?;
        let test = match operator.kind {
            Kind::Exists if exists => TextTest::Exists,
            Kind::Compare(comparison) if ordered || comparison == Comparison::Equal => {
                TextTest::Compare(comparison, self.value(End::Word)?)
            }
            Kind::In => TextTest::OneOf(self.list()?),
            Kind::Matches => TextTest::Matches(self.pattern()?),
            Kind::Exists | Kind::Compare(_) => {
                let allowed = match (exists, ordered) {
                    (true, true) => "all operators",
                    (true, false) => "==, !=, in, !in, =~, !~, exists and !exists",
                    (false, _) => "==, !=, in, !in, =~ and !~",
                };
                return Err(self.refused(subject, &operator, allowed));
            }
        };
        Ok((test, operator.negated))
    }

    /// A comparison with a value that has an order of its own.
    fn ordered<T>(
        &mut self,
        subject: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Parsed<(Comparison, bool, T)> {
        let operator = self.operator()?;
        let Kind::Compare(comparison) = operator.kind else {
            return Err(self.refused(subject, &operator, "==, !=, >, >=, < and <="));
        };
        let text = self.value(End::Word)?;
        match read(&text) {
            Some(value) => Ok((comparison, operator.negated, value)),
            None => {
                self.at = self.value_at;
                Err(self.unexpected(expected))
            }
        }
    }

    fn operator(&mut self) -> Parsed<Operator> {
        self.skip_space();
        let at = self.at;
        for (symbol, operator) in SYMBOLS {
            if self.eat_here(symbol) {
                return Ok(Operator { at, ..operator });
            }
        }
        for (word, operator) in WORDS {
            if self.eat_word(word) {
                return Ok(Operator { at, ..operator });
            }
        }
        Err(self.unexpected("an operator (==, !=, >, >=, <, <=, in, !in, exists, !exists, =~ or !~)"))
    }

    fn pattern(&mut self) -> Parsed<regex::Regex> {
        let text = self.value(End::Pattern)?;
        value::pattern(&text).map_err(|why| InvalidExpression::Pattern { position: self.position(self.value_at), why })
    }

    fn list(&mut self) -> Parsed<Vec<String>> {
        if !self.eat("[") {
            return Err(self.unexpected("a list such as [a, b]"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(End::InList)?);
            if self.eat("]") {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    fn value(&mut self, end: End) -> Parsed<String> {
        let rest = self.rest();
        self.value_at = self.at;
        if let Some(quote @ ('\'' | '"')) = rest.chars().next() {
            let Some(length) = rest[1..].find(quote) else {
                return Err(self.unexpected("a value that ends with the quote it begins with"));
            };
            self.at += length + 2;
            return Ok(rest[1..=length].to_owned());
        }
        let list = end == End::InList;
        let ends = |(at, c): &(usize, char)| {
            c.is_whitespace()
                || matches!(c, '(' | ')')
                || (list && matches!(c, ',' | ']'))
                || (!list && (rest[*at..].starts_with("&&") || rest[*at..].starts_with("||")))
        };
        let length = rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at);
        if length == 0 || (end == End::Word && rest.starts_with('[')) {
            return Err(self.unexpected("a value"));
        }
        self.at += length;
        if self.text[self.at..].starts_with('(') {
            return Err(self.unexpected("a value without parentheses, or one in quotes"));
        }
        Ok(rest[..length].to_owned())
    }

    /// What is left, from the next character that is not white space.
    fn rest(&mut self) -> &'a str {
        self.skip_space();
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, symbol: &str) -> bool {
        self.skip_space();
        self.eat_here(symbol)
    }

    fn eat_here(&mut self, symbol: &str) -> bool {
        let found = self.text[self.at..].starts_with(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    /// Takes a word if it does not go on: `order` does not begin with `or`.
    fn eat_word(&mut self, word: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(word) else { return false };
        let whole = !after.starts_with(|c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c));
        if whole {
            self.at += word.len();
        }
        whole
    }

    fn position(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }

    fn refused(&self, subject: &'static str, operator: &Operator, allowed: &'static str) -> InvalidExpression {
        InvalidExpression::Operator { subject, position: self.position(operator.at), allowed }
    }

    fn unexpected(&mut self, expected: &'static str) -> InvalidExpression {
        let rest = self.rest();
        let word: String = rest.split_whitespace().next().unwrap_or_default().chars().take(40).collect();
        let found = if word.is_empty() { "the end".to_owned() } else { format!("'{word}'") };
        InvalidExpression::Unexpected { expected, position: self.position(self.at), found }
    }
}
