//! Stretches of a mapping's rows without the change log, for a copy that is made once: nothing of
//! Offtake's has to be installed at the source. The rows are read as those of an initial copy are.

use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::compose::{self, KeyRange};
use offtake_mapping::{ResolvedMapping, foreign};
use offtake_postgres::{PipelinedTransaction, PooledConnection, SourcePool};
use tokio_postgres::Row;

use crate::budget::BatchBudget;
use crate::snapshot::{opening, read_chunk};
use crate::{ChunkStart, Error, MappingFault, Part, Position, Rows, Wanted};

/// The rows of a tenant that a copy reads next.
pub struct Stretch<'a> {
    pub mapping: &'a Arc<ResolvedMapping>,
    pub tenant_id: &'a str,
    pub range: KeyRange<'a>,
    /// At most so many rows and bytes of them; one row at least.
    pub rows_max: usize,
    pub bytes_max: usize,
    pub statement_timeout: Duration,
}

impl Stretch<'_> {
    /// Opens a snapshot in which the source's `statement` is answered first.
    async fn snapshot<'c>(
        &self,
        connection: &'c mut PooledConnection,
        statement: &str,
    ) -> Result<(PipelinedTransaction<'c>, Vec<Row>), Error> {
        let opening = opening(self.statement_timeout);
        let ask = async |session: &PooledConnection| session.query(statement, &[]).await;
        let opened = PipelinedTransaction::open(connection, &opening, ask).await;
        opened.map_err(|error| Error::mapping(self.mapping, error))
    }
}

/// Reads a stretch from a snapshot of its own, as a part with a chunk. The second value is set when
/// the chunk was cut by its bytes: so many rows of its size fit.
pub async fn read_stretch(
    pool: &SourcePool,
    stretch: &Stretch<'_>,
) -> Result<(Part, Option<usize>), Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let read = async |connection: &mut PooledConnection| {
        let (transaction, _) = stretch.snapshot(connection, "select 1").await?;
        let chunk = Some(ChunkStart::Within(stretch.range));
        let position = Position { mapping: stretch.mapping, after: 0, chunk };
        let mut part = Part {
            mapping: stretch.mapping.clone(),
            read_up_to: 0,
            exhausted: true,
            whole_table: false,
            changed: Rows::default(),
            chunk: None,
            failed: Vec::new(),
            locked_out: false,
            oldest: None,
        };
        let wanted = Wanted {
            tenant_id: stretch.tenant_id,
            positions: &[],
            rows_max: stretch.rows_max,
            chunk_rows_max: stretch.rows_max,
            bytes_max: stretch.bytes_max,
            retry_quarantined_of: None,
            statement_timeout: stretch.statement_timeout,
        };
        let budget = BatchBudget::new(true, stretch.rows_max, stretch.bytes_max);
        let fits = read_chunk(&transaction, &wanted, &position, &mut part, &budget).await?;
        Ok((part, fits))
    };
    connection.uninterrupted(read).await
}

/// The key of the last of the first `rows` rows of a stretch; None: there are no rows behind those.
pub async fn find_end(
    pool: &SourcePool,
    stretch: &Stretch<'_>,
    rows: usize,
) -> Result<Option<Vec<String>>, Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let statement = compose::find_end(stretch.mapping, stretch.tenant_id, stretch.range, rows);
    let find = async |connection: &mut PooledConnection| {
        let (_transaction, found) = stretch.snapshot(connection, &statement).await?;
        let key = |row: &Row| (0..row.len()).map(|at| row.get(at)).collect::<Vec<String>>();
        match &found[..] {
            [end, next] if key(end) == key(next) => {
                let fault = MappingFault::repeated_key(&foreign(&key(end).join(", ")));
                Err(Error::Mapping { mapping: stretch.mapping.name().to_owned(), fault })
            }
            [end, _] => Ok(Some(key(end))),
            _ => Ok(None),
        }
    };
    connection.uninterrupted(find).await
}
