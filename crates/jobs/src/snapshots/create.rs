//! Making a snapshot: one transaction at the source, one object in the store, and its card.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use offtake_mapping::compose::KeyRange;
use offtake_mapping::{Identifier, ResolvedMapping};
use offtake_postgres::SourcePool;
use offtake_reading::{HeldSnapshot, Page, PageWanted, Printed, Read, read_head};
use ring::digest::{Context, SHA256};

use super::error::FREE_BYTES_MIN;
use super::{Card, Error, archive_key, card_key};
use crate::archive::{Column, Contents, FOLDER_CHARS_MAX, FORMAT, Kind, Manifest, Table, Writer};
use crate::lease::extend;
use crate::stores::{Existing, Store, Writer as Object};
use crate::{Kind as JobKind, LEASE, Lease, PublicId, sql};

/// A table that is truncated or rewritten while it is read has the snapshot begin again, so often in all.
pub(super) const ATTEMPTS: usize = 3;

/// A page is read by one statement, and its tables are locked for no longer: rows of about a
/// kilobyte fill it.
pub(super) const PAGE_ROWS: usize = 10_000;
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// Before a table is tried again that was locked for half a second.
pub(super) const LOCKED_PAUSE: Duration = Duration::from_millis(200);

/// Between two looks at the free space, which other programs use up too.
const LOOK_BYTES: u64 = 64 << 20;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The server cancels a statement that takes this much longer than a whole snapshot may. The process
/// has given the snapshot up before, and has told why, unless it stands still.
pub(super) const CANCELLED_AFTER: Duration = Duration::from_secs(5);

/// What a snapshot is to be of.
pub struct Asked<'a> {
    pub tenant: &'a str,
    /// In the order of their tables in the archive.
    pub mappings: &'a [Arc<ResolvedMapping>],
    /// There are other mappings, which were not asked for.
    pub narrowed: bool,
    /// A tenant without a row gets a snapshot too.
    pub allow_empty: bool,
    /// The snapshot of the source is held no longer.
    pub max_duration: Duration,
    /// The job that it is made for: its id is the snapshot's, and its lease must last.
    pub job: OfJob<'a>,
}

/// The job that a snapshot is made for, with the lease of the process that makes it.
pub type OfJob<'a> = Option<(&'a PublicId, Lease)>;

/// Makes a snapshot. Until its card is written, at the end, there is none.
pub async fn create(pool: &SourcePool, store: &Store, asked: &Asked<'_>) -> Result<Card, Error> {
    let making = Box::pin(make(pool, store, asked));
    let made = tokio::time::timeout(asked.max_duration, making);
    made.await.unwrap_or(Err(Error::TooLong(asked.max_duration)))
}

/// The history of the source in which sequence ids are given now.
pub async fn epoch(pool: &SourcePool) -> Result<String, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    Ok(read_head(&connection).await?.epoch)
}

async fn make(pool: &SourcePool, store: &Store, asked: &Asked<'_>) -> Result<Card, Error> {
    for _ in 1..ATTEMPTS {
        match attempt(pool, store, asked).await {
            Err(Error::Broken) => {}
            ended => return ended,
        }
    }
    attempt(pool, store, asked).await
}

async fn attempt(pool: &SourcePool, store: &Store, asked: &Asked<'_>) -> Result<Card, Error> {
    look_at_space(store).await?;
    let (read_at, server) = read_moment(pool).await?;
    let limit = asked.max_duration + CANCELLED_AFTER;
    let held = HeldSnapshot::open(pool, asked.mappings, limit).await?;
    let id = match asked.job {
        Some((id, _)) => id.clone(),
        None => PublicId::fresh(JobKind::Snapshot, read_at),
    };
    let contents = contents(&id, asked, (&held, read_at, server));
    let mut out = Out::begin(store, &id).await?;
    let mut writer = Writer::new(&contents)?;
    for mapping in asked.mappings {
        let mut after: Option<Vec<String>> = None;
        loop {
            let page = read_page(&held, asked, mapping, after.as_deref()).await?;
            writer.lines(&page.rows.slice(0..page.rows.len()))?;
            out.put(store, writer.take()).await?;
            after = page.up_to;
            if after.is_none() {
                break;
            }
        }
        writer.end_table()?;
    }
    let unbroken = held.unbroken().await?;
    held.end().await;
    if !unbroken {
        return Err(Error::Broken);
    }
    let schemas = contents.tables.iter().map(|table| schema(quoted(&table.table), table));
    let schemas: Vec<String> = schemas.collect();
    let rest = writer.end(&schemas)?;
    if rest.manifest.rows_total() == 0 && !asked.allow_empty {
        return Err(Error::Empty);
    }
    out.put(store, rest.bytes).await?;
    end((pool, store, asked.job), &id, (&contents, read_at, &rest.manifest), out).await
}

/// The next rows of a mapping. A table that the application has locked is waited for.
async fn read_page(
    held: &HeldSnapshot,
    asked: &Asked<'_>,
    mapping: &Arc<ResolvedMapping>,
    after: Option<&[String]>,
) -> Result<Page, Error> {
    let wanted = PageWanted {
        mapping,
        tenant_id: asked.tenant,
        range: KeyRange::behind(after),
        printed: Printed::Columns,
        rows_max: PAGE_ROWS,
        bytes_max: PAGE_BYTES,
        // The caller ends the whole when `max_duration` is over.
        until: None,
    };
    loop {
        if let Read::Page(page) = held.read(&wanted).await? {
            return Ok(page);
        }
        tokio::time::sleep(LOCKED_PAUSE).await;
    }
}

