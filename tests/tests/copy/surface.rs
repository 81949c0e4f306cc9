//! The rest of the command: what it takes from the environment, what it makes and shows, and what
//! else can be copied than one table.

use offtake_mapping::compose::checkpoints::CHECKPOINTS;
use serde_json::Value;

use crate::{Copying, KINDS, Kind, orders};

/// Scripts that set these names go on to work; the command line weighs more.
#[tokio::test]
async fn the_environment_says_what_the_command_line_does_not() {
    let copying = Copying::new(Kind::File, &orders(100)).await;
    let run = async |arguments: &str| {
        let mut command = copying.command(arguments);
        command.env("TABLE_NAME", "orders").env("CHECKPOINT_SIZE", "40").env("BATCH_SIZE", "10");
        let ended = crate::Ended::of(command.spawn().unwrap()).await;
        assert_eq!(ended.code, 0, "{}{}", ended.told, ended.complained);
        ended
    };
    let ended = run("").await;
    // Four of each chunk of 40, two of the last one, and one that finds the table's end.
    assert_eq!(ended.events("batch").len(), 11);
    let chunks = "select table_name, start_id, end_id, records_processed, status from migration_checkpoints order by id";
    let told = copying.there(chunks).await;
    assert_eq!(
        told,
        "orders||280|40|completed\norders|280|560|40|completed\norders|560||20|completed"
    );
    assert_eq!(run("").await.events("batch").len(), 0, "everything is done");
    let mut again = copying.command("--batch-rows 50");
    again.env("TABLE_NAME", "orders").env("RESUME_MODE", "false");
    let ended = crate::Ended::of(again.spawn().unwrap()).await;
    assert_eq!((ended.code, ended.events("batch").len()), (0, 3));
}

/// What other programs do to the checkpoints is safe: a chunk set back is copied again, and without
/// its checkpoints a table begins again.
#[tokio::test]
async fn checkpoints_may_be_set_back_and_deleted_by_hand() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(100)).await;
        let arguments = "--table orders --chunk-rows 30 --no-verify";
        copying.ends(0, arguments).await;
        copying.write_there("update orders set customer = 'changed' where id = 7").await;
        copying
            .write_there(
                "update migration_checkpoints set status = 'pending', last_key = null where id = 1",
            )
            .await;
        let ended = copying.ends(0, arguments).await;
        assert_eq!(ended.table()["copied"], 30);
        copying.assert_same("select customer from orders where id = 7").await;
        copying.write_there("delete from migration_checkpoints where table_name = 'orders'").await;
        assert_eq!(copying.ends(0, arguments).await.table()["copied"], 100);
        // A table that is gone is made and filled again.
        copying.write_there("drop table orders").await;
        assert_eq!(copying.ends(0, arguments).await.table()["copied"], 100);
        copying.assert_same("select count(*) from orders").await;
    }
}

/// Another program's table of that name is left alone.
#[tokio::test]
async fn checkpoints_have_another_name_where_theirs_is_taken() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(100)).await;
        if kind == Kind::File {
            rusqlite::Connection::open(copying.file.path()).unwrap();
        }
        copying.write_there(&format!("create table {CHECKPOINTS} (id int, table_name text)")).await;
        copying.ends(0, "--table orders").await;
        assert_eq!(copying.there("select count(*) from _offtake_checkpoints").await, "1");
        assert_eq!(copying.there("select count(*) from migration_checkpoints").await, "0");
        let status = copying.ends(0, "--status").await.told;
        assert!(status.contains("complete"), "{status}");
    }
}

/// All tables but some: one that fails does not stop the others.
#[tokio::test]
async fn all_tables_are_copied_but_those_that_are_excluded() {
    for kind in KINDS {
        let tables = format!(
            "{}; create schema sales; create table sales.orders (id int primary key, note text);
             insert into sales.orders values (1, 'other'); create index noted on sales.orders (note);
             create table audit_log (id int); create table audit_more (id int);
             create table parts (id int, at date, primary key (at, id)) partition by range (at);
             create table parts_1 partition of parts for values from ('2026-01-01') to ('2027-01-01');
             insert into parts select n, '2026-03-01' from generate_series(1, 50) n",
            orders(50)
        );
        let copying = Copying::new(kind, &tables).await;
        let ended = copying.ends(0, "--all --exclude audit_*").await;
        assert_eq!(ended.events("table").len(), 3, "{}", ended.told);
        assert_eq!(copying.there("select note from sales_orders").await, "other");
        assert_eq!(copying.there("select count(*) from parts").await, "50");
        let status: Value =
            serde_json::from_str(&copying.ends(0, "--status --json").await.told).unwrap();
        let states = status.as_array().unwrap().iter().map(|table| &table["state"]);
        assert!(states.clone().all(|state| state == "complete") && states.count() == 3, "{status}");
    }
}

