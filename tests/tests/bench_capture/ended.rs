//! However a measurement ends, its schema is dropped, or the user is told to drop it.

use std::process::{Child, Command};

use offtake_tests::{Database, PATIENCE, until};

use super::{Application, told};

/// Longer than the test.
const LONG: [&str; 6] = ["bench", "capture", "--table", "orders", "--rounds", "100"];

fn start(application: &Application) -> Child {
    application.command(&LONG).spawn().unwrap()
}

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Waits until the copies are written; returns the schema.
async fn wait_for_writes(source: &Database) -> String {
    let schema = "select nspname from pg_namespace where nspname like 'offtake\\_bench\\_%'";
    until("the copies are written", PATIENCE, async || {
        let schema = source.try_query_text(schema).await?;
        if schema.is_empty() {
            return Err("there is no schema".to_owned());
        }
        let written = format!("select count(*) > 0 from {schema}.captured_change");
        match source.try_query_text(&written).await?.as_str() {
            "t" => Ok(schema),
            other => Err(other.to_owned()),
        }
    })
    .await
}

async fn ended(process: Child) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || process.wait_with_output().unwrap());
    told(&output.await.unwrap())
}

#[tokio::test]
async fn a_signal_ends_it_without_a_trace() {
    let application = Application::with_orders().await;
    for name in ["INT", "TERM", "HUP"] {
        let process = start(&application);
        let schema = wait_for_writes(&application.source).await;
        signal(&process, name);
        let (code, told, complained) = ended(process).await;
        assert_eq!(code, 130, "{name}: {told}{complained}");
        assert!(complained.contains(&format!("the schema {schema} is dropped")), "{complained}");
        assert_eq!(application.left_over().await, "", "{name}");
    }
}

#[tokio::test]
async fn a_lost_session_ends_it_without_a_trace() {
    let application = Application::with_orders().await;
    let process = start(&application);
    wait_for_writes(&application.source).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and application_name = 'offtake bench capture'";
    application.source.query_text(end).await;
    let (code, told, complained) = ended(process).await;
    assert_ne!(code, 0, "{told}");
    assert!(complained.contains("cannot measure on copies of public.orders"), "{complained}");
    assert_eq!(application.left_over().await, "");
}

/// A backup that reads the copies keeps the schema from being dropped.
#[tokio::test]
async fn a_schema_that_cannot_be_dropped_is_told_with_the_statement_that_does_it() {
    let application = Application::with_orders().await;
    let source = &application.source;
    let process = start(&application);
    let schema = wait_for_writes(source).await;
    let mut client = source.connect().await;
    let backup = client.transaction().await.unwrap();
    backup.query(&format!("select count(*) from {schema}.sample"), &[]).await.unwrap();
    signal(&process, "INT");
    let waits = "select count(*) > 0 from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock' and query like 'drop schema%'";
    source.wait_text(waits, "t").await;
    signal(&process, "INT");
    let (code, told, complained) = ended(process).await;
    assert_eq!(code, 130, "{told}{complained}");
    assert!(complained.contains("may still be there"), "{complained}");
    backup.rollback().await.unwrap();
    let remedy = complained.split("run at the source: ").nth(1).unwrap();
    source.execute(remedy.lines().next().unwrap()).await;
    assert_eq!(application.left_over().await, "");
}

/// `kill -9` leaves the schema. The next run says so, and how to remove it.
#[tokio::test]
async fn the_next_run_names_what_a_killed_one_left() {
    let application = Application::with_orders().await;
    let mut process = start(&application);
    let schema = wait_for_writes(&application.source).await;
    process.kill().unwrap();
    process.wait().unwrap();
    let measured = application.measured("orders").await;
    let note = measured["notes"][0].as_str().unwrap();
    assert!(note.contains(&format!("drop schema {schema} cascade;")), "{note}");
    assert_eq!(application.left_over().await, schema, "only what this run made is dropped");
}
