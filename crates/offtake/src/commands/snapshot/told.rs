//! What is told of snapshots, and of what went wrong with one.

use offtake_jobs::archive::Kind;
use offtake_jobs::snapshots::{Card, Error};
use offtake_jobs::stores::Trouble;
use offtake_mapping::foreign;
use offtake_postgres::{SourcePool, chain};
use serde_json::{Value, json};

use crate::commands::store_trouble;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// Why a snapshot may not take as long as it likes.
pub(super) const HOLDS_BACK_VACUUM: &str =
    "a snapshot holds back vacuum at the source for as long as it reads";

/// Why a unique constraint refuses rows that are as the snapshot has them in the end.
pub(super) const ONE_AFTER_THE_OTHER: &str = "rows are written one after the other, so rows that \
    exchange their values stand in each other's way unless that constraint is deferrable";

/// The failure for what could not be done, with the other side's own words.
pub(super) fn failure(what: impl Into<String>, error: &Error) -> Failure {
    let what = what.into();
    match error {
        Error::Source(error) => Failure::of_source(&what, error),
        Error::Query(_) => Failure::new(Exit::Failed, what)
            .because(chain(error))
            .of_class("mapping", error.sqlstate())
            .remedy("run it again when the query runs: see `offtake check --connect`"),
        Error::Store(error) => {
            let class = error.trouble.as_str();
            let failure =
                |exit| Failure::new(exit, &what).because(error.to_string()).of_class(class, None);
            match error.trouble {
                Trouble::Full => failure(Exit::Failed).remedy(
                    "make room, for example by `offtake snapshot forget`, and run it again",
                ),
                Trouble::Denied
                | Trouble::NoBucket
                | Trouble::Throttled
                | Trouble::Unreachable
                | Trouble::Unavailable => store_trouble::failure(&what, error),
                Trouble::Missing | Trouble::Exists => failure(Exit::Failed)
                    .remedy("see `offtake snapshot list --all` for what is there"),
            }
        }
        Error::NoSpace { .. } => Failure::new(Exit::Failed, what)
            .because(chain(error))
            .remedy("make room, for example by `offtake snapshot forget`, and run it again"),
        Error::Empty => Failure::new(Exit::Failed, what).because(chain(error)).remedy(
            "see `offtake preview` for how the source spells the tenant, or add --allow-empty",
        ),
        Error::Broken => Failure::new(Exit::Failed, what)
            .because(chain(error))
            .remedy("run it again when no table of the mappings is truncated or altered"),
        Error::TooLong(_) => Failure::new(Exit::Failed, what)
            .because(chain(error))
            .because(HOLDS_BACK_VACUUM)
            .remedy(
                "raise snapshots.max_duration, or name fewer mappings with --mapping; `offtake export \
                 create` writes the rows as files in short snapshots",
            ),
        Error::Refused { .. } | Error::Changed { .. } => Failure::new(Exit::Failed, what)
            .because(chain(error))
            .because("nothing was written anywhere")
            .remedy("use another snapshot of this tenant, and look who can write to the store"),
        Error::Own(_) | Error::Writer(_) | Error::Lost | Error::Cancelled => {
            Failure::new(Exit::Failed, what).because(chain(error))
        }
    }
}

/// A snapshot as JSON, as programs are told.
pub(super) fn json(card: &Card) -> Value {
    json!({
        "id": card.id,
        "tenant": card.tenant,
        "kind": card.kind.as_str(),
        "created_at": card.created_at.to_string(),
        "epoch": card.epoch,
        "sequence_id": card.sequence_id.to_string(),
        "complete": true,
        "narrowed": card.narrowed,
        "size": card.size.to_string(),
        "sha256": card.sha256,
        "rows": card.rows.to_string(),
        "bytes": card.bytes.to_string(),
        "tables": card.tables.iter().map(|table| {
            json!({ "mapping": table.mapping, "rows": table.rows.to_string() })
        }).collect::<Vec<_>>(),
    })
}

/// What a snapshot lacks that it was not asked to have.
pub(super) fn left_out(card: &Card) -> Option<&'static str> {
    card.narrowed.then_some(match card.kind {
        Kind::Rows => "not all mappings",
        Kind::Source => "not all tables",
    })
}

/// One line for a person: what a snapshot has.
pub(super) fn summary(card: &Card) -> String {
    let narrowed = left_out(card).map(|what| format!(" ({what})")).unwrap_or_default();
    format!(
        "{}: {} tables of {}{narrowed}, {} rows, {} in the store, sequence id {}",
        foreign(&card.id),
        card.tables.len(),
        foreign(&card.tenant),
        card.rows,
        size(card.size),
        card.sequence_id
    )
}

/// Counts rows that a restore has added, changed and deleted, for the metrics of the daemons. The
/// restore is done, whether it is counted or not.
pub(super) async fn count(pool: &SourcePool, rows: [u64; 3]) {
    let [added, changed, deleted] = rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
    let Ok(source) = pool.get().await else { return };
    let _ = source.execute(sql::COUNT_RESTORED, &[&added, &changed, &deleted]).await;
}

/// `812 B`, `3.4 KiB`, `21.0 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut number = bytes as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{number:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, expect) in
            [(0, "0 B"), (1023, "1023 B"), (3482, "3.4 KiB"), (22_020_096, "21.0 MiB")]
        {
            assert_eq!(size(bytes), expect);
        }
    }
}
