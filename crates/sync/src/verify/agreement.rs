//! Whether `source.tenant` and the query's `tenant_id` name the same tenant, and whether the query's
//! keys are those of the source table, on all rows.

use offtake_mapping::compose::postgres::{Compared, compare_tenants};
use offtake_postgres::unreadable_row;
use tokio_postgres::Client;

use super::{Error, Report, VerifyTarget};

/// Adds to the report what the source says. Inside the source's transaction.
pub(super) async fn add(
    source: &Client,
    target: &VerifyTarget<'_>,
    mut report: Report,
) -> Result<Report, Error> {
    let statement = compare_tenants(target.mapping, target.tenant_id, Compared::All);
    let row = match source.query_one(&statement, &[]).await {
        Ok(row) => row,
        // The rule cannot be computed for a row, and then every tenant looks at it again.
        Err(error) if unreadable_row(&error) => return Ok(report),
        Err(error) => return Err(Error::source(error)),
    };
    report.disagreements = u64::try_from(row.get::<_, i64>("differing")).unwrap_or_default();
    let key: Option<String> = row.get("example");
    report.disagreement = key.and_then(|key| serde_json::from_str(&key).ok());
    Ok(report)
}
