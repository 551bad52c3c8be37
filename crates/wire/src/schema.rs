//! The static shape table: one description of every operation that decoding, validating, encoding, the router and the
//! coverage table all walk. `crates/shapes` holds the generated tables; nothing here knows a particular service.

use std::sync::OnceLock;

use regex::Regex;

use crate::pattern;

/// An AWS service as the wire sees it.
#[derive(Debug)]
pub struct Service {
    /// Our name for it: `ecs`, `logs`.
    pub name: &'static str,
    /// The service in a SigV4 scope.
    pub signing_name: &'static str,
    /// How requests and answers are written.
    pub protocol: Protocol,
    /// Before the dot in `X-Amz-Target`; empty for form protocols.
    pub target_prefix: &'static str,
    /// The `Version` parameter of form protocols.
    pub api_version: &'static str,
    /// Namespace of XML answers; empty for JSON.
    pub xml_namespace: &'static str,
    /// The code a broken constraint is answered with.
    pub validation_code: &'static str,
    /// Sorted by name.
    pub operations: &'static [Operation],
    /// Every modelled error, sorted by shape name.
    pub errors: &'static [&'static ErrorShape],
}

impl Service {
    /// The operation of that name.
    pub fn operation(&'static self, name: &str) -> Option<&'static Operation> {
        let found = self.operations.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        self.operations.get(found)
    }

    /// The modelled error with that wire code.
    pub fn error(&'static self, code: &str) -> Option<&'static ErrorShape> {
        self.errors.iter().copied().find(|error| error.code == code)
    }
}

/// How a service's requests and answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON bodies, `application/x-amz-json-1.0`.
    AwsJson10,
    /// JSON bodies, `application/x-amz-json-1.1`.
    AwsJson11,
    /// Form requests, XML answers with a result wrapper.
    AwsQuery,
    /// Form requests with EC2's naming, bare XML answers.
    Ec2Query,
}

impl Protocol {
    /// Whether bodies are JSON.
    pub fn is_json(self) -> bool {
        matches!(self, Self::AwsJson10 | Self::AwsJson11)
    }
}

/// One operation.
#[derive(Debug)]
pub struct Operation {
    /// `RunTask`.
    pub name: &'static str,
    /// What is asked; [`EMPTY`] when the model has no input.
    pub input: &'static Struct,
    /// What is answered, if anything.
    pub output: Option<&'static Struct>,
    /// The errors the model lists for it.
    pub errors: &'static [&'static ErrorShape],
}

/// A modelled error.
#[derive(Debug)]
pub struct ErrorShape {
    /// The shape's name.
    pub name: &'static str,
    /// The code on the wire; usually the name.
    pub code: &'static str,
    /// HTTP status it is answered with.
    pub status: u16,
    /// Its members.
    pub shape: &'static Struct,
}

/// A structure and its members, sorted by name.
#[derive(Debug)]
pub struct Struct {
    /// The model's name.
    pub name: &'static str,
    /// Sorted by name.
    pub members: &'static [Member],
}

impl Struct {
    /// The member of that (canonical) name.
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        let members = self.members;
        members.binary_search_by(|member| member.name.cmp(name)).ok().map(|i| &members[i])
    }
}

/// One member of a structure.
#[derive(Debug)]
pub struct Member {
    /// Canonical name: the model's, and JSON's.
    pub name: &'static str,
    /// Name in form requests.
    pub query: &'static str,
    /// Name in XML answers.
    pub xml: &'static str,
    /// Whether the model requires it.
    pub required: bool,
    /// What it holds.
    pub shape: Shape,
    /// Whether what it holds is nobody's to read in a message.
    pub secret: bool,
}

