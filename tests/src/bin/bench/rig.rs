//! The servers, databases and rows that both sides work on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use offtake_private_server::{Options, PrivateServer, sweep};
use tokio_postgres::{Client, NoTls};

/// The first tenant is measured; the two others only have to exist.
pub(crate) const TENANTS: [&str; 3] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "00000000-0000-4000-8000-000000000003",
];

/// Rows of each of the other tenants.
pub(crate) const OTHER_ROWS: u32 = 1_000;

pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("autovacuum", "off"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    // Without it, the server starts a stopped subscription worker again only after 5 s.
    ("wal_retrieve_retry_interval", "10ms"),
];

/// The table at both sources, and at the copy of the built-in side.
pub(crate) const TABLE: &str = "
    create table public.account (
      tenant_id uuid not null, id uuid not null, display_name text not null, email text not null, metadata jsonb not null,
      created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
      primary key (tenant_id, id)) with (fillfactor = 90)";

/// One side: a source's `account` and a copy of it.
pub(crate) struct Side {
    pub(crate) source: Database,
    pub(crate) copy: Database,
    /// The condition for a row of the measured tenant by its id ($1). It uses the copy's primary
    /// key, so that a look costs the server no scan.
    pub(crate) row_of_copy: String,
}

/// A database of the rig and a connection to it.
pub(crate) struct Database {
    pub(crate) client: Client,
    pub(crate) url: String,
}

pub(crate) struct Rig {
    pub(crate) rows: u32,
    pub(crate) offtake: Side,
    pub(crate) built_in: Side,
    /// Databases of the tenants that are not measured.
    pub(crate) others: Vec<Database>,
    /// Holds the daemon's files.
    folder: tempfile::TempDir,
    // The servers are stopped and removed when the rig is dropped.
    _servers: [PrivateServer; 3],
}

impl Rig {
    pub(crate) async fn start(rows: u32) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(sweep).await?;
        let offtake_source = server("replica").await?;
        let built_in_source = server("logical").await?;
        let destination = server("replica").await?;
        let offtake = Side {
            source: database(&offtake_source, "application").await?,
            copy: database(&destination, "tenant_1").await?,
            row_of_copy: "id = $1::text::uuid".to_owned(),
        };
        let built_in = Side {
            source: database(&built_in_source, "application").await?,
            copy: database(&destination, "built_in").await?,
            row_of_copy: format!("tenant_id = '{}' and id = $1::text::uuid", TENANTS[0]),
        };
        let mut others = Vec::new();
        for name in ["tenant_2", "tenant_3"] {
            others.push(database(&destination, name).await?);
        }
        for side in [&offtake, &built_in] {
            load(&side.source, rows).await?;
        }
        let folder = tempfile::tempdir()?;
        let rig = Self {
            rows,
            offtake,
            built_in,
            others,
            folder,
            _servers: [offtake_source, built_in_source, destination],
        };
        crate::replica::create(&rig).await?;
        crate::daemon::initialise(&rig).await?;
        Ok(rig)
    }

    pub(crate) async fn date_and_version(&self) -> anyhow::Result<(String, String)> {
        let query = "select to_char(now(), 'FMDD FMMonth YYYY'), split_part(current_setting('server_version'), ' ', 1)";
        let row = self.offtake.source.client.query_one(query, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Side {
    /// Makes all samples begin alike: VACUUM leaves no dead rows, and a CHECKPOINT has just ended.
    /// Otherwise bloat, and the page images that the first write of a page after a checkpoint
    /// costs, would differ from sample to sample.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        for database in [&self.source, &self.copy] {
            database.client.batch_execute("vacuum public.account").await?;
            database.client.batch_execute("checkpoint").await?;
        }
        Ok(())
    }
}

pub(crate) async fn server(wal_level: &str) -> anyhow::Result<PrivateServer> {
    let options = Options { durable: true, ..Options::default() }
        .with_random_password()
        .setting("wal_level", wal_level);
    PrivateServer::start(
        SETTINGS.iter().fold(options, |options, (name, value)| options.setting(name, value)),
    )
    .await
}

pub(crate) async fn database(server: &PrivateServer, name: &str) -> anyhow::Result<Database> {
    connect(server.url("postgres"))
        .await?
        .client
        .batch_execute(&format!("create database {name}"))
        .await?;
    connect(server.url(name)).await
}

async fn connect(url: String) -> anyhow::Result<Database> {
    let (client, connection) = tokio_postgres::connect(&url, NoTls)
        .await
        .with_context(|| format!("cannot connect to {url}"))?;
    // It ends when the client is dropped. An error is returned by the client's current call.
    tokio::spawn(connection);
    Ok(Database { client, url })
}

/// About 300 bytes a row, ids in random order, two more indexes, as in the method described in
/// `main.rs`.
async fn load(source: &Database, rows: u32) -> anyhow::Result<()> {
    source.client.batch_execute(TABLE).await?;
    let insert = "
        insert into public.account (tenant_id, id, display_name, email, metadata)
        select $1::text::uuid, md5($1 || n)::uuid, 'Person ' || n, 'person.' || n || '@example.org',
               jsonb_build_object('plan', 'team', 'seats', n % 50, 'note', repeat(md5(n::text), 3), 'active', n % 3 = 0)
          from generate_series(1, $2::bigint) n";
    for (tenant, rows) in TENANTS.iter().zip([rows, OTHER_ROWS, OTHER_ROWS]) {
        source.client.execute(insert, &[tenant, &i64::from(rows)]).await?;
    }
    let indexes = "create index on public.account (tenant_id, email); create index on public.account (created_at); analyze public.account";
    Ok(source.client.batch_execute(indexes).await?)
}

/// Runs the query every few milliseconds until it returns true.
pub(crate) async fn until(
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    const WITHIN: Duration = Duration::from_secs(300);
    let begun = Instant::now();
    while !condition().await? {
        ensure!(begun.elapsed() < WITHIN, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
