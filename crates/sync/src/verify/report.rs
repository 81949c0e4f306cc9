//! What a comparison found.

use offtake_mapping::foreign_within;
use serde::Serialize;
use serde_json::{Map, Value};

/// A longer key is cut where it is told in a sentence.
const KEY_CHARS_MAX: usize = 200;

/// The result for one mapping in one destination.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
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
    /// Rows of the query whose tenant is another one by `source.tenant`, or whose key no row of the
    /// source table has. The copy may equal the query now, and it misses their next changes.
    pub disagreements: u64,
    /// The key of one of them, as text.
    pub disagreement: Option<Map<String, Value>>,
    /// The first of what differs, in no particular order.
    pub differences: Vec<Difference>,
    /// The rows that could not be compared.
    pub unprinted: Vec<Unprinted>,
}

impl Report {
    /// Proven: every row is there, as it is in the source, and no other.
    pub fn equal(&self) -> bool {
        !self.differs() && self.not_compared == 0
    }

    /// A row differs, or may differ: it could not be settled.
    pub fn differs(&self) -> bool {
        self.missing + self.extra + self.different + self.unsettled > 0
    }

    pub(super) fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::Missing => &mut self.missing,
            Kind::Extra => &mut self.extra,
            Kind::Different => &mut self.different,
        } += 1;
    }
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub kind: Kind,
    /// The key's columns, as text.
    pub key: Map<String, Value>,
    /// Names of the columns that differ; empty unless both sides have the row, and beyond the first
    /// [`DIFFERENCES_MAX`](super::DIFFERENCES_MAX) differences.
    pub columns: Vec<String>,
    /// The values of those columns, or of the whole row that only one side has, as text; only if
    /// they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Map<String, Value>>,
}

/// One row that could not be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unprinted {
    /// The key's columns, as text.
    pub key: Map<String, Value>,
    /// Which server cannot print it.
    pub side: SideName,
    /// What that server says, without a value.
    pub error: String,
}

impl Unprinted {
    /// The key, the side and what its server says, on one line.
    pub fn line(&self) -> String {
        let key = Value::Object(self.key.clone()).to_string();
        format!("{}: {}: {}", foreign_within(&key, KEY_CHARS_MAX), self.side.name(), self.error)
    }
}

/// One of the two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SideName {
    Source,
    Destination,
}

impl SideName {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "the source",
            Self::Destination => "the destination",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Missing,
    Extra,
    Different,
}
