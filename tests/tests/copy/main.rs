//! `offtake copy`: the real binary, from a real Postgres into another one and into SQLite files.

#![allow(clippy::unwrap_used)]

mod d1;
mod ends;
mod interrupted;
mod refusals;
mod surface;
mod values;

use std::path::PathBuf;
use std::process::Stdio;

use offtake_tests::clusters::Clusters;
use offtake_tests::{Database, SqliteFile, binary};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The kinds of destination that a copy goes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Postgres,
    File,
}

const KINDS: [Kind; 2] = [Kind::Postgres, Kind::File];

/// A source, and a destination of one kind. Nothing of Offtake's is installed at the source.
struct Copying {
    source: Database,
    database: Option<Database>,
    file: SqliteFile,
    folder: TempDir,
    /// Other ways to the two, such as through a proxy.
    from: Option<String>,
    to: Option<String>,
}

/// How a run ended.
struct Ended {
    code: i32,
    told: String,
    complained: String,
}

impl Copying {
    async fn new(kind: Kind, tables: &str) -> Self {
        let clusters = Clusters::shared().await;
        let source = Database::create(&clusters.source, "copied", None).await;
        source.execute(tables).await;
        let database = match kind {
            Kind::Postgres => Some(Database::create(&clusters.destinations, "copies", None).await),
            Kind::File => None,
        };
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::new(folder.path().canonicalize().unwrap().join("copy.db"));
        Self { source, database, file, folder, from: None, to: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(binary("offtake"));
        let to = match &self.database {
            Some(database) => database.url(),
            None => self.file.url(),
        };
        let names =
            ["TABLE_NAME", "CHECKPOINT_SIZE", "BATCH_SIZE", "RESUME_MODE", "D1_DATABASE_ID"];
        names.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
            .arg("copy")
            .args(arguments.split_whitespace())
            .args(["--to", "${TO}"])
            .env("DATABASE_URL", self.from.clone().unwrap_or_else(|| self.source.url()))
            .env("TO", self.to.clone().unwrap_or(to))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn spawn(&self, arguments: &str) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    async fn run(&self, arguments: &str) -> Ended {
        Ended::of(self.spawn(arguments)).await
    }

    /// The same, and it must end with this code.
    async fn ends(&self, code: i32, arguments: &str) -> Ended {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, code, "{arguments}: {}{}", ended.told, ended.complained);
        ended
    }

    /// The destination's rows as `psql -At` prints them.
    async fn there(&self, sql: &str) -> String {
        match &self.database {
            Some(database) => database.query_text(sql).await,
            None => self.file.query_text(sql),
        }
    }

    /// Runs a statement at the destination, as another program.
    async fn write_there(&self, sql: &str) {
        match &self.database {
            Some(database) => database.execute(sql).await,
            None => self.file.execute(sql),
        }
    }

    /// Both sides say the same.
    async fn assert_same(&self, sql: &str) {
        assert_eq!(self.source.query_text(sql).await, self.there(sql).await, "{sql}");
    }
}

impl Ended {
    async fn of(child: Child) -> Self {
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (told, complained) = (text(&output.stdout), text(&output.stderr));
        assert!(!complained.contains("panicked"), "{complained}");
        Self { code: output.status.code().unwrap_or(-1), told, complained }
    }

    /// The events of this name.
    fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.told.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &Value| line["event"] == name).collect()
    }

    /// What became of the only table.
    fn table(&self) -> Value {
        let tables = self.events("table");
        assert_eq!(tables.len(), 1, "{}{}", self.told, self.complained);
        tables[0].clone()
    }
}

/// A table of so many rows, with a key that has gaps.
fn orders(rows: usize) -> String {
    format!(
        "create table orders (id bigint primary key, customer text not null, price numeric(12,2), \
         at timestamptz, tags text[], data jsonb);
         insert into orders select n * 7, 'customer ' || n % 100, n * 1.10, \
         timestamptz '2026-01-01' + n * interval '1 minute', array['a', n::text], \
         jsonb_build_object('n', n) from generate_series(1, {rows}) n;
         create index orders_customer on orders (customer);
         analyze orders"
    )
}
