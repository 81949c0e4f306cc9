//! A comparison that an operator asked for counts as an audit where it found a copy equal.

use offtake_mapping::ResolvedMapping;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::destinations::{DestinationSpec, Session};
use crate::sql;
use crate::verify::Report;

/// When a comparison begins, by the source's clock. None: the source does not say, and the
/// comparison will.
pub async fn begun(source: &Client) -> Option<String> {
    source.query_one("select clock_timestamp()::text", &[]).await.ok()?.get(0)
}

/// Notes that a comparison found a copy equal to its query: the status and the tenant are told as
/// after an audit, and what an audit found before is over. One that found differences notes
/// nothing: the operator knows of them.
///
/// Nothing is noted where the copy there is of another version than the mapping that was compared,
/// or where the role may only read. The operator has the answer all the same.
pub async fn note_equal(
    source: &Client,
    session: &Session,
    spec: &DestinationSpec,
    mapping: &ResolvedMapping,
    (report, began): (&Report, Option<&str>),
) {
    let Some(began) = began.filter(|_| report.equal()) else { return };
    let stands = match session.cursors(&spec.tenant_id).await {
        Ok(cursors) => cursors.get(mapping.name()).is_some_and(|cursor| cursor.is_of(mapping)),
        Err(_) => false,
    };
    if !stands {
        return;
    }
    let name = mapping.name();
    let parameters: [&(dyn ToSql + Sync); 4] = [&spec.tenant_id, &spec.name, &name, &began];
    if let Err(error) = source.execute(sql::NOTE_VERIFIED, &parameters).await {
        tracing::debug!(event = "verified_unnoted", %error, "the source was not told");
    }
}
