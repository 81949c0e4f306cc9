//! Reading for many tenants at once: what [`read_batch`](crate::read_batch) reads of each, in one
//! snapshot and by a few statements.
//!
//! Only what is simple is read so: the rows of a few changed keys. A tenant of whom there is more to
//! read, or whose rows cannot be computed, is left to be read alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{self, TenantKeys};
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{PipelinedTransaction, PooledConnection, SourcePool};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::copy::saved_copy;
use crate::durable::end_durably;
use crate::snapshot::{age, opening};
use crate::{Batch, Error, Part, Rows, sql};

/// A tenant with more changes of one mapping is read alone.
pub const MEMBER_CHANGES_MAX: i64 = 50;

/// What to read for many tenants.
pub struct WantedOfGroup<'a> {
    pub members: &'a [Member<'a>],
    pub mappings: &'a [Arc<ResolvedMapping>],
    /// More is [`Overflow`](Error::Overflow), to be read again for fewer tenants.
    pub bytes_max: usize,
    pub statement_timeout: Duration,
}

/// How far one tenant has been read.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    pub tenant_id: &'a str,
    /// For each of the mappings: changes with a higher sequence id are read.
    pub after: Vec<i64>,
}

/// Reads a batch for each member, in their order, all in one REPEATABLE READ, READ ONLY transaction,
/// which ends before this returns. Each batch has everything that there is for its tenant. None: the
/// tenant is to be read alone.
///
/// An error concerns one or several of the members; which, the caller finds by reading for fewer.
pub async fn read_group(
    pool: &SourcePool,
    wanted: &WantedOfGroup<'_>,
) -> Result<Vec<Option<Batch>>, Error> {
    // As for one tenant: a caller that is cancelled must not wait for a query.
    pool.get()
        .await
        .map_err(Error::Source)?
        .uninterrupted(async |connection| in_snapshot(connection, wanted).await)
        .await
}

async fn in_snapshot(
    connection: &mut PooledConnection,
    wanted: &WantedOfGroup<'_>,
) -> Result<Vec<Option<Batch>>, Error> {
    let (transaction, bounds) = open(connection, wanted).await?;
    let Some(first) = bounds.first() else { return Ok(Vec::new()) };
    let unflushed: Option<&str> = first.get("unflushed");
    let of_members = wanted.members.iter().zip(bounds.chunks(wanted.mappings.len()));
    let mut batches: Vec<_> =
        of_members.map(|(member, bounds)| found(wanted, member, bounds)).collect();
    let mut bytes = 0;
    for (at, mapping) in wanted.mappings.iter().enumerate() {
        let keys_of = |member: usize| {
            let keys: Option<&str> = bounds[member * wanted.mappings.len() + at].get("keys");
            keys.map(|keys| TenantKeys { tenant_id: wanted.members[member].tenant_id, keys })
        };
        let members: Vec<usize> = (0..batches.len())
            .filter(|member| batches[*member].is_some() && keys_of(*member).is_some())
            .collect();
        let keys: Vec<TenantKeys<'_>> = members.iter().filter_map(|m| keys_of(*m)).collect();
        if keys.is_empty() {
            continue;
        }
        let rows = rows_of(&transaction, mapping, &keys, wanted.bytes_max - bytes).await?;
        for (member, rows) in members.into_iter().zip(rows) {
            bytes += rows.bytes();
            if let Some(batch) = &mut batches[member] {
                batch.parts[at].changed = rows;
            }
        }
    }
    if let Some(unflushed) = unflushed {
        end_durably(transaction, unflushed).await.map_err(Error::source)?;
    }
    Ok(batches)
}

