//! What `POST …/verify` answers: how copies compare with their queries, without a row's values.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// One mapping's copy, compared.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Compared {
    pub mapping: String,
    /// Proven: every row is there, as it is in the source, and no other.
    pub equal: bool,
    /// Null where the copy could not be compared.
    pub report: Option<Comparison>,
    /// Why it could not.
    pub error: Option<String>,
}

/// What a comparison found. The counts are those of `offtake verify --json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Comparison {
    pub mapping: String,
    pub tenant: String,
    /// Rows of the source that were compared.
    pub rows: u64,
    /// Keys that the source has and the destination lacks.
    pub missing: u64,
    /// Keys that the destination has and the source does not.
    pub extra: u64,
    /// Keys whose rows differ.
    pub different: u64,
    /// Keys that differed and could not be judged: the destination is behind, or they kept
    /// changing.
    pub unsettled: u64,
    /// Rows that a side cannot print, so that they could not be compared.
    pub not_compared: u64,
    /// Keys that differed at first sight.
    pub rechecked: u64,
    /// Rows of the query whose tenant or key the source table does not have.
    pub disagreements: u64,
    /// The key of one of them, as text.
    pub disagreement: Option<Map<String, Value>>,
    /// The first of what differs, in no particular order.
    pub differences: Vec<DifferingKey>,
    /// The rows that could not be compared.
    pub unprinted: Vec<UnprintedRow>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DifferingKey {
    pub kind: DifferenceKind,
    /// The key's columns, as text.
    pub key: Map<String, Value>,
    /// Names of the columns that differ, where both sides have the row.
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    Missing,
    Extra,
    Different,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UnprintedRow {
    /// The key's columns, as text.
    pub key: Map<String, Value>,
    /// Which server cannot print it.
    pub side: ComparedSide,
    /// What that server says, without a value.
    pub error: String,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparedSide {
    Source,
    Destination,
}
