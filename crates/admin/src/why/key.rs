//! The story of one key: captured, numbered, owed, written or refused.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::cause::{self, Cause, Facts, WaitsFor};
use super::{Asked, Kind, Subject, SubjectMapping};
use crate::status::Long;
use crate::{Error, moment, sql};

#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyStory {
    pub mapping: String,
    pub source_table: String,
    /// As the change log has it.
    #[schemars(with = "Map<String, Value>")]
    pub key: Value,
    pub waits_for: WaitsFor,
    /// When a change of it was captured that has no sequence id yet; null: there is none.
    pub pending_captured_at: Option<Timestamp>,
    /// Captured changes of other tables that are not numbered yet and may concern the key.
    pub pending_of_other_tables: Long,
    /// Its newest numbered change; null: none is among those that were looked at.
    pub change: Option<Change>,
    /// The newest change of the whole table, which concerns every key.
    pub whole_table: Option<Change>,
    /// How many changes of the tenant in this table were looked at, the newest first, and when the
    /// oldest of these was numbered.
    pub changes_looked_at: Long,
    pub looked_back_to: Option<Timestamp>,
    /// The mapping's cursor.
    pub cursor: Option<Long>,
    /// The cursor has passed every change of it that is known.
    pub applied: bool,
    /// Why it is refused; null: it is not.
    pub refused: Option<Refused>,
    /// How the row compares; null where it was not compared.
    pub row: Option<Row>,
}

/// A numbered change.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Change {
    pub sequence_id: Long,
    /// The key left the tenant or the table.
    pub deleted: bool,
    /// It concerns every tenant.
    pub of_every_tenant: bool,
    pub captured_at: Timestamp,
    pub numbered_at: Timestamp,
}

/// What a destination or a receiver answered to the key's row.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Refused {
    pub sqlstate: Option<String>,
    pub status: Option<i32>,
    pub error: String,
    pub attempts: i32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// Null: no attempt is left.
    pub retry_at: Option<Timestamp>,
}

/// The row on both sides, without its values.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The mapping's query gives a row for the key.
    pub at_source: Option<bool>,
    pub at_destination: Option<bool>,
    pub equal: Option<bool>,
    /// Why it could not be compared.
    pub error: Option<String>,
}

/// Whose quarantine is looked into: one of them is set.
#[derive(Clone, Copy)]
pub(super) struct Whose {
    pub(super) destination: Option<i64>,
    pub(super) webhook: Option<i64>,
}

/// The names of the key's columns of a tenant's mapping, as the newest changes have them. Empty: the
/// log has none.
pub async fn key_columns(
    source: &Client,
    tenant: &str,
    mapping: &str,
) -> Result<Vec<String>, Error> {
    let row = source.query_opt(sql::READ_KEY_COLUMNS, &[&tenant, &mapping]).await?;
    Ok(row.map(|row| row.get("columns")).unwrap_or_default())
}

/// The story of the key that is asked for; None where none is.
pub(super) async fn tell(
    source: &Client,
    asked: &Asked<'_>,
    tenant_at_source: &str,
    whose: Whose,
    subject: &Subject,
    facts: &Facts<'_>,
) -> Result<Option<KeyStory>, Error> {
    let (Some(name), Some(key)) = (asked.mapping, asked.key) else { return Ok(None) };
    let Some(mapping) = subject.mappings.iter().find(|m| m.name == name) else { return Ok(None) };
    let Some(table) = &mapping.source_table else { return Ok(None) };
    let parameters: [&(dyn ToSql + Sync); 3] = [&tenant_at_source, table, key];
    let pending = source.query_one(sql::FIND_PENDING_CHANGES, &parameters).await?;
    let (mut change, mut whole_table) = (None, None);
    let (mut looked_at, mut looked_back_to) = (0, None);
    for row in source.query(sql::FIND_KEY_CHANGES, &parameters).await? {
        looked_at = row.get("changes");
        looked_back_to = moment::optional(&row, "since");
        let Some(sequence_id) = row.get::<_, Option<i64>>("sequence_id") else { continue };
        let found = Change {
            sequence_id: Long(sequence_id),
            deleted: row.get("deleted"),
            of_every_tenant: row.get("of_every_tenant"),
            captured_at: moment::required(&row, "captured_at"),
            numbered_at: moment::required(&row, "sequenced_at"),
        };
        match row.get("whole_table") {
            true => whole_table = Some(found),
            false => change = Some(found),
        }
    }
    let parameters: [&(dyn ToSql + Sync); 4] = [&whose.destination, &whose.webhook, &name, key];
    let refused = source.query_opt(sql::FIND_QUARANTINED, &parameters).await?.map(|row| Refused {
        sqlstate: row.get("sqlstate"),
        status: row.get("status"),
        error: row.get("error"),
        attempts: row.get("attempts"),
        first_failed_at: moment::required(&row, "first_failed_at"),
        last_failed_at: moment::required(&row, "last_failed_at"),
        retry_at: moment::optional(&row, "retry_at"),
    });
    let newest = [&change, &whole_table].into_iter().flatten().map(|c| c.sequence_id).max();
    let mut story = KeyStory {
        mapping: name.to_owned(),
        source_table: table.clone(),
        key: key.clone(),
        waits_for: WaitsFor::nothing(),
        pending_captured_at: moment::optional(&pending, "captured_at"),
        pending_of_other_tables: Long(pending.get("of_others")),
        change,
        whole_table,
        changes_looked_at: Long(looked_at),
        looked_back_to,
        cursor: mapping.sequence_id,
        applied: newest.is_none_or(|newest| mapping.sequence_id >= Some(newest)),
        refused,
        row: None,
    };
    story.waits_for = judge(&story, newest, mapping, subject, facts);
    Ok(Some(story))
}

