//! The trimmed model: the part of botocore's `service-2.json` that the wire depends on.
//!
//! Maps are B-trees, so the files come out in one order whatever serde_json's features are in this build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Number;

#[derive(Serialize, Deserialize)]
pub(crate) struct Model {
    pub metadata: Metadata,
    pub operations: BTreeMap<String, Operation>,
    pub shapes: BTreeMap<String, Shape>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub api_version: String,
    pub endpoint_prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_version: Option<String>,
    pub protocol: String,
    /// All that the service understands; only botocore's own file names them.
    #[serde(default, skip_serializing)]
    pub protocols: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml_namespace: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Ref>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Ref>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Ref>,
}

/// A use of a shape, with the names it goes by on the wire in that place.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ref {
    pub shape: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_wrapper: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flattened: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, Ref>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Ref>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Ref>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Ref>,
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flattened: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub document: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exception: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fault: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorTrait>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorTrait {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status_code: Option<u16>,
}

impl Model {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))
    }

    /// The file's text: one operation and one shape per line, so that a new model reads well as a diff.
    pub(crate) fn render(&self) -> Result<String> {
        let metadata = serde_json::to_string(&self.metadata)?;
        let operations = lines(&self.operations)?;
        let shapes = lines(&self.shapes)?;
        Ok(format!(
            "{{\n\"metadata\": {metadata},\n\"operations\": {{\n{operations}\n}},\n\"shapes\": {{\n{shapes}\n}}\n}}\n"
        ))
    }
}

fn lines<T: Serialize>(map: &BTreeMap<String, T>) -> Result<String> {
    let rows: Result<Vec<String>> =
        map.iter().map(|(name, value)| Ok(format!("\"{name}\": {}", serde_json::to_string(value)?))).collect();
    Ok(rows?.join(",\n"))
}
