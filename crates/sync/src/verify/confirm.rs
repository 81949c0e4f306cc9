//! The second look: which of the differences are the copy's, and which are only changes on their
//! way.

use std::collections::HashSet;
use std::time::Instant;

use offtake_mapping::literal;
use tokio_postgres::Row;

use super::ranges::Comparison;
use super::statement::{Key, Of, Range};
use super::{Error, Kind};

/// So many rows are looked at again by their keys; of more, the whole range is read again.
const KEYS_MAX: usize = 200;

/// More changes than this within one look are not read: every key may be among them.
const CHANGES_MAX: usize = 100_000;

/// The keys that changed since a position of the log.
enum Changed {
    Keys(HashSet<Key>),
    /// A whole table changed, or too much to tell.
    Any,
}

impl Comparison<'_> {
    /// Of keys that differed at first sight, those that differ for good. The others turned out
    /// equal, or count as unsettled.
    pub(super) async fn confirm(
        &mut self,
        range: &Range,
        suspects: Vec<Key>,
    ) -> Result<Vec<(Key, Kind)>, Error> {
        if self.options.made_once {
            return self.confirm_at_once(range, suspects).await;
        }
        let began = Instant::now();
        let deadline = began + self.patience;
        let mut confirmed = Vec::new();
        let mut open: HashSet<Key> = suspects.into_iter().collect();
        while !open.is_empty() {
            let position = self.log_head().await?;
            let of = if open.len() <= KEYS_MAX {
                Of::Keys(open.iter().cloned().collect())
            } else {
                Of::Everything
            };
            let before = self.source.rows(range, &of, |key| open.contains(key)).await?;
            self.refuse_duplicates(&before)?;
            if !self.destination_catches_up(deadline).await? {
                break;
            }
            let here = self.destination.rows(range, &of, |key| open.contains(key)).await?;
            let after = self.source.rows(range, &of, |key| open.contains(key)).await?;
            if !self.all_sequenced(deadline).await? {
                break;
            }
            let changed = self.changed_since(position).await?;
            open.retain(|key| {
                let (before, here, after) = (before.get(key), here.get(key), after.get(key));
                if here == before || here == after {
                    return false;
                }
                if before != after || changed.contains(key) {
                    return true;
                }
                confirmed.push((key.clone(), kind_of(before.is_some(), here.is_some())));
                false
            });
            if Instant::now() >= deadline {
                break;
            }
        }
        if !open.is_empty() {
            self.patience = self.patience.saturating_sub(began.elapsed());
        }
        self.report.unsettled += open.len() as u64;
        confirmed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(confirmed)
    }

    /// The second look at a copy that nothing keeps in step. A row that changes at the source while
    /// it is looked at cannot be judged.
    async fn confirm_at_once(
        &mut self,
        range: &Range,
        suspects: Vec<Key>,
    ) -> Result<Vec<(Key, Kind)>, Error> {
        let of = match suspects.len() <= KEYS_MAX {
            true => Of::Keys(suspects.clone()),
            false => Of::Everything,
        };
        let suspects: HashSet<Key> = suspects.into_iter().collect();
        let before = self.source.rows(range, &of, |key| suspects.contains(key)).await?;
        self.refuse_duplicates(&before)?;
        let here = self.destination.rows(range, &of, |key| suspects.contains(key)).await?;
        let after = self.source.rows(range, &of, |key| suspects.contains(key)).await?;
        let mut confirmed = Vec::new();
        for key in suspects {
            let (before, here, after) = (before.get(&key), here.get(&key), after.get(&key));
            if here == before || here == after {
                continue;
            }
            match before == after {
                true => confirmed.push((key, kind_of(before.is_some(), here.is_some()))),
                false => self.report.unsettled += 1,
            }
        }
        confirmed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(confirmed)
    }

    /// Waits until the destination has applied everything that was committed when it was called;
    /// false if that does not happen in time.
    async fn destination_catches_up(&self, deadline: Instant) -> Result<bool, Error> {
        if !self.all_sequenced(deadline).await? {
            return Ok(false);
        }
        let wanted = self.log_head().await?;
        loop {
            match self.destination.passed(self.target, wanted).await? {
                None => return Ok(false),
                Some(true) => return Ok(true),
                Some(false) => {}
            }
            if !self.may_wait(deadline).await? {
                return Ok(false);
            }
        }
    }

    /// Waits until every change captured before now has its sequence id; false if that does not
    /// happen in time.
    async fn all_sequenced(&self, deadline: Instant) -> Result<bool, Error> {
        let now = self.source.query("select clock_timestamp()::text").await?;
        let now = now.first().map_or(Ok(String::new()), |row| self.source.text(row, 0))?;
        let older = format!(
            "select exists (select from offtake.captured_change where captured_at <= {}::timestamptz)",
            literal(&now)
        );
        loop {
            if !self.source.query(&older).await?.first().is_some_and(|row| row.get(0)) {
                return Ok(true);
            }
            if !self.may_wait(deadline).await? {
                return Ok(false);
            }
        }
    }

    /// The newest sequence id that concerns the tenant's rows of this mapping; 0 if there is none.
    async fn log_head(&self) -> Result<i64, Error> {
        let newest = |of: &str| {
            format!(
                "(select sequence_id from offtake.change_log where {of} and source_table = {} order by sequence_id desc limit 1)",
                literal(&self.target.mapping.source_table())
            )
        };
        let [own, anyones] = self.log_tenants();
        let sql = format!("select coalesce(greatest({}, {}), 0)", newest(&own), newest(&anyones));
        Ok(self.source.query(&sql).await?.first().map_or(0, |row| row.get(0)))
    }

    async fn changed_since(&self, position: i64) -> Result<Changed, Error> {
        let key = self.target.mapping.key.iter();
        let columns: Vec<String> =
            key.map(|k| format!("k.row_key ->> {}", literal(k.source_column.as_str()))).collect();
        let since = |of: &str| {
            let of = format!(
                "where k.{of} and k.source_table = {} and k.sequence_id > {position}",
                literal(&self.target.mapping.source_table())
            );
            let listed = "from (select l.tenant_id, l.source_table, l.sequence_id as last, one.* from offtake.change_log l \
                          cross join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) one where l.key_count is not null) k";
            let (columns, limit) = (columns.join(", "), CHANGES_MAX + 1);
            format!(
                "(select {columns} from offtake.change_log k {of} and k.key_count is null limit {limit}) \
                 union all (select {columns} {listed} {of} and k.last > {position} limit {limit})"
            )
        };
        let [own, anyones] = self.log_tenants();
        let rows =
            self.source.query(&format!("{} union all {}", since(&own), since(&anyones))).await?;
        if rows.len() > CHANGES_MAX {
            return Ok(Changed::Any);
        }
        let key = |row: &Row| -> Option<Key> {
            (0..row.len()).map(|i| row.get::<_, Option<String>>(i)).collect()
        };
        Ok(rows.iter().map(key).collect::<Option<_>>().map_or(Changed::Any, Changed::Keys))
    }

    fn log_tenants(&self) -> [String; 2] {
        [
            format!("tenant_id = {}", literal(self.target.tenant_at_source)),
            "tenant_id is null".to_owned(),
        ]
    }

    /// False once the time is over.
    async fn may_wait(&self, deadline: Instant) -> Result<bool, Error> {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        // Without a transaction: its locks would keep an application from altering its tables.
        self.renew(self.reader.look_again_after()).await.map(|()| true)
    }
}

fn kind_of(at_source: bool, at_destination: bool) -> Kind {
    match (at_source, at_destination) {
        (true, false) => Kind::Missing,
        (false, _) => Kind::Extra,
        (true, true) => Kind::Different,
    }
}

impl Changed {
    fn contains(&self, key: &Key) -> bool {
        match self {
            Self::Any => true,
            Self::Keys(keys) => keys.contains(key),
        }
    }
}
