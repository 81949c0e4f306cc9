//! Installing: again, while the application writes, after manual changes, and by hand.

use std::time::Duration;

use offtake_capture::{Error, Look, Options, Relations, install, install_sql};

use crate::{Captured, mapping, resolve};

const TABLES: &str =
    "create table public.item (tenant text not null, id int primary key, list int);
    create table public.list (id int primary key, name text)";

fn items() -> String {
    mapping(
        "items",
        "public.item",
        "tenant",
        "depends_on:\n  - table: public.list\n    match: { list: id }\n",
    )
}

#[tokio::test]
async fn installing_again_changes_nothing_and_takes_no_lock() {
    let mut captured = Captured::new(TABLES, &[&items()]).await;
    let holder = captured.database.connect().await;
    holder
        .batch_execute("begin; lock table item, list in access exclusive mode")
        .await
        .expect("the tables are free");
    let report = captured.install(&Options::default()).await;
    assert!(report.unchanged(), "{report:?}");
}

#[tokio::test]
async fn drift_is_told_and_mended() {
    let mut captured = Captured::new(TABLES, &[&items()]).await;
    captured
        .database
        .execute(
            "alter table item disable trigger offtake_capture_insert; alter table item enable trigger offtake_capture_update;
             drop trigger offtake_capture_delete on item; drop trigger offtake_capture_truncate on item;
             create trigger offtake_capture_truncate after truncate on item execute function offtake.nothing();
             "
            .replace(
                "create trigger",
                "create function offtake.nothing() returns trigger language plpgsql as 'begin return null; end'; create trigger",
            )
            .as_str(),
        )
        .await;
    let expected = [
        "the trigger that captures insert on public.item is disabled",
        "the trigger that captures update on public.item does not fire under session_replication_role = replica",
        "public.item has no trigger that captures delete",
        "the trigger that captures truncate on public.item does not fire under session_replication_role = replica",
    ];
    assert_eq!(captured.drift().await, expected);
    let report = captured.install(&Options { note_gap: true, ..Options::default() }).await;
    assert_eq!(report.gaps, ["public.item"]);
    assert!(captured.drift().await.is_empty());
    assert_eq!(captured.take().await, ["public.item t - - -"]);
}

#[tokio::test]
async fn an_edited_function_and_lost_rights_are_drift() {
    let mut captured = Captured::new(TABLES, &[&items()]).await;
    let name = captured
        .database
        .query_text("select proname from pg_proc where proname like 'capture_public_item%'")
        .await;
    let role = captured
        .database
        .query_text(&format!("select proowner::regrole from pg_proc where proname = '{name}'"))
        .await;
    let edit = format!(
        "create or replace function offtake.{name}() returns trigger language plpgsql as 'begin return null; end';
         revoke insert on offtake.captured_change from {role}"
    );
    captured.database.execute(&edit).await;
    assert_eq!(
        captured.drift().await,
        [
            format!("the role {role} is missing or may not append captured changes").as_str(),
            "the capture function of public.item is not what the mappings need"
        ]
    );
    captured.install(&Options::default()).await;
    assert!(captured.drift().await.is_empty());
    assert_eq!(captured.after("insert into item values ('a', 1)").await.len(), 1);
}

/// An installation repairs only what its look has seen, because the look decides whether a gap must
/// be recorded. The test fails with an installation that looks again by itself: it wrote a new note
/// for the table, and the gap was never recorded.
#[tokio::test]
async fn what_comes_up_after_a_look_is_left_for_the_next() {
    let mut captured = Captured::new(TABLES, &[&items()]).await;
    let look =
        Look::take(&captured.session, &captured.set).await.expect("the catalogs can be read");
    assert!(look.drifts().is_empty());
    let unseen = "alter table item disable trigger offtake_capture_insert; insert into item values ('a', 1); alter table item enable always trigger offtake_capture_insert";
    assert!(captured.after(unseen).await.is_empty());
    let report = look
        .install(&mut captured.session, &Options::default())
        .await
        .expect("nothing is in its way");
    assert!(report.unchanged(), "{report:?}");
    assert_eq!(
        captured.drift().await,
        ["the triggers of public.item were disabled or dropped for a while"]
    );
    assert_eq!(
        captured.install(&Options { note_gap: true, ..Options::default() }).await.gaps,
        ["public.item"]
    );
}

#[tokio::test]
async fn a_table_no_longer_named_loses_its_triggers() {
    let mut captured = Captured::new(TABLES, &[&items()]).await;
    captured.set =
        resolve(&captured.session, &[&mapping("items", "public.item", "tenant", "")]).await;
    let report = captured.install(&Options { note_gap: true, ..Options::default() }).await;
    assert_eq!(report.removed, ["public.list"]);
    assert!(report.gaps.is_empty(), "{report:?}");
    assert!(captured.drift().await.is_empty());
    assert_eq!(
        captured
            .database
            .query_text("select count(*) from pg_proc where proname like 'capture\\_%'")
            .await,
        "1"
    );
}

