//! How many rows of a mapping one change of another table refreshes, at most.

use offtake_mapping::compose::sample_dependants;
use offtake_mapping::{Condition, Waking};
use serde::Serialize;
use tokio_postgres::Client;

use crate::checks::planner::explain;
use crate::sql;

/// A table with fewer rows is counted, which takes well below a second. For larger tables, the
/// planner's estimate is taken.
const COUNTED_ROWS_MAX: f64 = 1_000_000.0;

#[derive(Debug, Serialize)]
pub(super) struct RefreshedRows {
    /// None where the planner has no statistics of the table yet.
    pub(super) rows_at_most: Option<i64>,
    /// It is the planner's estimate.
    pub(super) estimated: bool,
    /// It was counted just now, and no unique index keeps it from growing.
    pub(super) counted: bool,
}

impl RefreshedRows {
    /// A change of the mapping's own table refreshes its row.
    pub(super) const ONE: Self = Self { rows_at_most: Some(1), estimated: false, counted: false };

    fn estimate(rows_at_most: Option<i64>) -> Self {
        Self { rows_at_most, estimated: true, counted: false }
    }

    /// Finds it out at the source.
    pub(super) async fn ask(
        source: &Client,
        waking: &Waking,
    ) -> Result<Self, tokio_postgres::Error> {
        let definition = &waking.mapping.definition;
        let from = definition.source.table.sql();
        let pairs = match &waking.dependency.condition {
            Condition::Match(pairs) if *waking.searched_table() == definition.source.table => pairs,
            Condition::Match(_) | Condition::Where(_) => {
                let plan = explain(source, "", &sample_dependants(waking), "").await?;
                return Ok(Self::estimate(plan[0]["Plan"]["Plan Rows"].as_i64()));
            }
        };
        let columns: Vec<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
        let row = source.query_one(sql::BOUND_WOKEN_ROWS, &[&from, &columns]).await?;
        if row.get("unique_key") {
            return Ok(Self::ONE);
        }
        if row.get::<_, f64>("rows") > COUNTED_ROWS_MAX {
            let often = row.get::<_, Option<f64>>("often");
            #[allow(clippy::cast_possible_truncation)] // A number of rows.
            return Ok(Self::estimate(often.map(|often| often.ceil() as i64)));
        }
        let grouped: Vec<String> = pairs.iter().map(|(ours, _)| ours.sql()).collect();
        let present: Vec<String> =
            grouped.iter().map(|column| format!("{column} is not null")).collect();
        let (present, grouped) = (present.join(" and "), grouped.join(", "));
        let counts = format!("select count(*) as n from {from} where {present} group by {grouped}");
        let count = format!("select coalesce(max(n), 0) from ({counts}) counts");
        let most = source.query_one(&count, &[]).await?.get(0);
        Ok(Self { rows_at_most: Some(most), estimated: false, counted: true })
    }
}
