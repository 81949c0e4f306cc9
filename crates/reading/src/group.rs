//! Reading for many tenants at once: what [`read_batch`](crate::read_batch) reads of each, in one
//! snapshot and by a few statements.
//!
//! Only what is simple is read so: the rows of a few changed keys. A tenant of whom there is more to
//! read, or whose rows cannot be computed, is left to be read alone.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{self, TenantKeys};
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{PipelinedTransaction, PooledConnection, SourcePool};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::copy::{saved_copy, saved_select};
use crate::durable::end_durably;
use crate::rows::unescape;
use crate::snapshot::{age, opening};
use crate::{Batch, Chunk, Error, Part, Rows, sql};

/// A tenant with more changes of one mapping is read alone.
pub const GROUP_CHANGES_MAX: usize = 50;
const MEMBER_CHANGES_MAX: i64 = GROUP_CHANGES_MAX as i64;

/// A tenant with more rows of one mapping is copied alone.
const MEMBER_ROWS_MAX: usize = 500;

/// What to read for many tenants.
pub struct WantedOfGroup<'a> {
    pub members: &'a [Member<'a>],
    pub mappings: &'a [Arc<ResolvedMapping>],
    /// All rows are read, as one chunk of each mapping, and not only those that changed.
    pub whole: bool,
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
    let opened = open(
        connection,
        sql::READ_GROUP_BOUNDS,
        wanted.members,
        wanted.mappings,
        wanted.statement_timeout,
    );
    let (transaction, bounds) = opened.await?;
    let Some(first) = bounds.first() else { return Ok(Vec::new()) };
    let unflushed: Option<&str> = first.get("unflushed");
    let of_members = wanted.members.iter().zip(bounds.chunks(wanted.mappings.len()));
    let mut batches: Vec<_> =
        of_members.map(|(member, bounds)| found(wanted, member, bounds)).collect();
    let mut bytes = 0;
    if wanted.whole {
        read_whole(&transaction, wanted, &mut batches).await?;
    }
    let changes = if wanted.whole { &[][..] } else { wanted.mappings };
    for (at, mapping) in changes.iter().enumerate() {
        let bounds = bounds.iter().skip(at).step_by(wanted.mappings.len());
        let (members, keys) = to_read(wanted.members, bounds, &batches);
        if keys.is_empty() {
            continue;
        }
        let asked = with_tenant(mapping);
        let statement = compose::select_keys_of_tenants(&asked, &keys);
        let tenants: Vec<&str> = keys.iter().map(|of| of.tenant_id).collect();
        let printed = Printed::of(mapping, &tenants, 1);
        let left = wanted.bytes_max.saturating_sub(bytes);
        let lines = lines_of(&transaction, mapping, &statement, printed, left).await?;
        for (member, lines) in members.into_iter().zip(lines) {
            let Some(lines) = lines else {
                batches[member] = None;
                continue;
            };
            bytes += lines.len();
            if let Some(batch) = &mut batches[member] {
                batch.parts[at].changed = Rows::new(lines);
            }
        }
    }
    if let Some(unflushed) = unflushed {
        end_durably(transaction, unflushed).await.map_err(Error::source)?;
    }
    Ok(batches)
}

/// Opens the snapshot and asks it, by `bounds`, what there is to read: one row per member and
/// mapping, in their order.
pub(crate) async fn open<'c>(
    connection: &'c mut PooledConnection,
    bounds: &str,
    members: &[Member<'_>],
    mappings: &[Arc<ResolvedMapping>],
    statement_timeout: Duration,
) -> Result<(PipelinedTransaction<'c>, Vec<Row>), Error> {
    let bounds = connection.prepare_cached(bounds).await.map_err(Error::source)?;
    let tables: Vec<String> = mappings.iter().map(|m| m.source_table()).collect();
    let (mut of_tenants, mut of_tables, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        for (table, position) in tables.iter().zip(&member.after) {
            of_tenants.push(member.tenant_id);
            of_tables.push(table.as_str());
            after.push(*position);
        }
    }
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&of_tenants, &of_tables, &after, &MEMBER_CHANGES_MAX, &PARTITION_ROWS];
    let find = async |session: &PooledConnection| session.query(&bounds, &parameters).await;
    // Planned for each group, which takes a millisecond of hundreds of tenants. A plan that the
    // session keeps from a moment when the log was empty reads all of the log for each of them.
    let opening = opening(statement_timeout) + "; set local plan_cache_mode = force_custom_plan";
    PipelinedTransaction::open(connection, &opening, find).await.map_err(Error::source)
}

