//! Whether `source.tenant` and the query's `tenant_id` name the same tenant, and whether the query's
//! keys are those of the source table, on all rows.

use offtake_mapping::compose::postgres::{Compared, compare_tenants};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

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
        Err(error) if error.code().is_some_and(of_a_value) => return Ok(report),
        Err(error) => return Err(Error::source(error)),
    };
    report.disagreements = u64::try_from(row.get::<_, i64>("differing")).unwrap_or_default();
    let key: Option<String> = row.get("example");
    report.disagreement = key.and_then(|key| serde_json::from_str(&key).ok());
    Ok(report)
}

/// Class 22: the value of a row does not fit the rule's expression.
fn of_a_value(code: &SqlState) -> bool {
    code.code().starts_with("22")
}
