//! The two JSON members: what a snapshot is of, and what its other members are.

use serde::{Deserialize, Serialize};

/// Of the form that this version writes and reads.
pub const FORMAT: u32 = 1;

/// `snapshot.json`, the first member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    pub offtake_snapshot: u32,
    pub id: String,
    pub kind: Kind,
    pub tenant: String,
    /// When the source was read, by its clock.
    pub created_at: String,
    pub epoch: String,
    /// The highest sequence id that was visible when the source was read.
    #[serde(with = "number_as_text")]
    pub sequence_id: i64,
    /// The version of Offtake that wrote it.
    pub offtake: String,
    /// The version of the source's server.
    pub server: String,
    /// Only these mappings were asked for, and others are left out.
    pub narrowed: bool,
    /// In the order of their members.
    pub tables: Vec<Table>,
}

/// Whose rows a snapshot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the mappings' queries return for the tenant: what its destinations hold.
    Rows,
    /// The tenant's own rows in tables of the source, as they stand there.
    Source,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Source => "source",
        }
    }
}

/// One table of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its folder below `data`.
    pub folder: String,
    /// The mapping whose rows these are; of the kind `source`, the table as SQL writes it.
    pub mapping: String,
    /// The mapping's version; see `ResolvedMapping::version`. Empty where there is no mapping.
    pub version: String,
    /// The destination's table; of the kind `source`, the source's.
    pub table: String,
    /// In the order of the values in a line.
    pub columns: Vec<Column>,
    /// The columns of the key, in key order.
    pub key: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    /// As `format_type` prints it, of a column in a destination or in the source.
    #[serde(rename = "type")]
    pub sql_type: String,
}

/// `manifest.json`, the last member: an archive without it is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub offtake_snapshot: u32,
    pub id: String,
    /// Every other member, in order.
    pub members: Vec<Entry>,
    /// Rows of each table, in the order of [`Contents::tables`].
    pub rows: Vec<u64>,
    /// Bytes of all members but this one.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    pub size: u64,
    /// Ends of lines in a data member. A row that is larger than a member ends in a later one.
    pub rows: u64,
    pub sha256: String,
}

impl Manifest {
    /// Rows of all tables.
    pub fn rows_total(&self) -> u64 {
        self.rows.iter().sum()
    }
}

/// 64-bit numbers are texts in JSON: many readers round them otherwise.
pub(crate) mod number_as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
