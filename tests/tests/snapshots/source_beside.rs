//! A snapshot of the kind `source` beside the application, and the role of its documentation.

use offtake_tests::{World, beside};
use serde_json::json;

use super::Snapshots;

/// A mapping that gives no table to any tenant.
pub(super) const PLANS: &str = "source: { table: public.plan, tenant: everyone }\n\
                     query: select id from public.plan\ntarget: { table: plans }\n";

/// A row's tenant is looked up in a table that is not in the snapshot.
const TABLES: &str = "
create table plan (id int primary key);
create table first (id int primary key, tenant int);
create table place (id int primary key, tenant int);
create table post (id int primary key, place int);
insert into first values (1, 7);
insert into place values (1, 7), (2, 8);
insert into post select n, 1 + n % 2 from generate_series(1, 10) n;
";

/// A look-up that finds nothing, because its table was truncated meanwhile, would lose rows.
#[tokio::test]
async fn a_looked_up_table_that_is_truncated_meanwhile_leaves_no_hole() {
    let mut world =
        World::with_tenants(["acme"]).without_init().mappings(&[("plans", PLANS)]).await;
    world.source.execute(TABLES).await;
    let files = world.folder().join("files");
    world.configure(|configuration| {
        configuration["stores"] = json!({ "disk": { "kind": "disk", "path": files } });
        configuration["snapshots"] = json!({ "tables": [
            { "table": "first", "tenant": "tenant" },
            { "table": "post",
              "tenant": { "table": "public.place", "column": "tenant", "match": { "id": "place" } } },
        ] });
    });
    world.succeed(&["init"]).await;
    let snapshots = Snapshots { world };
    let source = &snapshots.world.source;
    // It waits for this lock with its snapshot taken, and has not read `place` yet.
    let holder = source.connect().await;
    holder.batch_execute("begin; lock table first in access exclusive mode").await.unwrap();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                 and wait_event_type = 'Lock' and query ilike 'copy%'";
    let mut truncated = false;
    let create = ["create", "--tenant", "7", "--kind", "source", "--json"];
    let made = beside(snapshots.run(&create), async || {
        if source.query_text(waits).await == "1" && !truncated {
            source
                .execute(
                    "begin; truncate place; insert into place values (1, 7), (2, 8);
                     insert into post values (11, 1); commit",
                )
                .await;
            holder.batch_execute("commit").await.unwrap();
            truncated = true;
        }
    })
    .await
    .json();
    assert!(truncated, "it was not seen waiting");
    let rows: Vec<_> = made["tables"].as_array().unwrap().iter().map(|t| &t["rows"]).collect();
    assert_eq!(rows, ["1", "6"], "of one moment: {made}");
}

pub(super) const INVOICES: &str = "
source: { table: public.invoice, tenant: tenancy_id, key: { id: id } }
query: select tenancy_id as tenant_id, id, total from public.invoice
target: { table: invoices }
";

pub(super) const INVOICE_TABLES: &str = "
create table invoice (id int primary key, tenancy_id uuid, total numeric);
create table invoice_line (id int primary key, tenancy_id uuid, invoice int references invoice);
insert into invoice select n, '{acme}', n from generate_series(1, 3) n;
insert into invoice_line select n, '{acme}', 1 + n % 3 from generate_series(1, 6) n;
";

/// The block of the page that begins with this text.
fn documented(language: &str, begins: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/snapshots.md");
    let page = std::fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = page.split(&fence).skip(1);
    let block = blocks.find(|block| block.starts_with(begins)).unwrap();
    block.split("```").next().unwrap().to_owned()
}

/// The statements and lines of docs/snapshots.md, as they stand there, are enough.
#[tokio::test]
async fn the_role_of_the_documentation_restores_into_the_source() {
    let plan = World::with_tenants(["acme"]).without_init().private_source();
    let mut world = plan.mappings(&[("invoices", INVOICES)]).await;
    let acme = world.id("acme").to_owned();
    world.source.execute(&INVOICE_TABLES.replace("{acme}", &acme)).await;
    world.source.execute(&documented("sql", "create role offtake_restore")).await;
    let files = world.folder().join("files");
    let url = super::source::as_role(&world.source.url(), "offtake_restore");
    let yaml = |begins: &str| -> serde_json::Value {
        serde_yaml::from_str(&documented("yaml", begins)).unwrap()
    };
    let (tables, restore) = (yaml("snapshots:\n  tables:"), yaml("restore:"));
    world.configure(|configuration| {
        configuration["stores"] = json!({ "disk": { "kind": "disk", "path": files } });
        configuration["snapshots"] = tables["snapshots"].clone();
        configuration["restore"] = restore["restore"].clone();
    });
    world.set_variable("OFFTAKE_RESTORE_URL", &url);
    world.succeed(&["init"]).await;
    let snapshots = Snapshots { world };
    let id = snapshots.make_of_source("acme").await;
    let source = &snapshots.world.source;
    source.execute("delete from invoice_line; delete from invoice where id > 1").await;
    source.execute("update invoice set total = 0").await;
    let overwrite = ["--mode", "overwrite", "--yes"];
    snapshots.bring_back(&id, &overwrite).await.assert_says(0, &["restored 9 rows"]);
    source.execute(&format!("insert into invoice values (9, '{acme}', 9)")).await;
    let mirror = ["--mode", "mirror", "--confirm", &acme, "--yes"];
    snapshots.bring_back(&id, &mirror).await.assert_says(0, &["to delete 1", "restored 1 rows"]);
    assert_eq!(source.query_text("select count(*), sum(total) from invoice").await, "3|6");
}