/// What the key waits for, as far as the source knows.
fn judge(
    story: &KeyStory,
    newest: Option<Long>,
    mapping: &SubjectMapping,
    subject: &Subject,
    facts: &Facts<'_>,
) -> WaitsFor {
    if facts.uncaptured.contains_key(&mapping.name) {
        return cause::uncaptured(&mapping.name, facts);
    }
    if story.pending_captured_at.is_some() {
        return cause::on_its_way(subject, facts, true, 0);
    }
    if let Some(refused) = &story.refused {
        return refusal(refused, subject, mapping, facts);
    }
    let stands = mapping.copied && !mapping.resync_requested && mapping.error.is_none();
    if story.applied && stands {
        return WaitsFor::new(Cause::Nothing, applied(story, subject.kind));
    }
    // What stops or fails all of it stops the key too.
    let on_its_way = ["lagging", "degraded", "in_sync"].contains(&subject.state);
    match (on_its_way, newest) {
        (true, Some(newest)) if !story.applied => {
            cause::on_its_way(subject, facts, false, newest.0)
        }
        _ => subject.waits_for.clone(),
    }
}

fn applied(story: &KeyStory, kind: Kind) -> String {
    let done = match kind {
        Kind::Destination => "applied",
        Kind::Webhook => "told",
    };
    match &story.change {
        Some(change) => format!("its last change, {}, is {done}", change.sequence_id.0),
        None => format!(
            "no change of it is among the {} that the log has of this table, \
             and everything is {done}",
            story.changes_looked_at.0
        ),
    }
}

fn refusal(
    refused: &Refused,
    subject: &Subject,
    mapping: &SubjectMapping,
    facts: &Facts<'_>,
) -> WaitsFor {
    let who = match subject.kind {
        Kind::Destination => "the destination",
        Kind::Webhook => "the receiver",
    };
    let next = match refused.retry_at {
        Some(at) => format!("next at {}", at.strftime("%Y-%m-%d %H:%M:%S UTC")),
        None => "none is left".to_owned(),
    };
    let text =
        format!("{who} refuses it: {} ({} attempts, {next})", refused.error, refused.attempts);
    WaitsFor::new(Cause::Quarantined, text).remedy(cause::retry_quarantined(
        subject,
        &mapping.name,
        facts,
    ))
}

impl KeyStory {
    /// Adds how the row compares, and judges by it where nothing else is waited for.
    pub fn compared(&mut self, tenant: &str, row: Row) {
        if self.waits_for.cause == Cause::Nothing {
            match (row.at_source, row.at_destination, row.equal) {
                (Some(true), Some(true), Some(true)) => {
                    self.waits_for.text.push_str("; the row is there and equal");
                }
                (Some(false), Some(false), _) => self.waits_for.text.push_str(
                    "; the query gives no row for it (a filter or a join leaves it out, it is \
                     another tenant's, or it does not exist), and the destination has none",
                ),
                (Some(there), Some(here), Some(false)) => {
                    let text = match (there, here) {
                        (true, false) => "every change is applied, and the row is not there",
                        (false, true) => {
                            "every change is applied, and a row is there that the query does not give"
                        }
                        _ => "every change is applied, and the row there differs",
                    };
                    self.waits_for = cause::row_differs(text.to_owned(), &self.mapping, tenant);
                }
                _ => {}
            }
        }
        self.row = Some(row);
    }
}
