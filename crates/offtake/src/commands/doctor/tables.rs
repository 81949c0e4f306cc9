//! Offtake's own tables at the source: size, rows that vacuum has left, and a log beyond retention.

use offtake_admin::moment;
use tokio_postgres::Error;

use super::{Finding, Patient};
use crate::sql;

/// The sequencer vacuums the captured changes after every 20 000; so many dead rows mean that it
/// does not, or that something holds it back.
const DEAD_ROWS_MAX: i64 = 100_000;

/// A week of 200 changes a second is some 20 GB of log.
const BYTES_MAX: i64 = 50_000_000_000;

pub(super) async fn examine(
    patient: &Patient<'_>,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let mut total = 0;
    for row in patient.source.query(sql::LIST_OWN_TABLES, &[]).await? {
        let name: &str = row.get("name");
        let (live, dead): (i64, i64) = (row.get("live_rows"), row.get("dead_rows"));
        total += row.get::<_, i64>("bytes");
        if dead > DEAD_ROWS_MAX && dead > live {
            findings.push(Finding::warning(
                "dead_rows",
                format!("offtake.{name} has {dead} dead rows and {live} live ones"),
                "every look at the table reads past them: changes arrive later and later",
                format!(
                    "see that no finding says what holds back vacuum, then run: \
                     vacuum offtake.{name};"
                ),
            ));
        }
        if row.get("without_autovacuum") {
            findings.push(Finding::warning(
                "autovacuum",
                format!("autovacuum is switched off for offtake.{name}"),
                "the table grows with every change, and gets slow",
                format!("run: alter table offtake.{name} reset (autovacuum_enabled);"),
            ));
        }
    }
    if total > BYTES_MAX {
        findings.push(Finding::note(
            "size",
            format!("the schema offtake has {} GB", total / 1_000_000_000),
            "it fills the source's disk",
            "lower retention.changes in offtake.yaml; a daemon then drops old partitions of the log",
        ));
    }
    overdue(patient, findings).await
}

async fn overdue(patient: &Patient<'_>, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let retention = patient.context.configuration.retention.changes.as_millis();
    let retention = i64::try_from(retention).unwrap_or(i64::MAX / 4);
    let rows = patient.source.query(sql::LIST_OVERDUE_PARTITIONS, &[&retention]).await?;
    let Some(oldest) = rows.first() else { return Ok(()) };
    let partition: i64 = oldest.get("partition");
    let since = moment::required(oldest, "sequenced_at");
    findings.push(Finding::warning(
        "log_overdue",
        format!(
            "{} partition(s) of the change log are older than twice retention.changes; the newest \
             change of offtake.change_log_{partition} is of {}",
            rows.len(),
            since.strftime("%Y-%m-%d"),
        ),
        "the log fills the source's disk",
        "see that a daemon runs and that `offtake fuse list` shows no fuse of the sequencer that \
         is off; a daemon drops them by itself",
    ));
    Ok(())
}