async fn open<'c>(
    connection: &'c mut PooledConnection,
    wanted: &WantedOfGroup<'_>,
) -> Result<(PipelinedTransaction<'c>, Vec<Row>), Error> {
    let bounds = connection.prepare_cached(sql::READ_GROUP_BOUNDS).await.map_err(Error::source)?;
    let tables: Vec<String> = wanted.mappings.iter().map(|m| m.source_table()).collect();
    let (mut of_tenants, mut of_tables, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for member in wanted.members {
        for (table, position) in tables.iter().zip(&member.after) {
            of_tenants.push(member.tenant_id);
            of_tables.push(table.as_str());
            after.push(*position);
        }
    }
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&of_tenants, &of_tables, &after, &MEMBER_CHANGES_MAX, &PARTITION_ROWS];
    let find = async |session: &PooledConnection| session.query(&bounds, &parameters).await;
    let opening = opening(wanted.statement_timeout);
    PipelinedTransaction::open(connection, &opening, find).await.map_err(Error::source)
}

/// What the bounds say of a member; its rows are not read yet.
fn found(wanted: &WantedOfGroup<'_>, member: &Member<'_>, bounds: &[Row]) -> Option<Batch> {
    let head: i64 = bounds.first()?.get("head");
    let part = |(row, (mapping, after)): (&Row, (&Arc<ResolvedMapping>, &i64))| {
        let simple = !row.get::<_, bool>("lost")
            && !row.get::<_, Option<bool>>("whole_table").unwrap_or(false)
            && row.get::<_, i64>("changes") <= MEMBER_CHANGES_MAX;
        simple.then(|| Part {
            mapping: mapping.clone(),
            read_up_to: head.max(*after),
            exhausted: true,
            whole_table: false,
            changed: Rows::default(),
            chunk: None,
            failed: Vec::new(),
            locked_out: false,
            oldest: row.get::<_, Option<f64>>("oldest_seconds").map(age),
        })
    };
    let positions = wanted.mappings.iter().zip(&member.after);
    let parts: Option<Vec<Part>> = bounds.iter().zip(positions).map(part).collect();
    Some(Batch { head, epoch: bounds.first()?.get("epoch"), parts: parts?, fits: None })
}

/// The rows of some keys of each tenant, in the order of the tenants.
async fn rows_of(
    transaction: &Client,
    mapping: &ResolvedMapping,
    tenants: &[TenantKeys<'_>],
    bytes_max: usize,
) -> Result<Vec<Rows>, Error> {
    let statement = compose::copy_keys_of_tenants(mapping, tenants);
    let (data, cut) = saved_copy(transaction, &statement, bytes_max)
        .await
        .map_err(|error| Error::mapping(mapping, error))?;
    if cut {
        return Err(Error::Overflow { fits: 1 });
    }
    Ok(apart(&data, tenants.len()))
}

/// Takes lines apart by the number that each begins with, from 1 on, and takes the number off.
fn apart(data: &Bytes, tenants: usize) -> Vec<Rows> {
    let mut lines = vec![BytesMut::new(); tenants];
    let mut begin = 0;
    for end in memchr::memchr_iter(b'\n', data) {
        let line = &data[begin..=end];
        begin = end + 1;
        let Some(tab) = memchr::memchr(b'\t', line) else { continue };
        let place = std::str::from_utf8(&line[..tab]).ok().and_then(|at| at.parse::<usize>().ok());
        if let Some(of) = place.and_then(|place| lines.get_mut(place.wrapping_sub(1))) {
            of.extend_from_slice(&line[tab + 1..]);
        }
    }
    lines.into_iter().map(|lines| Rows::new(lines.freeze())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_tenant_whose_number_they_have() {
        let data = Bytes::from_static(b"1\tt\ta\t1\n3\tt\tc\t1\n3\tf\tc\t2\n");
        let rows = apart(&data, 3);
        let counts: Vec<_> =
            rows.iter().map(|rows| (rows.len(), rows.present(0..rows.len()))).collect();
        assert_eq!(counts, [(1, 1), (0, 0), (2, 1)]);
        assert_eq!(rows[2].fields(1, &[0, 1]), [Some("c".to_owned()), Some("2".to_owned())]);
    }
}