pub(super) async fn read_moment(pool: &SourcePool) -> Result<(Timestamp, String), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let row = connection.query_one(sql::READ_MOMENT, &[]).await;
    let row = row.map_err(|error| Error::Source(error.into()))?;
    Ok((row.get("read_at"), row.get("server")))
}

/// Names the archive, and then its card. Where the card cannot be written, there is no snapshot.
pub(super) async fn end(
    (pool, store, job): (&SourcePool, &Store, OfJob<'_>),
    id: &PublicId,
    (contents, created_at, manifest): (&Contents, Timestamp, &Manifest),
    out: Out,
) -> Result<Card, Error> {
    let (object, told) = out.end();
    expect_lease(pool, job).await?;
    object.finish(Existing::Keep).await?;
    offtake_loops::failpoint("snapshot.before_card").await.map_err(Error::Source)?;
    expect_lease(pool, job).await?;
    offtake_loops::failpoint("snapshot.naming_card").await.map_err(Error::Source)?;
    let card = Card::new(contents, created_at, manifest, told);
    let json = serde_json::to_vec_pretty(&card).map_err(crate::archive::WriterError::from)?;
    let mut written = store.writer(&card_key(id)).await?;
    written.write(json.into()).await?;
    written.finish(Existing::Keep).await?;
    // An operator may have deleted it as one that was not written to its end.
    if store.size(&archive_key(id)).await? != Some(card.size) {
        store.delete(&card_key(id)).await?;
        return Err(Error::Changed { id: id.to_string(), what: "it was deleted meanwhile" });
    }
    Ok(card)
}

/// A process that stood still beyond its lease writes nothing more: another one may have begun. And
/// neither does one whose snapshot is to be cancelled.
async fn expect_lease(pool: &SourcePool, job: OfJob<'_>) -> Result<(), Error> {
    let Some((_, lease)) = job else { return Ok(()) };
    let extended = extend(pool, lease, LEASE).await.map_err(Error::Source)?;
    match extended {
        Some(false) => Ok(()),
        Some(true) => Err(Error::Cancelled),
        None => Err(Error::Lost),
    }
}

/// The archive that is being written.
pub(super) struct Out {
    object: Object,
    hash: Context,
    size: u64,
    /// How large it was at the last look at the free space, and when that was.
    looked_at: (u64, Instant),
}

impl Out {
    pub(super) async fn begin(store: &Store, id: &PublicId) -> Result<Self, Error> {
        let object = store.writer(&archive_key(id)).await?;
        let looked_at = (0, Instant::now());
        Ok(Self { object, hash: Context::new(&SHA256), size: 0, looked_at })
    }

    pub(super) async fn put(&mut self, store: &Store, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.hash.update(&bytes);
        self.size += bytes.len() as u64;
        let (size, at) = self.looked_at;
        if self.size - size > LOOK_BYTES || at.elapsed() > LOOK_INTERVAL {
            self.looked_at = (self.size, Instant::now());
            look_at_space(store).await?;
        }
        Ok(self.object.write(Bytes::from(bytes)).await?)
    }

    fn end(self) -> (Object, (u64, String)) {
        (self.object, (self.size, super::pass::hexadecimal(self.hash)))
    }
}

pub(super) async fn look_at_space(store: &Store) -> Result<(), Error> {
    match store.free().await? {
        Some(free) if free < FREE_BYTES_MIN => Err(Error::NoSpace { free }),
        _ => Ok(()),
    }
}

fn contents(
    id: &PublicId,
    asked: &Asked<'_>,
    (held, read_at, server): (&HeldSnapshot, Timestamp, String),
) -> Contents {
    let table = |(at, mapping): (usize, &Arc<ResolvedMapping>)| Table {
        folder: folder(at, mapping.name()),
        mapping: mapping.name().to_owned(),
        version: mapping.version.as_str().to_owned(),
        table: mapping.definition.target.table.as_str().to_owned(),
        columns: mapping.columns.iter().map(column).collect(),
        key: mapping.key.iter().map(|k| k.query_column.as_str().to_owned()).collect(),
    };
    Contents {
        offtake_snapshot: FORMAT,
        id: id.to_string(),
        kind: Kind::Rows,
        tenant: asked.tenant.to_owned(),
        created_at: read_at.to_string(),
        epoch: held.epoch.clone(),
        sequence_id: held.head,
        offtake: env!("CARGO_PKG_VERSION").to_owned(),
        server,
        narrowed: asked.narrowed,
        tables: asked.mappings.iter().enumerate().map(table).collect(),
    }
}

fn column(column: &offtake_mapping::Column) -> Column {
    Column { name: column.name.as_str().to_owned(), sql_type: column.target_type.clone() }
}

/// A mapping's name has the characters of a folder's; one that is too long gets a number.
fn folder(at: usize, mapping: &str) -> String {
    match mapping.len() <= FOLDER_CHARS_MAX {
        true => mapping.to_owned(),
        false => format!("{}-{at:06}", &mapping[..FOLDER_CHARS_MAX - 7]),
    }
}

/// The statement that makes a table, for people and psql. `name`: the table's, as SQL writes it.
pub(super) fn schema(name: String, table: &Table) -> String {
    let columns = table.columns.iter().map(|c| format!("  {} {}", quoted(&c.name), c.sql_type));
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    format!(
        "create table {name} (\n{},\n  primary key ({})\n);\n",
        columns.collect::<Vec<_>>().join(",\n"),
        key.join(", ")
    )
}

fn quoted(name: &str) -> String {
    Identifier::new(name).map_or_else(|_| String::new(), |name| name.sql())
}
