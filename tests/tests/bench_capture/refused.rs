//! What cannot be measured is told before anything is written, with what to do.

use offtake_private_server::PrivateServer;
use offtake_tests::Database;
use offtake_tests::clusters::Clusters;

use super::{Application, ORDERS, everything};

async fn refused(application: &Application, arguments: &[&str], code: i32, says: &[&str]) {
    let arguments = [&["bench", "capture"], arguments].concat();
    let (exit, told, complained) = application.offtake(&arguments).await;
    assert_eq!(exit, code, "{arguments:?}: {told}{complained}");
    for part in says {
        assert!(complained.contains(part), "{arguments:?}: {part} is not in {complained}");
    }
    assert_eq!(application.left_over().await, "");
}

#[tokio::test]
async fn a_table_that_cannot_be_measured_is_told_with_a_remedy() {
    let application = Application::with_orders().await;
    let source = &application.source;
    source.execute("create table public.elsewhere (id int)").await;
    let before = everything(source, "public.orders").await;
    let table = |name| ["--table", name];
    refused(
        &application,
        &table("public.order"),
        2,
        &["the source has no table public.order", "did you mean `public.orders`?"],
    )
    .await;
    refused(
        &application,
        &table("elsewhere"),
        2,
        &["no mapping names public.elsewhere", "remedy: the tables that the mappings name"],
    )
    .await;
    refused(&application, &table("a.b.c"), 2, &["a.b.c cannot be a table", "schema.table"]).await;
    refused(&application, &["--table", "orders", "--rows", "0"], 2, &["--rows"]).await;
    refused(&application, &["--table", "orders", "--mappings", "nowhere"], 78, &["nowhere"]).await;
    assert_eq!(everything(source, "public.orders").await, before);

    source.execute("create publication all_of_it for all tables").await;
    refused(
        &application,
        &table("orders"),
        1,
        &["the publication all_of_it publishes every table", "remedy: measure on a restored copy"],
    )
    .await;
    source.execute("drop publication all_of_it").await;

    source
        .query_text(&format!(
            "alter database {} set default_transaction_read_only = on",
            source.name()
        ))
        .await;
    refused(&application, &table("orders"), 1, &["the source is read-only", "the primary"]).await;
    source.execute("set default_transaction_read_only = off; truncate public.orders").await;
    source
        .query_text(&format!(
            "alter database {} reset default_transaction_read_only",
            source.name()
        ))
        .await;
    refused(
        &application,
        &table("orders"),
        1,
        &["public.orders has no rows to copy", "remedy: measure where the table has rows"],
    )
    .await;
}

/// A row that the table's own definition refuses.
#[tokio::test]
async fn a_failure_on_the_way_leaves_nothing_and_says_what_to_do() {
    let application = Application::with_orders().await;
    let source = &application.source;
    source.execute("alter table public.orders add check (touched > 0) not valid").await;
    refused(
        &application,
        &["--table", "orders"],
        1,
        &["cannot measure on copies of public.orders", "(23514)", "a constraint that was never"],
    )
    .await;
}

/// Roles belong to a server, so this source has a private one.
#[tokio::test]
async fn a_role_without_rights_is_told_the_grant_that_gives_them() {
    let server = PrivateServer::start(Clusters::options()).await.unwrap();
    let application = Application::with_orders().await;
    let source = Database::create(&server.url("postgres"), "bench", None).await;
    source.execute(ORDERS).await;
    source.execute("create role looker login; grant usage on schema public to looker").await;
    application.reach_by(&server.url_as("looker", None, source.name()));
    let arguments = ["bench", "capture", "--table", "orders", "--rounds", "1"];
    let mut remedies = 0;
    loop {
        let (code, told, complained) = application.offtake(&arguments).await;
        if code == 0 {
            assert!(told.contains("UPDATE of 1 row"), "{told}");
            break;
        }
        remedies += 1;
        assert!(remedies < 4, "{complained}");
        let grant = complained.split("grant ").nth(1).unwrap_or_else(|| panic!("{complained}"));
        let grant = grant.split(';').next().unwrap();
        source.execute(&format!("grant {grant}")).await;
    }
    assert_eq!(remedies, 2, "to read the table, and to create a schema");
}
