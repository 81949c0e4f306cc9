//! The small file beside an archive: what a list tells of a snapshot.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::{Contents, FORMAT, Kind, Manifest};

/// A larger one is not read: it has a line for each table.
pub(super) const CARD_BYTES_MAX: u64 = 4 << 20;

/// Written last: without it, an archive is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub offtake_snapshot: u32,
    pub id: String,
    pub kind: Kind,
    pub tenant: String,
    pub created_at: Timestamp,
    pub epoch: String,
    #[serde(with = "crate::archive::number_as_text")]
    pub sequence_id: i64,
    /// Only some mappings were asked for.
    pub narrowed: bool,
    /// Of the archive, as stored.
    pub size: u64,
    pub sha256: String,
    /// Of all rows of all tables, as text.
    pub bytes: u64,
    pub rows: u64,
    pub tables: Vec<CardTable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardTable {
    pub mapping: String,
    pub rows: u64,
}

impl Card {
    pub(super) fn new(
        contents: &Contents,
        created_at: Timestamp,
        manifest: &Manifest,
        (size, sha256): (u64, String),
    ) -> Self {
        let tables = contents.tables.iter().zip(&manifest.rows);
        let data = manifest.members.iter().filter(|member| member.name.starts_with("data/"));
        Self {
            offtake_snapshot: FORMAT,
            id: contents.id.clone(),
            kind: contents.kind,
            tenant: contents.tenant.clone(),
            created_at,
            epoch: contents.epoch.clone(),
            sequence_id: contents.sequence_id,
            narrowed: contents.narrowed,
            size,
            sha256,
            bytes: data.map(|member| member.size).sum(),
            rows: manifest.rows_total(),
            tables: tables
                .map(|(table, rows)| CardTable { mapping: table.mapping.clone(), rows: *rows })
                .collect(),
        }
    }

    /// None: it is not one, or of a later version of Offtake.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let card: Self = serde_json::from_slice(bytes).ok()?;
        (card.offtake_snapshot == FORMAT).then_some(card)
    }
}
