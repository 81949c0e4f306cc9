//! Rows into the staging table or, by COPY and where nothing can be in their way, into the target.

use bytes::Bytes;
use futures_util::SinkExt;
use offtake_mapping::compose::postgres::Apply;
use offtake_postgres::row_fault;
use offtake_reading::Rows;
use tokio_postgres::{Client, Statement, ToStatement};

use super::apply::{Applier, Bounds, SAVE, classify};
use crate::Error;

/// A message of this size keeps the socket busy without doubling the batch in the connection's
/// buffer.
const COPY_PIECE_BYTES: usize = 256 * 1024;

/// A mapping's staging table in one session: there, and empty.
#[derive(Clone)]
pub(super) struct Staging {
    /// Fills it.
    pub(super) copy: Statement,
    /// What has been staged and deleted since it was last truncated. Autovacuum never cleans a
    /// temporary table.
    pub(super) deleted_bytes: usize,
}

pub(super) async fn make_staging(
    client: &Client,
    apply: &Apply<'_>,
) -> Result<Staging, tokio_postgres::Error> {
    client.batch_execute(&apply.create_staging()).await?;
    Ok(Staging { copy: client.prepare(&apply.copy_into_staging()).await?, deleted_bytes: 0 })
}

impl Applier<'_> {
    /// The statement that fills the staging table with a few lines.
    pub(super) fn stage(&self, rows: &Rows, lines: impl Iterator<Item = usize>) -> String {
        let columns: Vec<usize> = (0..self.mapping.columns.len()).collect();
        let rows: Vec<(bool, Vec<Option<String>>)> = lines
            .map(|line| (rows.present(line..line + 1) == 1, rows.fields(line, &columns)))
            .collect();
        self.apply.stage(rows.iter().map(|(present, row)| (*present, row.as_slice())))
    }

    /// Copies a chunk's rows into the table itself, as the source printed them: less than half the
    /// work of staging them and inserting from there. Returns false, with nothing changed, where
    /// the range has rows already, which these must replace, or where a row is refused and must be
    /// told apart.
    pub(super) async fn fill_range(&self, rows: &Rows, bounds: &Bounds) -> Result<bool, Error> {
        if self.alters || rows.marked() || rows.is_empty() {
            return Ok(false);
        }
        let asked = self.take_end() + &self.apply.count_in_range(bounds.as_range());
        let (_, there) = self.run(&asked).await.map_err(|e| classify(self.mapping, e))?;
        if there != Some(0) {
            return Ok(false);
        }
        let copy = self.apply.copy_into_target();
        let data = rows.slice(0..rows.len());
        let save = self.client.batch_execute(SAVE);
        let (saved, copied) = tokio::join!(biased; save, self.copy_in(copy.as_str(), data));
        saved.map_err(Error::destination)?;
        let checked = match copied {
            Ok(count) if count == rows.len() as u64 => {
                let end = format!("{}; release savepoint stretch", self.checks.statement());
                self.client.batch_execute(&end).await.map(|()| true)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        match checked {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) if row_fault(&error) => {}
            Err(error) => return Err(classify(self.mapping, error)),
        }
        self.rollback().await?;
        Ok(false)
    }

    async fn copy_in<T>(&self, statement: &T, mut data: Bytes) -> Result<u64, tokio_postgres::Error>
    where
        T: ?Sized + ToStatement,
    {
        let sink = self.client.copy_in::<_, Bytes>(statement).await?;
        futures_util::pin_mut!(sink);
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(COPY_PIECE_BYTES));
            sink.feed(piece).await?;
        }
        sink.finish().await
    }

    /// COPY into the staging table.
    pub(super) async fn stage_by_copy(
        &self,
        rows: &Rows,
        data: Bytes,
    ) -> Result<u64, tokio_postgres::Error> {
        match rows.marked() {
            true => self.copy_in(self.copy, data).await,
            false => {
                let copy = self.apply.copy_present_into_staging();
                self.copy_in(copy.as_str(), data).await
            }
        }
    }
}