/// Whether the bounds say of a member and a mapping that there are only a few changed keys.
pub(crate) fn simple(bounds: &Row) -> bool {
    !bounds.get::<_, bool>("lost")
        && !bounds.get::<_, Option<bool>>("whole_table").unwrap_or(false)
        && bounds.get::<_, i64>("changes") <= MEMBER_CHANGES_MAX
}

/// Which members have keys of a mapping, and which keys. `bounds`: what is said of the mapping for
/// each member; `read`: None for a member that is to be read alone.
pub(crate) fn to_read<'a, T>(
    members: &'a [Member<'a>],
    bounds: impl Iterator<Item = &'a Row>,
    read: &[Option<T>],
) -> (Vec<usize>, Vec<TenantKeys<'a>>) {
    let all = members.iter().zip(bounds).zip(read).enumerate();
    all.filter_map(|(at, ((member, bounds), read))| {
        read.as_ref()?;
        let keys: Option<&str> = bounds.get("keys");
        Some((at, TenantKeys { tenant_id: member.tenant_id, keys: keys? }))
    })
    .unzip()
}

/// What the bounds say of a member; its rows are not read yet.
fn found(wanted: &WantedOfGroup<'_>, member: &Member<'_>, bounds: &[Row]) -> Option<Batch> {
    let head: i64 = bounds.first()?.get("head");
    let part = |(row, (mapping, after)): (&Row, (&Arc<ResolvedMapping>, &i64))| {
        (wanted.whole || simple(row)).then(|| Part {
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

/// Reads all rows of the members.
async fn read_whole(
    transaction: &Client,
    wanted: &WantedOfGroup<'_>,
    batches: &mut [Option<Batch>],
) -> Result<(), Error> {
    let tenants: Vec<&str> = wanted.members.iter().map(|member| member.tenant_id).collect();
    let mut bytes = 0;
    for (at, mapping) in wanted.mappings.iter().enumerate() {
        // One more shows that there are more.
        let asked = with_tenant(mapping);
        let statement = compose::select_tenants(&asked, &tenants, MEMBER_ROWS_MAX + 1);
        let printed = Printed::of(mapping, &tenants, 0);
        let left = wanted.bytes_max.saturating_sub(bytes);
        let lines = lines_of(transaction, mapping, &statement, printed, left).await?;
        for (lines, batch) in lines.into_iter().zip(batches.iter_mut()) {
            let rows = lines.map(Rows::present_only);
            let Some(rows) = rows.filter(|rows| rows.len() <= MEMBER_ROWS_MAX) else {
                *batch = None;
                continue;
            };
            bytes += rows.bytes();
            if let Some(batch) = batch {
                batch.parts[at].chunk = Some(Chunk { rows, after: None, up_to: None });
            }
        }
    }
    Ok(())
}

/// The mapping in the form whose rows name their tenant.
fn with_tenant(mapping: &ResolvedMapping) -> Cow<'_, ResolvedMapping> {
    match mapping.definition.target.keep_tenant {
        true => Cow::Borrowed(mapping),
        false => Cow::Owned(mapping.for_shared()),
    }
}

/// Where the tenant of a line is printed, whose lines are read for several.
#[derive(Clone, Copy)]
pub(crate) struct Printed<'a> {
    pub(crate) tenants: &'a [&'a str],
    /// So many columns stand before the tenant's.
    pub(crate) columns: usize,
    /// The destination's table has the column. Otherwise it is read to be compared only.
    pub(crate) kept: bool,
}

impl<'a> Printed<'a> {
    fn of(mapping: &ResolvedMapping, tenants: &'a [&'a str], columns: usize) -> Self {
        Self { tenants, columns, kept: mapping.definition.target.keep_tenant }
    }
}