impl Member {
    /// The same, of what no message may tell.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// What a member, an item or a value holds.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Named members.
    Structure(&'static Struct),
    /// A sequence.
    List(&'static List),
    /// String keys to values.
    Map(&'static Map),
    /// Text, perhaps an enum's.
    String(&'static Text),
    /// 32-bit.
    Integer(&'static Range),
    /// 64-bit.
    Long(&'static Range),
    /// Floating point.
    Double(&'static FloatRange),
    /// True or false.
    Boolean,
    /// A point in time; canonically epoch seconds with millisecond precision.
    Timestamp(TimestampFormat),
    /// Bytes; canonically base64. The range bounds their count.
    Blob(&'static Range),
    /// Any JSON.
    Document,
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// A JSON number.
    EpochSeconds,
    /// `2026-11-17T19:10:00Z`.
    Iso8601,
    /// `Tue, 17 Nov 2026 19:10:00 GMT`.
    HttpDate,
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// What it holds.
    pub item: Shape,
    /// The item's element or parameter name: `member`, `item`.
    pub item_name: &'static str,
    /// Items stand without a wrapper.
    pub flattened: bool,
    /// Fewest items.
    pub min: Option<u32>,
    /// Most items.
    pub max: Option<u32>,
}

/// A map with string keys.
#[derive(Debug)]
pub struct Map {
    /// Constraints of the keys.
    pub key: Shape,
    /// What it holds.
    pub value: Shape,
    /// `key`.
    pub key_name: &'static str,
    /// `value`.
    pub value_name: &'static str,
    /// Entries stand without a wrapper.
    pub flattened: bool,
    /// Fewest entries.
    pub min: Option<u32>,
    /// Most entries.
    pub max: Option<u32>,
}

/// Text and its constraints.
#[derive(Debug)]
pub struct Text {
    /// Fewest characters.
    pub min: Option<u32>,
    /// Most characters.
    pub max: Option<u32>,
    /// The whole text must match.
    pub pattern: Option<Pattern>,
    /// An enum's values; empty when it is none.
    pub values: &'static [&'static str],
}

/// Bounds of a number, or of a blob's length.
#[derive(Debug)]
pub struct Range {
    /// Smallest.
    pub min: Option<i64>,
    /// Largest.
    pub max: Option<i64>,
}

/// Bounds of a floating-point number.
#[derive(Debug)]
pub struct FloatRange {
    /// Smallest.
    pub min: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

/// A regular expression as the model writes it (Java's dialect), compiled when first needed.
#[derive(Debug)]
pub struct Pattern {
    /// The model's text, which error messages quote.
    pub source: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// A pattern of the model.
    pub const fn new(source: &'static str) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    /// The compiled form, or `None` for the few that need what a linear-time engine does not offer (look-around).
    pub fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| pattern::compile(self.source)).as_ref()
    }
}

/// Text without constraints.
pub static ANY_TEXT: Text = Text { min: None, max: None, pattern: None, values: &[] };
/// A number, or a blob's length, without bounds.
pub static ANY_RANGE: Range = Range { min: None, max: None };
/// A floating-point number without bounds.
pub static ANY_FLOAT: FloatRange = FloatRange { min: None, max: None };
/// A structure without members.
pub static EMPTY: Struct = Struct { name: "Empty", members: &[] };

/// An optional member with one name everywhere.
pub const fn opt(name: &'static str, shape: Shape) -> Member {
    Member { name, query: name, xml: name, required: false, shape, secret: false }
}

/// A required member with one name everywhere.
pub const fn req(name: &'static str, shape: Shape) -> Member {
    Member { name, query: name, xml: name, required: true, shape, secret: false }
}

/// An optional member with its own names in forms and in XML.
pub const fn opt_as(name: &'static str, query: &'static str, xml: &'static str, shape: Shape) -> Member {
    Member { name, query, xml, required: false, shape, secret: false }
}

/// A required member with its own names in forms and in XML.
pub const fn req_as(name: &'static str, query: &'static str, xml: &'static str, shape: Shape) -> Member {
    Member { name, query, xml, required: true, shape, secret: false }
}
