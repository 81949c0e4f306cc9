//! What the row of a job tells of a snapshot that is complete.

use jiff::Timestamp;
use offtake_postgres::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::{Card, CardTable, Options};
use crate::{Job, sql};

/// The one file of a job, as its card has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub name: String,
    pub created_at: Timestamp,
    pub epoch: String,
    pub sequence_id: i64,
    pub narrowed: bool,
    pub size: u64,
    pub sha256: String,
    pub rows: u64,
    pub bytes: u64,
    pub tables: Vec<CardTable>,
}

impl Made {
    /// None: it is not complete, or its file is deleted.
    pub fn of(job: &Job) -> Option<Self> {
        serde_json::from_value(job.files.as_ref()?.get(0)?.clone()).ok()
    }

    fn new(card: &Card) -> Self {
        Self {
            name: format!("{}.tar.zst", card.id),
            created_at: card.created_at,
            epoch: card.epoch.clone(),
            sequence_id: card.sequence_id,
            narrowed: card.narrowed,
            size: card.size,
            sha256: card.sha256.clone(),
            rows: card.rows,
            bytes: card.bytes,
            tables: card.tables.clone(),
        }
    }
}

/// The column `files` of a job.
pub(super) fn files(card: &Card) -> Value {
    json!([Made::new(card)])
}

/// Records a snapshot that a command has made, so that HTTP tells it too. Daemons never delete it.
pub async fn record(client: &Client, store: &str, card: &Card) -> Result<(), Error> {
    let mappings = card.tables.iter().map(|table| table.mapping.clone());
    let kind = card.kind.as_str();
    let options = Options {
        kind: (kind != crate::archive::Kind::Rows.as_str()).then(|| kind.to_owned()),
        mappings: mappings.filter(|_| card.narrowed).collect(),
        by_command: true,
        ..Options::default()
    };
    let options = serde_json::to_value(options).unwrap_or_default();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&card.id, &card.tenant, &store, &options, &files(card), &card.sequence_id];
    client.execute(sql::RECORD_SNAPSHOT, &parameters).await?;
    Ok(())
}

/// Says of snapshots that an operator has deleted them.
pub async fn note_deleted(client: &Client, ids: &[String]) -> Result<(), Error> {
    client.execute(sql::NOTE_SNAPSHOTS_DELETED, &[&ids]).await?;
    Ok(())
}
