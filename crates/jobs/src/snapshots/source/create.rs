//! Making a snapshot of the kind `source`.

use jiff::Timestamp;
use offtake_postgres::SourcePool;
use offtake_reading::HeldSnapshot;

use super::statement::Statements;
use super::tables::{OwnTable, OwnTables, Reference, Resolved};
use super::{Error, tables};
use crate::archive::{Column, Contents, FOLDER_CHARS_MAX, FORMAT, Kind, Table, Writer};
use crate::snapshots::create::{
    ATTEMPTS, CANCELLED_AFTER, LOCKED_PAUSE, OfJob, Out, PAGE_BYTES, PAGE_ROWS, end, look_at_space,
    read_moment, schema,
};
use crate::snapshots::{Card, Error as SnapshotError};
use crate::stores::Store;
use crate::{Kind as JobKind, PublicId};

/// What a snapshot is to be of.
pub struct Asked<'a> {
    pub tenant: &'a str,
    pub tables: &'a [OwnTable],
    /// Tables that refer to one of these and are left out are no reason to make none.
    pub partial: bool,
    /// A tenant without a row gets a snapshot too.
    pub allow_empty: bool,
    /// The snapshot of the source is held no longer.
    pub max_duration: std::time::Duration,
    /// As [`crate::snapshots::Asked::job`].
    pub job: OfJob<'a>,
}

/// Makes a snapshot. Until its card is written, at the end, there is none.
pub async fn create(pool: &SourcePool, store: &Store, asked: &Asked<'_>) -> Result<Card, Error> {
    let making = Box::pin(make(pool, store, asked));
    let made = tokio::time::timeout(asked.max_duration, making);
    made.await.unwrap_or(Err(SnapshotError::TooLong(asked.max_duration).into()))
}

/// What is to be said of a foreign key whose child is left out, and what to write for it.
pub fn left_out(reference: &Reference) -> String {
    let columns: Vec<String> = reference.child_columns.iter().map(|c| c.in_sql()).collect();
    format!(
        "{} ({}) refers to {} and is in no snapshot",
        reference.child_name.in_sql(),
        columns.join(", "),
        reference.parent_name.in_sql()
    )
}

async fn make(pool: &SourcePool, store: &Store, asked: &Asked<'_>) -> Result<Card, Error> {
    for _ in 1..ATTEMPTS {
        match attempt(pool, store, asked).await {
            Err(Error::Snapshot(SnapshotError::Broken)) => {}
            ended => return ended,
        }
    }
    attempt(pool, store, asked).await
}

async fn attempt(pool: &SourcePool, store: &Store, asked: &Asked<'_>) -> Result<Card, Error> {
    look_at_space(store).await?;
    let own = resolve(pool, asked.tables).await?;
    let missing: Vec<String> = own.left_out().map(left_out).collect();
    if !missing.is_empty() && !asked.partial {
        return Err(Error::LeftOut(missing));
    }
    let (read_at, server) = read_moment(pool).await?;
    // A row whose look-up finds nothing would be missing, so these must stay as they are too.
    let names = own.tables.iter().chain(&own.looked_up).map(|table| table.name.sql()).collect();
    let limit = asked.max_duration + CANCELLED_AFTER;
    let held = HeldSnapshot::open_for(pool, names, limit).await;
    let held = held.map_err(SnapshotError::from)?;
    let id = match asked.job {
        Some((id, _)) => id.clone(),
        None => PublicId::fresh(JobKind::Snapshot, read_at),
    };
    let partial = !missing.is_empty();
    let contents = contents(&id, (asked, partial), &own, (&held, read_at, server));
    let mut out = Out::begin(store, &id).await?;
    let mut writer = Writer::new(&contents).map_err(SnapshotError::from)?;
    for at in 0..own.tables.len() {
        read_table(&held, (asked.tenant, &own, at), &mut writer, (store, &mut out)).await?;
        writer.end_table().map_err(SnapshotError::from)?;
    }
    let unbroken = held.unbroken().await.map_err(SnapshotError::from)?;
    held.end().await;
    // A column that was added meanwhile rewrites no file.
    if !unbroken || resolve(pool, asked.tables).await? != own {
        return Err(SnapshotError::Broken.into());
    }
    let schemas = own.tables.iter().zip(&contents.tables);
    let schemas: Vec<String> = schemas.map(|(own, table)| schema(own.name.sql(), table)).collect();
    let rest = writer.end(&schemas).map_err(SnapshotError::from)?;
    if rest.manifest.rows_total() == 0 && !asked.allow_empty {
        return Err(SnapshotError::Empty.into());
    }
    out.put(store, rest.bytes).await?;
    Ok(end((pool, store, asked.job), &id, (&contents, read_at, &rest.manifest), out).await?)
}

async fn resolve(pool: &SourcePool, wanted: &[OwnTable]) -> Result<OwnTables, Error> {
    let connection = pool.get().await?;
    tables::OwnTables::read(&connection, wanted).await
}

async fn read_table(
    held: &HeldSnapshot,
    (tenant, own, at): (&str, &OwnTables, usize),
    writer: &mut Writer,
    (store, out): (&Store, &mut Out),
) -> Result<(), Error> {
    let statements = Statements { of: own, tenant };
    let table = &own.tables[at];
    let key: Vec<usize> = table
        .key_columns()
        .filter_map(|key| table.stored().position(|column| column.name == key.name))
        .collect();
    let mut after: Option<Vec<String>> = None;
    loop {
        let statement = statements.copy_page(at, after.as_deref(), PAGE_ROWS);
        let (rows, cut) = loop {
            let read = held.lines(&statement, PAGE_BYTES).await.map_err(SnapshotError::from)?;
            match read {
                Some(read) => break read,
                None => tokio::time::sleep(LOCKED_PAUSE).await,
            }
        };
        writer.lines(&rows.slice(0..rows.len())).map_err(SnapshotError::from)?;
        out.put(store, writer.take()).await?;
        if !cut && rows.len() < PAGE_ROWS {
            return Ok(());
        }
        let last = rows.fields(rows.len() - 1, &key);
        after = Some(last.into_iter().flatten().collect());
    }
}

fn contents(
    id: &PublicId,
    (asked, partial): (&Asked<'_>, bool),
    own: &OwnTables,
    (held, read_at, server): (&HeldSnapshot, Timestamp, String),
) -> Contents {
    let table = |(at, table): (usize, &Resolved)| Table {
        folder: folder(at, table),
        mapping: table.label(),
        version: String::new(),
        table: table.label(),
        columns: table
            .stored()
            .map(|column| Column {
                name: column.name.as_str().to_owned(),
                sql_type: column.sql_type.clone(),
            })
            .collect(),
        key: table.key_columns().map(|column| column.name.as_str().to_owned()).collect(),
    };
    Contents {
        offtake_snapshot: FORMAT,
        id: id.to_string(),
        kind: Kind::Source,
        tenant: asked.tenant.to_owned(),
        created_at: read_at.to_string(),
        epoch: held.epoch.clone(),
        sequence_id: held.head,
        offtake: env!("CARGO_PKG_VERSION").to_owned(),
        server,
        narrowed: partial,
        tables: own.tables.iter().enumerate().map(table).collect(),
    }
}

/// Of a table's name what a folder's may have, and the place, which makes it unlike the others.
fn folder(at: usize, table: &Resolved) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let end = format!("-{at:06}");
    let name = format!("{}-{}", table.name.schema.as_str(), table.name.name.as_str());
    let name: String = name.chars().take(FOLDER_CHARS_MAX - end.len()).map(plain).collect();
    format!("{name}{end}")
}
