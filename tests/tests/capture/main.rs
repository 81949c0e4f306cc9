//! What the capture triggers write, and how they are installed and removed, on real servers.

mod by_rows;
mod captured;
mod installation;
mod lists;
mod partitions;
mod removal;
mod roles;
mod tenants;

use std::path::Path;

use offtake_capture::{Options, Report, install};
use offtake_mapping::MappingSet;
use offtake_tests::Database;
use offtake_tests::clusters::Clusters;
use tokio_postgres::Client;

/// A database with the test's own tables, and capture installed on them.
struct Captured {
    database: Database,
    session: Client,
    set: MappingSet,
}

impl Captured {
    /// Creates the tables, and installs capture for the given mappings (YAML texts).
    async fn new(tables: &str, mappings: &[&str]) -> Self {
        let mut captured = Self::without_triggers(tables, mappings).await;
        captured.install(&Options::default()).await;
        captured
    }

    /// The same without the triggers.
    async fn without_triggers(tables: &str, mappings: &[&str]) -> Self {
        let database = Database::create(&Clusters::shared().await.source, "capture", None).await;
        let mut session = database.connect().await;
        offtake_postgres::migrate(&mut session).await.expect("the migrations apply");
        database.execute(tables).await;
        let set = resolve(&session, mappings).await;
        Self { database, session, set }
    }

    async fn install(&mut self, options: &Options) -> Report {
        install(&mut self.session, &self.set, options)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    async fn drift(&self) -> Vec<String> {
        let drifts = offtake_capture::drift(&self.session, &self.set)
            .await
            .expect("the catalogs can be read");
        drifts.iter().map(ToString::to_string).collect()
    }

    /// Runs statements and returns what they captured, sorted: `table operation tenant key
    /// matched`. A list of keys is told as if each key had a row of its own.
    async fn after(&self, sql: &str) -> Vec<String> {
        self.database.execute(sql).await;
        self.take().await
    }

    /// What was captured since the last call.
    async fn take(&self) -> Vec<String> {
        const TAKE: &str = "with taken as (delete from offtake.captured_change returning *)
            select concat_ws(' ', source_table, case when keys is null then operation when keys_deleted then 'd' else 'c' end,
                     coalesce(tenant_id, '-'),
                     coalesce(case when keys is null then row_key
                                   when key_column is null then key::jsonb else jsonb_build_object(key_column, key) end::text, '-'),
                     coalesce(matched::text, '-'))
              from taken left join lateral unnest(keys) key on true";
        let mut taken: Vec<String> =
            self.database.query_text(TAKE).await.lines().map(str::to_owned).collect();
        taken.sort();
        taken
    }

    async fn server_version(&self) -> i32 {
        self.database
            .query_text("select current_setting('server_version_num')")
            .await
            .parse()
            .expect("a number")
    }
}

async fn resolve(session: &Client, mappings: &[&str]) -> MappingSet {
    let parse = |(at, text): (usize, &&str)| {
        offtake_mapping::parse(Path::new(&format!("m{at}.yaml")), text)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let mappings = mappings.iter().enumerate().map(parse).collect();
    let resolved = offtake_postgres::catalog::resolve(session, mappings).await;
    resolved.unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// A mapping of one table that copies its tenant and `id`.
fn mapping(name: &str, table: &str, tenant: &str, rest: &str) -> String {
    format!(
        "name: {name}\nsource:\n  table: {table}\n  tenant: {tenant}\n  key: {{ id: id }}\n{rest}\
         query: select 'x'::text as tenant_id, id from {table}\ntarget: {{ table: {name} }}\n"
    )
}

/// Whether a change of the whole table `public.item` is among the captured ones.
fn tells_whole(captured: &[String]) -> bool {
    captured.iter().any(|line| line.starts_with("public.item t "))
}
