//! The role that owns the capture functions belongs to one database. On private servers, because
//! roles belong to a whole cluster.

use offtake_capture::{Options, install, missing_rights};
use offtake_private_server::PrivateServer;
use offtake_tests::clusters::Clusters;
use tokio_postgres::{Client, NoTls};

use crate::{mapping, resolve};

const TABLE: &str = "create table public.item (tenant text not null, id int primary key)";

async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("the private server answers");
    tokio::spawn(connection);
    client
}

async fn text(client: &Client, query: &str) -> String {
    client
        .query_one(query, &[])
        .await
        .unwrap_or_else(|error| panic!("{query}: {error:?}"))
        .get::<_, Option<String>>(0)
        .unwrap_or_default()
}

/// What `init` does; the names of the tables whose gaps were recorded.
async fn init(client: &mut Client) -> Vec<String> {
    offtake_postgres::migrate(client).await.expect("the migrations apply");
    let set = resolve(client, &[&mapping("items", "public.item", "tenant", "")]).await;
    let missing = missing_rights(client, &set).await.expect("the catalogs can be read");
    assert!(missing.is_empty(), "{missing:?}");
    let options = Options { note_gap: true, ..Options::default() };
    install(client, &set, &options).await.unwrap_or_else(|error| panic!("{error}")).gaps
}

const OWNER: &str = "select min(proowner::regrole::text) from pg_proc where proname like 'capture\\_public\\_item%'";

/// Two applications, each with an owner that is no superuser and may not become the other. The test
/// fails with one role for the cluster: the second installation was refused.
#[tokio::test]
async fn two_applications_in_one_cluster_are_independent() {
    let server = PrivateServer::start(Clusters::options()).await.expect("a private server");
    let admin = connect(&server.url("postgres")).await;
    let mut owners = Vec::new();
    for name in ["one", "two"] {
        admin.batch_execute(&format!("create role {name} login createrole")).await.expect("a role");
        admin.batch_execute(&format!("create database {name} owner {name}")).await.expect("create");
        let mut session = connect(&server.url_as(name, None, name)).await;
        session.batch_execute(TABLE).await.expect("the table");
        init(&mut session).await;
        session.batch_execute("insert into item values ('a', 1)").await.expect("writes go on");
        assert_eq!(
            text(
                &session,
                "select count(*)::text from offtake.captured_change where operation = 'c'"
            )
            .await,
            "1"
        );
        owners.push((text(&session, OWNER).await, session));
    }
    let [(first, one), (second, two)] = &owners[..] else { unreachable!() };
    assert_ne!(first, second);
    for (session, other) in [(one, second), (two, first)] {
        let rights = format!(
            "select concat(has_table_privilege('{other}', 'offtake.captured_change', 'insert'), has_schema_privilege('{other}', 'offtake', 'usage'))"
        );
        assert_eq!(text(session, &rights).await, "ff");
    }
    drop((owners, admin));
    server.stop().await;
}

/// As an older version left it: the functions belong to offtake_capture.
#[tokio::test]
async fn an_installation_with_the_shared_role_is_moved_to_its_own() {
    let server = PrivateServer::start(Clusters::options()).await.expect("a private server");
    let admin = connect(&server.url("postgres")).await;
    let mut sessions = Vec::new();
    for name in ["one", "two"] {
        admin.batch_execute(&format!("create database {name}")).await.expect("create");
        let mut session = connect(&server.url(name)).await;
        session.batch_execute(TABLE).await.expect("the table");
        init(&mut session).await;
        let own = text(&session, OWNER).await;
        session
            .batch_execute(&format!(
                "do $$ begin if to_regrole('offtake_capture') is null then create role offtake_capture; end if; end $$;
                 reassign owned by {own} to offtake_capture; drop owned by {own}; drop role {own};
                 grant usage on schema offtake to offtake_capture; grant insert on offtake.captured_change to offtake_capture"
            ))
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        sessions.push(session);
    }
    for (session, left) in sessions.iter_mut().zip(["offtake_capture", ""]) {
        assert_eq!(text(session, OWNER).await, "offtake_capture");
        assert!(init(session).await.is_empty(), "nothing is copied again");
        assert!(text(session, OWNER).await.starts_with("offtake_capture_"));
        session.batch_execute("insert into item values ('a', 1)").await.expect("writes go on");
        assert_eq!(
            text(
                session,
                "select count(*)::text from offtake.captured_change where operation = 'c'"
            )
            .await,
            "1"
        );
        assert_eq!(text(session, "select to_regrole('offtake_capture')::text").await, left);
        assert!(init(session).await.is_empty());
    }
    drop((sessions, admin));
    server.stop().await;
}