#[tokio::test]
async fn a_table_swapped_by_renaming_is_covered_again() {
    let mut captured =
        Captured::new(TABLES, &[&mapping("items", "public.item", "tenant", "")]).await;
    captured
        .database
        .execute(
            "create table item_new (like item including all); alter table item rename to item_old; alter table item_new rename to item",
        )
        .await;
    assert_eq!(captured.drift().await.len(), 5);
    let report = captured.install(&Options::default()).await;
    assert_eq!(
        (report.installed, report.removed),
        (vec!["public.item".to_owned()], vec!["public.item_old".to_owned()])
    );
    assert_eq!(captured.after("insert into item values ('a', 1)").await.len(), 1);
    assert!(captured.after("insert into item_old values ('a', 1)").await.is_empty());
}

#[tokio::test]
async fn who_stands_in_the_way_is_named() {
    let mut captured = Captured::without_triggers(TABLES, &[&items()]).await;
    let holder = captured.database.connect().await;
    holder
        .batch_execute(
            "set application_name = 'nightly report'; begin; lock table item in row exclusive mode",
        )
        .await
        .expect("free");
    let options =
        Options { lock_timeout: Duration::from_millis(20), retries: 1, ..Options::default() };
    let error = install(&mut captured.session, &captured.set, &options)
        .await
        .expect_err("the table is locked");
    assert!(matches!(error, Error::Blocked { attempts: 2, .. }), "{error}");
    assert!(
        error.to_string().contains("application nightly report, idle in transaction"),
        "{error}"
    );
    holder.batch_execute("commit").await.expect("commit");
    captured.install(&options).await;
    assert!(captured.drift().await.is_empty());
}

#[tokio::test]
async fn an_expression_that_the_role_cannot_run_is_refused_before_it_meets_a_write() {
    let tables = "create schema app; create function app.whose(int) returns text immutable language sql as 'select $1::text';
        create table public.item (id int primary key)";
    let mut captured = Captured::without_triggers(
        tables,
        &[&mapping("items", "public.item", "app.whose(id)", "")],
    )
    .await;
    let error = install(&mut captured.session, &captured.set, &Options::default())
        .await
        .expect_err("the role may not use the schema");
    assert!(
        matches!(&error, Error::Refused { source, .. } if source.message().contains("permission denied for schema app")),
        "{error:?}"
    );
    assert_eq!(
        captured
            .database
            .query_text("select count(*) from pg_trigger where tgname like 'offtake%'")
            .await,
        "0"
    );
    captured.database.execute("grant usage on schema app to public").await;
    captured.install(&Options::default()).await;
    assert!(captured.drift().await.is_empty());
    assert_eq!(
        captured.after("insert into item values (1)").await,
        ["public.item c 1 {\"id\": \"1\"} -"]
    );
}

#[tokio::test]
async fn the_printed_sql_installs_the_same() {
    let mut captured = Captured::without_triggers(TABLES, &[&items()]).await;
    let relations =
        Relations::read(&captured.session, &captured.set).await.expect("the catalogs can be read");
    let sql = install_sql(&captured.set, &relations);
    // Migrations that were applied by hand are recognised too.
    captured.database.execute("drop schema offtake cascade").await;
    for (_, part) in offtake_postgres::migration_sql() {
        captured.database.execute(part).await;
    }
    captured.database.execute(&sql).await;
    // When the SQL is printed, the transaction that will write the triggers is not known yet.
    let outdated = ["public.item", "public.list"]
        .map(|table| format!("what Offtake remembers of {table} is out of date"));
    assert_eq!(captured.drift().await, outdated);
    let report = captured.install(&Options { note_gap: true, ..Options::default() }).await;
    assert_eq!((report.installed.len(), report.gaps.len()), (0, 0), "{report:?}");
    assert!(captured.drift().await.is_empty());
    let mut session = captured.database.connect().await;
    assert!(
        offtake_postgres::migrate(&mut session).await.expect("the history is there").is_empty()
    );
}

#[tokio::test]
async fn several_installers_at_once_do_not_harm_each_other() {
    let captured = Captured::without_triggers(TABLES, &[&items()]).await;
    let installs = (0..4).map(|_| async {
        let mut session = captured.database.connect().await;
        offtake_postgres::migrate(&mut session).await.expect("the migrations apply");
        install(&mut session, &captured.set, &Options::default())
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    });
    for result in futures_util::future::join_all(installs).await {
        result.unwrap_or_else(|error| panic!("{error}"));
    }
    let drift = captured.drift().await;
    assert!(drift.is_empty(), "{drift:?}");
}
