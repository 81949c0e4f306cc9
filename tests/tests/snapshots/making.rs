//! What is in a snapshot.

use std::process::Command;

use offtake_tests::{Daemon, Database, Source, World, beside, tools};
use serde_json::{Value, json};

use super::Snapshots;

/// Unpacks an archive by GNU tar.
fn unpack(archive: &std::path::Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "-xf"]).arg(archive).arg("-C").arg(folder.path());
    tools::succeed(&mut tar);
    folder
}

/// GNU tar unpacks it, psql loads its files, and the rows are the mapping's.
#[tokio::test]
async fn psql_loads_what_a_snapshot_has() {
    if tools::on_path("zstd").is_none() {
        return;
    }
    let snapshots = Snapshots::of(&["acme", "globex"]).await;
    let id = snapshots.make("acme").await;
    let unpacked = unpack(&snapshots.archive(&id));
    let database = Source::destination().await;
    let script = "\\i schema/items.sql\n\\copy items from 'data/items/000000.copy'\n";
    std::fs::write(unpacked.path().join("load.sql"), script).unwrap();
    let mut psql = Command::new("psql");
    psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-f", "load.sql", "-d", &database.url()])
        .current_dir(unpacked.path());
    tools::succeed(&mut psql);
    let there = database.copy_out("select id, name, amount from items order by id").await;
    let query = format!(
        "select id, name, amount from item where tenant = '{}' order by id",
        snapshots.world.id("acme")
    );
    let expected = snapshots.world.source.copy_out(&query).await;
    assert_eq!(there, expected);
    assert_eq!(there.len(), 200);
}

/// A sum that every transaction keeps is right in every snapshot, and no write waits for one.
#[tokio::test]
async fn a_snapshot_is_of_one_moment_while_the_application_writes() {
    if tools::on_path("zstd").is_none() {
        return;
    }
    let snapshots = Snapshots::of(&["acme"]).await;
    let source = &snapshots.world.source;
    let tenant = snapshots.world.id("acme");
    source.execute("update item set amount = 0; update other set body = '0'").await;
    let transfer = format!(
        "begin; update item set amount = amount + 1 where tenant = '{tenant}' and id = 1; \
         update other set body = (body::int - 1)::text where tenant = '{tenant}' and id = 1; commit"
    );
    let writes = source.session().await;
    for _ in 0..3 {
        let mut written = 0;
        let id = beside(snapshots.make("acme"), async || {
            writes.batch_execute(&transfer).await.unwrap();
            written += 1;
        })
        .await;
        assert!(written > 2, "only {written} writes beside it");
        let unpacked = unpack(&snapshots.archive(&id));
        let first = |table: &str, at: usize| -> f64 {
            let file = unpacked.path().join(format!("data/{table}/000000.copy"));
            let text = std::fs::read_to_string(file).unwrap();
            let line = text.lines().find(|line| line.starts_with("1\t")).unwrap().to_owned();
            line.split('\t').nth(at).unwrap().parse().unwrap()
        };
        let (amount, body) = (first("items", 2), first("others", 1));
        assert_eq!(amount + body, 0.0);
    }
}

/// Two sessions at the source, of either kind and whatever the number of tables: one reads, and one
/// is the command's.
#[tokio::test]
async fn a_snapshot_takes_two_sessions_of_the_source() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    snapshots.world.write_mapping("items", &slow());
    let tenant = snapshots.world.id("acme").to_owned();
    let lazy = lazy(0.1, &tenant);
    snapshots.world.source.execute(&lazy).await;
    let table = json!([{ "table": "public.lazy", "tenant": "public.waits(tenant)" }]);
    snapshots.world.configure(|c| c["snapshots"] = json!({ "tables": table }));
    let source = &snapshots.world.source;
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() \
                    and application_name like 'offtake%' \
                    having bool_or(state = 'active' and query ilike 'copy%')";
    for (kind, rows) in [("rows", "210"), ("source", "220")] {
        let mut seen = Vec::new();
        // Those of the command before.
        source.wait_left().await;
        let create = ["create", "--tenant", &tenant, "--kind", kind, "--json"];
        let made = beside(snapshots.run(&create), async || {
            let count = source.try_query_text(sessions).await.unwrap();
            seen.extend(Some(count).filter(|count| !count.is_empty()));
        })
        .await;
        assert_eq!(made.json()["rows"], rows);
        assert!(!seen.is_empty(), "{kind}: it was not seen reading");
        assert!(seen.iter().all(|count| count == "2"), "{kind}: {seen:?}");
    }
}