/// The query decides the shape, and the comparison goes through it.
#[tokio::test]
async fn a_shape_changes_what_is_copied_and_compared() {
    let copying = Copying::new(Kind::File, &orders(20)).await;
    let arguments =
        "--table orders --shape timestamptz=unix_ms --shape numeric=float8 --shape array=json";
    copying.ends(0, arguments).await;
    let shaped = "select typeof(at), at, typeof(price), tags from orders where id = 7";
    assert_eq!(copying.there(shaped).await, "integer|1767225660000|real|[\"a\", \"1\"]");
}

/// What --setup prints is what it makes, and a copy goes on from there.
#[tokio::test]
async fn setup_makes_what_it_prints() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(20)).await;
        let printed = copying.ends(0, "--table orders --setup --print-sql").await.told;
        for part in ["create table", "orders_customer", "migration_checkpoints", "_offtake_skipped"]
        {
            assert!(printed.contains(part), "{part}: {printed}");
        }
        let other = Copying::new(kind, "").await;
        if kind == Kind::File {
            assert!(!copying.file.path().exists(), "nothing is made");
            rusqlite::Connection::open(other.file.path()).unwrap();
        }
        other.write_there(&printed).await;
        copying.ends(0, "--table orders --setup").await;
        assert_eq!(copying.there("select count(*) from orders").await, "0");
        assert_eq!(
            copying
                .there("select count(*) from migration_checkpoints where status = 'pending'")
                .await,
            "1"
        );
        copying.ends(0, "--table orders").await;
        copying.assert_same("select count(*) from orders").await;
    }
}

/// Every line is ok or says what is wrong, and nothing is made.
#[tokio::test]
async fn validate_looks_at_everything_and_makes_nothing() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(20)).await;
        let told = copying.ends(0, "--table orders --validate --json").await.told;
        let lines: Value = serde_json::from_str(&told).unwrap();
        assert!(lines.as_array().unwrap().iter().all(|line| line["ok"] == true), "{told}");
        assert!(told.contains("key (id)") && told.contains("tried and rolled back"), "{told}");
        match kind {
            Kind::File => {
                assert!(told.contains("MB are free"), "{told}");
                assert!(!copying.file.path().exists());
            }
            Kind::Postgres => {
                let made = "select count(*) from pg_tables where schemaname = 'public'";
                assert_eq!(copying.there(made).await, "0");
            }
        }
        copying.source.execute("create table bare (a int)").await;
        let told = copying.ends(78, "--all --validate").await.told;
        assert!(told.contains("WRONG") && told.contains("alter table public.bare"), "{told}");
    }
}

/// One tenant's rows of a mapping of offtake.yaml; the source needs no Offtake for it.
#[tokio::test]
async fn a_tenants_rows_of_a_mapping_are_copied() {
    for kind in KINDS {
        let copying = Copying::new(
            kind,
            "create table note (id int primary key, team int not null, body text);
             insert into note select n, n % 3, 'note ' || n from generate_series(1, 90) n;
             create index on note (team, id)",
        )
        .await;
        std::fs::create_dir(copying.path("mappings")).unwrap();
        let mapping = "source: { table: public.note, tenant: team }\n\
                       query: select team as tenant_id, id, body from public.note\n\
                       target: { table: notes }\n";
        std::fs::write(copying.path("mappings/notes.yaml"), mapping).unwrap();
        std::fs::write(
            copying.path("offtake.yaml"),
            "source: { url: \"${DATABASE_URL}\" }\nmappings: mappings\ndestinations: { static: [] }\n",
        )
        .unwrap();
        copying.ends(0, "--mapping notes --tenant 2").await;
        assert_eq!(copying.there("select count(*), min(id) from notes").await, "30|2");
        let told = copying.ends(78, "--mapping note --tenant 2").await.complained;
        assert!(told.contains("is it notes?"), "{told}");
    }
}
