//! A chunk of a table, as its checkpoint says.

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::KeyRange;
use offtake_mapping::compose::checkpoints::Bounds;

/// How far a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    InProgress,
    Completed,
    Failed,
}

impl Status {
    /// What another program wrote there is to be done again.
    fn parse(text: &str) -> Self {
        match text {
            "in_progress" => Self::InProgress,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// A row of `migration_checkpoints`.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub id: i64,
    pub table_name: String,
    pub rows: u64,
    pub status: Status,
    pub error: Option<String>,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
    pub owner: Option<String>,
    pub lease_until: Option<String>,
    pub attempt: u64,
    pub(super) copy_id: String,
    pub(super) start: Option<Vec<String>>,
    pub(super) end: Option<Vec<String>>,
    pub(super) last: Option<Vec<String>>,
}

impl Chunk {
    /// Reads a row of [`Checkpoints::list`](offtake_mapping::compose::checkpoints::Checkpoints).
    pub(super) fn read(row: &[Option<String>]) -> Option<Self> {
        let text = |at: usize| row.get(at).cloned().flatten();
        let key = |at| text(at).and_then(|json| serde_json::from_str(&json).ok());
        let number = |at| text(at).and_then(|text| text.parse().ok());
        Some(Self {
            id: text(0)?.parse().ok()?,
            table_name: text(1)?,
            rows: number(2).unwrap_or(0),
            status: Status::parse(&text(3)?),
            error: text(4),
            started_at: text(5),
            completed_at: text(6),
            copy_id: text(7).unwrap_or_default(),
            start: key(8),
            end: key(9),
            last: key(10),
            owner: text(11),
            lease_until: text(12),
            attempt: number(13).unwrap_or(0),
        })
    }

    pub(super) fn is_in_progress(&self) -> bool {
        self.status == Status::InProgress
    }

    /// Whether it goes to the end of the table.
    pub fn is_open_ended(&self) -> bool {
        self.end.is_none()
    }

    /// What of it is still to be copied.
    pub(super) fn left(&self) -> KeyRange<'_> {
        let after = self.last.as_deref().or(self.start.as_deref());
        KeyRange { after, up_to: self.end.as_deref() }
    }
}

/// A key as checkpoints have it.
pub(super) fn json(key: &[String]) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

/// What a checkpoint says of a range.
pub(super) fn bounds(mapping: &ResolvedMapping, range: KeyRange<'_>) -> Bounds {
    let integer = |key: Option<&[String]>| match (&mapping.key[..], key) {
        ([only], Some([value]))
            if ["smallint", "integer", "bigint"].contains(&only.sql_type.as_str()) =>
        {
            value.parse().ok()
        }
        _ => None,
    };
    Bounds {
        start_key: range.after.map(json),
        end_key: range.up_to.map(json),
        start_id: integer(range.after),
        end_id: integer(range.up_to),
    }
}