/// A truncated table is empty to older snapshots of the server too, so such a snapshot would lack
/// rows that were there. So it begins again.
#[tokio::test]
async fn a_table_that_is_truncated_meanwhile_leaves_no_hole() {
    if tools::on_path("zstd").is_none() {
        return;
    }
    let snapshots = Snapshots::of(&["acme"]).await;
    snapshots.world.write_mapping("items", &slow());
    let source = &snapshots.world.source;
    let reading = "select coalesce(min(pid || ' ' || query_start), '') from pg_stat_activity \
                   where datname = current_database() and application_name like 'offtake%' \
                   and state = 'active' and query ilike 'copy%'";
    let mut truncated = false;
    // A snapshot of so few rows may be over before it is seen reading, or before the table is
    // truncated. It is truncated in time where the same statement reads before and after that.
    let mut id = String::new();
    for _ in 0..10 {
        if truncated {
            break;
        }
        let mut tried = false;
        id = beside(snapshots.make("acme"), async || {
            let reads = source.query_text(reading).await;
            if !reads.is_empty() && !tried {
                tried = true;
                source
                    .execute(
                        "begin; truncate other; update item set name = 'after' where id = 200; commit",
                    )
                    .await;
                truncated = source.query_text(reading).await == reads;
            }
        })
        .await;
        if tried && !truncated {
            let as_before = format!(
                "update item set name = null where id = 200;
                 insert into other select '{}', n, 'body' from generate_series(1, 10) n",
                snapshots.world.id("acme")
            );
            source.execute(&as_before).await;
        }
    }
    assert!(truncated, "it was not seen reading");
    let unpacked = unpack(&snapshots.archive(&id));
    assert!(!unpacked.path().join("data/others").exists());
    let items = std::fs::read_to_string(unpacked.path().join("data/items/000000.copy")).unwrap();
    assert!(items.lines().any(|line| line.starts_with("200\tafter\t")), "rows of two moments");
}

#[tokio::test]
async fn a_tenant_without_a_row_is_told_and_made_only_if_asked_for() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let nothing = snapshots.run(&["create", "--tenant", "nobody"]).await;
    nothing.assert_says(1, &["nothing to snapshot", "offtake preview", "--allow-empty"]);
    assert_eq!(snapshots.run(&["list", "--all", "--json"]).await.json(), serde_json::json!([]));
    let made = snapshots.run(&["create", "--tenant", "nobody", "--allow-empty", "--json"]).await;
    assert_eq!(made.json()["rows"], "0");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    snapshots.run(&["validate", &id]).await.assert_says(0, &["0 rows"]);
}

/// A uuid in capitals is the same tenant: its snapshots are listed under the source's spelling, and
/// one export of it goes on at a time.
#[tokio::test]
async fn a_tenant_may_be_spelled_as_its_type_reads_it() {
    let world = World::with_tenants(["acme", "globex"]).await;
    let mut snapshots = Snapshots { world };
    let files = snapshots.world.folder().join("files");
    snapshots.world.configure(|configuration| {
        configuration["stores"] = serde_json::json!({ "disk": { "kind": "disk", "path": files } });
    });
    snapshots.world.fill(3).await;
    let typed = snapshots.world.id("acme").to_uppercase();
    let made = snapshots.run(&["create", "--tenant", &typed, "--json"]).await.json();
    assert_eq!(made["tenant"], snapshots.world.id("acme"));
    let listed = snapshots.run(&["list", "--tenant", &typed, "--json"]).await.json();
    assert_eq!(listed[0]["id"], made["id"]);

    let world = &snapshots.world;
    let export =
        |tenant| ["export", "create", "--tenant", tenant, "--format", "csv", "--store", "disk"];
    let goes_on = "select public_id from offtake.job where state = 'accepted' and kind = 'export'";
    for (one, other) in [(world.id("acme"), typed.as_str()), (typed.as_str(), world.id("acme"))] {
        world.succeed(&export(one)).await;
        let id = world.source.query_text(goes_on).await;
        let refused = snapshots.command(&export(other)).await;
        refused.assert_says(1, &[&format!("has an export that goes on: {id}")]);
        world.succeed(&["export", "cancel", &id]).await;
        world.succeed(&export(other)).await;
        let refused = snapshots.command(&["export", "resume", &id]).await;
        refused.assert_says(1, &["another export"]);
        let id = world.source.query_text(goes_on).await;
        world.succeed(&["export", "cancel", &id]).await;
    }
    let resume = ["export", "resume", "exp_20261128-031300_k7f3a2"];
    for (asked, says) in
        [(&export(world.id("acme"))[..], "has an export that goes on"), (&resume, "another export")]
    {
        asked_in_the_same_instant(&snapshots, &typed, (asked, says)).await;
    }

    // The tenant's fuse, by its own spelling. The other tenant's export, asked for later, is made.
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    let fuse = format!("insert into offtake.fuse (name, enabled) values ('tenant:{acme}', false)");
    world.source.execute(&fuse).await;
    world.succeed(&export(&typed)).await;
    world.succeed(&export(globex)).await;
    let daemon = world.daemon().await;
    let state = |tenant| {
        format!(
            "select state from offtake.job where kind = 'export' and lower(tenant_id) = '{tenant}'
              order by job_id desc limit 1"
        )
    };
    world.source.wait_text(&state(globex), "completed").await;
    assert_eq!(world.source.query_text(&state(acme)).await, "accepted");
    world.source.execute("delete from offtake.fuse").await;
    world.source.wait_text(&state(acme), "completed").await;
    listed_under_every_spelling(world, &daemon, &[acme, &typed, &acme.replace('-', "")]).await;
    daemon.stop().await;
}