/// What a statement selects for each of some tenants, as lines. None: a line of another tenant is
/// among them.
pub(crate) async fn lines_of(
    transaction: &Client,
    mapping: &ResolvedMapping,
    statement: &str,
    printed: Printed<'_>,
    bytes_max: usize,
) -> Result<Vec<Option<Bytes>>, Error> {
    let read = async {
        match saved_select(transaction, statement, bytes_max).await? {
            Some(lines) => Ok(lines),
            // A value is not UTF-8.
            None => saved_copy(transaction, &compose::copied(statement), bytes_max).await,
        }
    };
    let (data, cut) = read.await.map_err(|error| Error::mapping(mapping, error))?;
    if cut {
        return Err(Error::Overflow { fits: 1 });
    }
    Ok(apart(&data, printed))
}

/// Takes lines apart by the number that each begins with, from 1 on, and takes the number off. The
/// tenant of each line is compared, as the last guard: a row goes to the tenant whose it is, and to
/// no other. Where the source prints the tenant in another way there, that tenant is read alone.
fn apart(data: &Bytes, printed: Printed<'_>) -> Vec<Option<Bytes>> {
    let Printed { tenants, columns, kept } = printed;
    let mut all: Vec<Option<BytesMut>> = tenants.iter().map(|_| Some(BytesMut::new())).collect();
    let mut begin = 0;
    for end in memchr::memchr_iter(b'\n', data) {
        let line = &data[begin..=end];
        begin = end + 1;
        let Some(tab) = memchr::memchr(b'\t', line) else { continue };
        let place = std::str::from_utf8(&line[..tab]).ok().and_then(|at| at.parse::<usize>().ok());
        let Some(at) = place.and_then(|place| place.checked_sub(1)) else { continue };
        let (Some(lines), Some(tenant)) = (all.get_mut(at), tenants.get(at)) else { continue };
        let rest = &line[tab + 1..];
        let begins = match columns {
            0 => Some(0),
            n => memchr::memchr_iter(b'\t', rest).nth(n - 1).map(|tab| tab + 1),
        };
        let Some(begins) = begins else {
            *lines = None;
            continue;
        };
        let after = &rest[begins..];
        let length = memchr::memchr2(b'\t', b'\n', after).unwrap_or(after.len());
        let same = unescape(&after[..length]).is_some_and(|printed| printed == **tenant);
        match lines {
            Some(lines) if same && kept => lines.extend_from_slice(rest),
            Some(lines) if same => {
                lines.extend_from_slice(&rest[..begins]);
                lines.extend_from_slice(after.get(length + 1..).unwrap_or_default());
            }
            _ => *lines = None,
        }
    }
    all.into_iter().map(|lines| lines.map(BytesMut::freeze)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_tenant_whose_number_they_have() {
        let data = Bytes::from_static(b"1\tt\ta\\tb\t1\n3\tt\tc\t1\n3\tf\tc\t2\n");
        let tenants = ["a\tb", "b", "c"];
        let lines = apart(&data, Printed { tenants: &tenants, columns: 1, kept: true });
        let first = Bytes::from_static(b"t\ta\\tb\t1\n");
        let third = Bytes::from_static(b"t\tc\t1\nf\tc\t2\n");
        assert_eq!(lines, [Some(first), Some(Bytes::new()), Some(third)]);
    }

    #[test]
    fn a_tenant_that_its_table_does_not_name_is_compared_and_taken_out() {
        let data = Bytes::from_static(b"1\tt\ta\t1\tx\n2\tf\tb\t2\t\\N\n2\tt\ta\t3\ty\n");
        let (tenants, columns) = (["a", "b"], 1);
        let lines = apart(&data, Printed { tenants: &tenants, columns, kept: false });
        let first = Bytes::from_static(b"t\t1\tx\n");
        assert_eq!(lines, [Some(first), None]);
    }

    #[test]
    fn a_line_of_another_tenant_leaves_its_reader_alone() {
        let data = Bytes::from_static(b"1\ta\t1\n2\ta\t2\n2\tb\t3\n3\t\\N\t4\n");
        let tenants = ["a", "b", "c"];
        let lines = apart(&data, Printed { tenants: &tenants, columns: 0, kept: true });
        assert_eq!(lines, [Some(Bytes::from_static(b"a\t1\n")), None, None]);
    }
}
