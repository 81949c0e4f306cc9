//! Uninstalling, and installing with no more rights than needed. On private servers, because roles
//! belong to a whole cluster.

use offtake_capture::{Options, install, uninstall};
use offtake_private_server::PrivateServer;
use offtake_tests::clusters::Clusters;
use tokio_postgres::{Client, NoTls};

use crate::{mapping, resolve};

const TABLES: &str = "
    create table public.item (tenant text not null, id int, primary key (tenant, id)) partition by list (tenant);
    create table public.item_a partition of item for values in ('a')";

/// Lists everything that an installation could leave behind.
const TRACES: &str = "
    select 'class ' || relname from pg_class union all select 'function ' || oid::regprocedure::text from pg_proc
    union all select 'trigger ' || tgname from pg_trigger union all select 'role ' || rolname from pg_roles
    union all select 'default ' || defaclacl::text from pg_default_acl union all select 'schema ' || nspname || coalesce(nspacl::text, '') from pg_namespace
    union all select 'type ' || typname from pg_type union all select 'member ' || roleid::regrole::text || member::regrole::text from pg_auth_members
    union all select 'comment ' || description from pg_description where objoid >= 16384
    union all select 'setting ' || setconfig::text from pg_db_role_setting
    order by 1";

async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("the private server answers");
    tokio::spawn(connection);
    client
}

async fn traces(client: &Client) -> Vec<String> {
    let rows = client.query(TRACES, &[]).await.expect("the catalogs can be read");
    let temporary = |name: &String| name.contains("pg_temp") || name.contains("pg_toast");
    rows.iter().map(|row| row.get::<_, String>(0)).filter(|name| !temporary(name)).collect()
}

async fn install_on(client: &mut Client) {
    offtake_postgres::migrate(client).await.expect("the migrations apply");
    let set = resolve(client, &[&mapping("items", "public.item", "tenant", "")]).await;
    install(client, &set, &Options::default()).await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn uninstall_leaves_no_trace() {
    let server = PrivateServer::start(Clusters::options()).await.expect("a private server");
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute("create database one").await.expect("create");
    admin.batch_execute("create database two").await.expect("create");
    let (mut one, mut two) = (connect(&server.url("one")).await, connect(&server.url("two")).await);
    for client in [&mut one, &mut two] {
        client.batch_execute(TABLES).await.expect("the tables");
    }
    let before = traces(&one).await;
    install_on(&mut one).await;
    install_on(&mut two).await;
    assert_ne!(traces(&one).await, before);

    // Each database has a role of its own.
    let removal =
        uninstall(&mut two, &Options::default()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(removal.schema && removal.role_kept.is_none(), "{removal:?}");
    assert_eq!(removal.relations, ["public.item", "public.item_a"]);
    let removal =
        uninstall(&mut one, &Options::default()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(removal.role_kept.is_none(), "{removal:?}");
    assert_eq!(traces(&one).await, before);

    let again =
        uninstall(&mut one, &Options::default()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(!again.schema && again.relations.is_empty(), "{again:?}");
    drop((one, two, admin));
    server.stop().await;
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_can_install_and_uninstall() {
    let server = PrivateServer::start(Clusters::options()).await.expect("a private server");
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute("create role app login createrole").await.expect("create");
    admin.batch_execute("create database app owner app").await.expect("create");
    admin.batch_execute("create role writer login").await.expect("create");
    let mut app = connect(&server.url_as("app", None, "app")).await;
    app.batch_execute(&TABLES.replace("public.", "")).await.unwrap_or_else(|e| panic!("{e:?}"));
    app.batch_execute("grant insert, select, update, delete on item to writer")
        .await
        .expect("grant");
    let before = traces(&app).await;
    install_on(&mut app).await;

    // A role without any right on Offtake's schema writes, and its write is captured.
    let writer = connect(&server.url_as("writer", None, "app")).await;
    writer
        .batch_execute("insert into public.item values ('a', 1)")
        .await
        .unwrap_or_else(|e| panic!("{e:?}"));
    writer
        .batch_execute("select * from offtake.captured_change")
        .await
        .expect_err("it may not read");
    let captured =
        app.query_one("select count(*) from offtake.captured_change", &[]).await.expect("count");
    assert_eq!(captured.get::<_, i64>(0), 1);

    let removal =
        uninstall(&mut app, &Options::default()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(removal.role_kept.is_none(), "{removal:?}");
    assert_eq!(traces(&app).await, before);
    drop((app, writer, admin));
    server.stop().await;
}
