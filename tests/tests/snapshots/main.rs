//! `offtake snapshot`: the real binary, against real servers, with archives that GNU tar reads.

#![allow(clippy::unwrap_used)]

mod beside;
mod daemons;
mod http;
mod kinds;
mod making;
mod refusals;
mod restoring;
mod source;
mod source_beside;
mod source_conflicts;
mod source_ends;
mod source_fit;
mod source_forged;
mod store;

use std::path::PathBuf;

use offtake_tests::samples::OTHERS;
use offtake_tests::{Plan, World};
use serde_json::{Value, json};

/// Name and amount of the table `item`.
const ITEMS: &str = "\
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name, i.amount from public.item i
target: { table: items }
";

const COLUMNS: &str = "name text, amount numeric";

/// Values that are easily damaged.
const FILL: &str = r"insert into item select '{tenant}', n,
  case n % 4 when 0 then null when 1 then e'tab\tline\n' when 2 then 'ü\N' else '' end, n / 3.0
  from generate_series(1, 200) n";

/// A world whose configuration has a store.
struct Snapshots {
    world: World,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    told: String,
    complained: String,
}

impl Ended {
    fn assert_says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let said = format!("{}{}", self.told, self.complained);
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} is not in {self:?}");
    }

    fn json(&self) -> Value {
        assert!(matches!(self.code, 0 | 3), "{self:?}");
        serde_json::from_str(&self.told).unwrap()
    }
}

impl Snapshots {
    /// Tenants with 200 items each, and ten others.
    async fn of(names: &[&str]) -> Self {
        Self::planned(World::with_tenants(names.to_vec())).await
    }

    async fn planned(plan: Plan) -> Self {
        let mut world = plan.without_init().mappings(&[("items", ITEMS), ("others", OTHERS)]).await;
        let files = world.folder().join("files");
        world.configure(|configuration| {
            configuration["stores"] = json!({ "disk": { "kind": "disk", "path": files } });
        });
        world.with_items(COLUMNS, FILL).await;
        Self { world }
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.command(&[&["snapshot"], arguments].concat()).await
    }

    async fn command(&self, arguments: &[&str]) -> Ended {
        let output = self.world.offtake(arguments).await;
        Ended {
            code: output.status.code().unwrap_or(-1),
            told: String::from_utf8(output.stdout).unwrap(),
            complained: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Makes a snapshot of the tenant, and returns its id.
    async fn make(&self, tenant: &str) -> String {
        let made = self.run(&["create", "--tenant", self.world.id(tenant), "--json"]).await;
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// Where the store has a snapshot's file.
    fn file(&self, id: &str, end: &str) -> PathBuf {
        self.world.folder().join("files/snapshots").join(format!("{id}{end}"))
    }

    fn archive(&self, id: &str) -> PathBuf {
        self.file(id, ".tar.zst")
    }

    /// A file that a process left unfinished in the store so many days ago.
    fn unfinished(&self, days: u64) -> PathBuf {
        let part = self.file(&format!(".{days}"), ".part");
        let file = std::fs::File::create(&part).unwrap();
        let age = std::time::Duration::from_secs(days * 86_400);
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        part
    }
}
