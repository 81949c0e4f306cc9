//! A snapshot of the kind `source` beside the application.

use offtake_tests::{World, beside};
use serde_json::json;

use super::Snapshots;

/// A mapping that gives no table to any tenant.
const PLANS: &str = "source: { table: public.plan, tenant: everyone }\n\
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