/// The tenant's exports and snapshots are found whichever of these its id is typed as.
async fn listed_under_every_spelling(world: &World, daemon: &Daemon, spellings: &[&str]) {
    for kind in ["export", "snapshot"] {
        let all = format!(
            "select string_agg(public_id, ' ' order by job_id desc) from offtake.job
              where kind = '{kind}' and lower(tenant_id) = '{}'",
            world.id("acme")
        );
        let all = world.source.query_text(&all).await;
        for tenant in spellings {
            let path = format!("/api/v1/{kind}s?tenant={tenant}");
            let (code, text) = daemon.request("GET", &path, &[], "").await;
            assert_eq!(code, 200, "{text}");
            let told: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(ids_of(&told["items"]), all, "{kind}s of {tenant}");
        }
        for tenant in spellings.iter().filter(|_| kind == "export") {
            let told = world.succeed(&["export", "list", "--tenant", tenant, "--json"]).await;
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(ids_of(&told["exports"]), all, "exports of {tenant}");
        }
    }
}

fn ids_of(items: &Value) -> String {
    let ids: Vec<&str> =
        items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    ids.join(" ")
}

/// A session has recorded an export under one spelling, and commits while a command asks for another
/// one under the other: neither sees the other's.
async fn asked_in_the_same_instant(
    snapshots: &Snapshots,
    typed: &str,
    (asked, says): (&[&str], &str),
) {
    let source = &snapshots.world.source;
    let id = snapshots.world.id("acme");
    let record = |export: &str, tenant: &str, state: &str| {
        format!(
            "insert into offtake.job (public_id, kind, tenant_id, source_tenant_id, store, state)
             values ('{export}', 'export', '{tenant}', nullif('{id}', '{tenant}'), 'disk', '{state}')"
        )
    };
    source.execute(&record("exp_20261128-031300_k7f3a2", id, "cancelled")).await;
    let session = source.connect().await;
    let other = record("exp_20261128-031300_aaaaaa", typed, "accepted");
    session.batch_execute(&format!("begin; {other}")).await.unwrap();
    let commit = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                        and wait_event_type = 'Lock' and query ~ '(insert into|update) offtake.job'";
        source.wait_text(waiting, "1").await;
        session.batch_execute("commit").await.unwrap();
    };
    let (refused, ()) = tokio::join!(snapshots.command(asked), commit);
    refused.assert_says(1, &[says]);
    source.execute("delete from offtake.job where public_id like 'exp_20261128-031300_%'").await;
}

/// Only some mappings, and the list says so.
#[tokio::test]
async fn a_snapshot_of_some_mappings_says_so() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let tenant = snapshots.world.id("acme");
    // It waits for the snapshot with `--wait` and without.
    let made =
        snapshots.run(&["create", "--tenant", tenant, "--mapping", "others", "--wait"]).await;
    made.assert_says(0, &["1 tables", "not all mappings", "10 rows"]);
    snapshots.run(&["list"]).await.assert_says(0, &["yes, not all mappings"]);
    let unknown = snapshots.run(&["create", "--tenant", tenant, "--mapping", "other"]).await;
    unknown.assert_says(2, &["no mapping named other", "did you mean others?"]);
}

/// A snapshot that takes too long ends, tells why, and leaves no file.
#[tokio::test]
async fn a_snapshot_that_takes_too_long_fails_and_leaves_nothing() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    snapshots.world.configure(|configuration| {
        configuration["snapshots"] = serde_json::json!({ "max_duration": "4s" });
    });
    // Six seconds for the tenant's rows.
    let function = "create function slowly(numeric) returns numeric stable language plpgsql as
        $$ begin perform pg_sleep(0.03); return $1; end $$";
    snapshots.world.source.execute(function).await;
    let slow = super::ITEMS.replace("i.amount from", "slowly(i.amount) as amount from");
    snapshots.world.write_mapping("items", &slow);
    let tenant = snapshots.world.id("acme").to_owned();
    let failed = snapshots.run(&["create", "--tenant", &tenant]).await;
    let remedies = ["snapshots.max_duration", "--mapping", "offtake export create"];
    failed.assert_says(1, &[&["after 4 seconds", "vacuum"], &remedies[..]].concat());
    // A snapshot of the kind `source` has no mappings to leave out.
    snapshots.world.source.execute(&lazy(0.6, &tenant)).await;
    let lazy = serde_json::json!([{ "table": "public.lazy", "tenant": "public.waits(tenant)" }]);
    snapshots.world.configure(|c| c["snapshots"]["tables"] = lazy);
    let of_source = snapshots.run(&["create", "--tenant", &tenant, "--kind", "source"]).await;
    of_source.assert_says(1, &["after 4 seconds", "vacuum", "raise snapshots.max_duration"]);
    assert!(!of_source.complained.contains("--mapping"), "{of_source:?}");
    let (left, listed) = (files_of(&snapshots), snapshots.run(&["list", "--all", "--json"]).await);
    assert_eq!(left, [] as [String; 0], "{:?}", listed.told);
    // The remedies.
    let narrowed = ["create", "--tenant", &tenant, "--mapping", "others"];
    snapshots.run(&narrowed).await.assert_says(0, &["10 rows"]);
    snapshots.world.configure(|configuration| {
        configuration["snapshots"] = serde_json::json!({ "max_duration": "1m" });
    });
    snapshots.run(&["create", "--tenant", &tenant]).await.assert_says(0, &["210 rows"]);
}

/// A table of ten rows, each of which takes so many seconds to be read.
fn lazy(seconds: f64, tenant: &str) -> String {
    format!(
        "create function waits(uuid) returns uuid language plpgsql as
           $$ begin perform pg_sleep({seconds}); return $1; end $$;
         create table lazy (id int primary key, tenant uuid);
         insert into lazy select n, '{tenant}' from generate_series(1, 10) n"
    )
}

/// A query that takes some seconds for the tenant's rows.
fn slow() -> String {
    let slow = "i.amount + (select count(*) from generate_series(1, 100000) n where n < i.id) as amount from";
    super::ITEMS.replace("i.amount from", slow)
}

/// Programs are told what failed where: the class, the SQLSTATE, and the other side's own words.
#[tokio::test]
async fn a_failure_is_told_to_programs_with_its_class() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    let tenant = snapshots.world.id("acme").to_owned();
    let create = ["create", "--tenant", &tenant, "--json"];
    let failed = async |snapshots: &Snapshots, code: i32| {
        let failed = snapshots.run(&create).await;
        assert_eq!(failed.code, code, "{failed:?}");
        assert!(failed.complained.starts_with("offtake: cannot"), "{failed:?}");
        let told: serde_json::Value = serde_json::from_str(&failed.told).unwrap();
        assert_eq!(told["error"]["exit"], code, "{told}");
        told["error"].clone()
    };
    let divided = super::ITEMS.replace("i.amount from", "1 / (i.id - 1) as amount from");
    snapshots.world.write_mapping("items", &divided);
    let error = failed(&snapshots, 1).await;
    assert_eq!((&error["class"], &error["sqlstate"]), (&"mapping".into(), &"22012".into()));
    let problem = &error["problems"][0];
    let what = format!("cannot make a snapshot of {tenant} in disk");
    assert_eq!(problem["message"], what.as_str());
    assert!(problem["why"][0].as_str().unwrap().contains("division by zero"), "{error}");
    snapshots.world.write_mapping("items", super::ITEMS);

    let folder = snapshots.archive("x").parent().unwrap().to_owned();
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "a file").unwrap();
    let error = failed(&snapshots, 1).await;
    assert_eq!((&error["class"], &error["sqlstate"]), (&"denied".into(), &json!(null)));

    snapshots.world.configure(|c| c["source"]["url"] = "postgres://x@127.0.0.1:1/x".into());
    let error = failed(&snapshots, 69).await;
    assert_eq!(error["class"], "unreachable");
}

/// Everything is loaded and compared, and nothing of the server stays.
#[tokio::test]
async fn a_drill_loads_a_snapshot_into_a_server_of_its_own() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    let id = snapshots.make("acme").await;
    let drill = ["validate", &id, "--drill"];
    snapshots.run(&drill).await.assert_says(0, &["complete and unchanged", "every row there"]);
    snapshots.world.set_variable("OFFTAKE_PG_BIN", "/nowhere");
    let without = snapshots.run(&drill).await;
    without.assert_says(1, &["cannot start a private server", "OFFTAKE_PG_BIN"]);
}

fn files_of(snapshots: &Snapshots) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(snapshots.archive("x").parent().unwrap()) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Used by the other files of this test.
pub(super) async fn rows(database: &Database, table: &str) -> Vec<String> {
    database.copy_out(&format!("select * from {table} order by id")).await
}
