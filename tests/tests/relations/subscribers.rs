//! Tables that the source receives by built-in logical replication. The apply worker fires no
//! statement-level trigger.

use std::time::Duration;

use offtake_private_server::PrivateServer;
use offtake_tests::clusters::Clusters;
use offtake_tests::{PATIENCE, World, oracle, until};
use tokio_postgres::{Client, NoTls};

use crate::{mapping, start};

/// The daemon looks at the triggers every 30 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

const TABLES: &str = "
    create table gauge (org text, id int, v int, unit int, primary key (org, id));
    create table unit (id int primary key, name text);
    create table pt (org text, id int, v int, primary key (org, id)) partition by list (org);
    create table pt_acme partition of pt default;";

/// A server that publishes [`TABLES`], filled, and the source that is to subscribe.
struct Upstream {
    server: PrivateServer,
    session: Client,
}

impl Upstream {
    async fn start(tenant: &str) -> Self {
        let server = PrivateServer::start(Clusters::options().setting("wal_level", "logical"))
            .await
            .expect("a private server");
        let (session, connection) =
            tokio_postgres::connect(&server.url("postgres"), NoTls).await.expect("it answers");
        tokio::spawn(connection);
        let upstream = Self { server, session };
        upstream.execute(TABLES).await;
        let fill = "insert into gauge select '{t}', n, n, 1 from generate_series(1, 5) n;
            insert into unit values (1, 'm'), (2, 's'); insert into pt select '{t}', n, n from generate_series(1, 5) n;
            create publication p for table gauge, unit, pt with (publish_via_partition_root = true)";
        upstream.execute(&fill.replace("{t}", tenant)).await;
        upstream
    }

    async fn execute(&self, sql: &str) {
        self.session.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Writes upstream, and waits until the source has applied it.
    async fn write(&self, world: &World, sql: &str) {
        self.execute(&sql.replace("{t}", world.id("acme"))).await;
        let position: String = self
            .session
            .query_one("select pg_current_wal_lsn()::text", &[])
            .await
            .expect("it answers")
            .get(0);
        let applied = format!(
            "select coalesce(bool_and(replay_lsn >= '{position}'), false) from pg_stat_replication"
        );
        until("the source has applied it", PATIENCE, async || {
            let row = self.session.query_one(&applied, &[]).await.map_err(|e| e.to_string())?;
            if row.get(0) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }

    async fn subscribe(&self, world: &World) {
        let url = self.server.url("postgres");
        world
            .source
            .execute(&format!("create subscription s connection '{url}' publication p"))
            .await;
        let copied = "select count(*) filter (where srsubstate <> 'r') from pg_subscription_rel";
        until("the first copies are done", PATIENCE, async || {
            match world.source.try_query_text(copied).await?.as_str() {
                "0" => Ok(()),
                left => Err(format!("{left} tables are left")),
            }
        })
        .await;
    }

    async fn end(self, world: &World) {
        world.source.execute("drop subscription s").await;
        drop(self.session);
        self.server.stop().await;
    }
}

async fn world() -> World {
    let gauge = "source: { table: public.gauge, tenant: org }\n\
        depends_on: [{ table: public.unit, match: { unit: id } }]\n\
        query: select g.org as tenant_id, g.id, g.v, (select u.name from public.unit u where u.id = g.unit) as unit from public.gauge g\n\
        target: { table: gauge }\n";
    let pt = mapping("pt", "id, v");
    World::with_tenants(["acme"])
        .private_source()
        .mappings(&[("gauge", gauge), ("pt", &pt)])
        .without_init()
        .await
}

async fn assert_applied_writes_arrive(world: &World, upstream: &Upstream) {
    for sql in [
        "update gauge set v = v * 10 where id <= 2; delete from gauge where id = 3; insert into gauge values ('{t}', 100, 1)",
        "update unit set name = name || '!'",
        "update gauge set id = 200, unit = 2 where id = 100",
        "update pt set v = 0 where id < 3; delete from pt where id = 4; insert into pt values ('{t}', 40, 4)",
    ] {
        upstream.write(world, sql).await;
        world.wait_in_step().await;
        oracle::assert_equal_after(world, sql).await;
    }
}

/// The test fails with statement-level triggers, ENABLE ALWAYS or not: nothing was captured.
#[tokio::test]
async fn what_a_subscription_writes_arrives() {
    let world = world().await;
    let upstream = Upstream::start(world.id("acme")).await;
    world.source.execute(TABLES).await;
    upstream.subscribe(&world).await;
    let daemon = start(&world, "select").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_applied_writes_arrive(&world, &upstream).await;
    // Writes of the application itself.
    world.source.execute("update gauge set v = -1; update unit set name = 'own'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let said = world.succeed(&["init"]).await;
    assert!(said.contains("all triggers are in place"), "{said}");
    upstream.write(&world, "truncate pt, gauge").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    upstream.end(&world).await;
    daemon.stop().await;
}

/// The first copy of a subscription is a COPY, which fires statement-level triggers too; what comes
/// after it does not.
#[tokio::test]
async fn a_subscription_that_is_made_later_is_noticed_within_a_minute() {
    let world = world().await;
    world.allow("capture_drifted");
    world.allow("capture_gap_noted");
    let upstream = Upstream::start(world.id("acme")).await;
    let daemon = start(&world, TABLES).await;
    world.wait_in_step().await;
    upstream.subscribe(&world).await;
    upstream.write(&world, "update gauge set v = 77; update unit set name = 'unseen'").await;
    oracle::wait_equal(&world, FOUND_WITHIN).await;
    until("row triggers are there", FOUND_WITHIN, async || {
        let triggers = world
            .source
            .try_query_text(
                "select count(*) from pg_trigger where tgname like 'offtake\\_capture\\_row%'",
            )
            .await?;
        if triggers == "3" { Ok(()) } else { Err(triggers) }
    })
    .await;
    world.wait_in_step().await;
    assert_applied_writes_arrive(&world, &upstream).await;
    // Without the subscription, statement-level triggers are enough again; nothing is copied again.
    world.succeed(&["init"]).await;
    upstream.end(&world).await;
    let said = world.succeed(&["init"]).await;
    assert!(said.contains("triggers put on") && !said.contains("noted as changed"), "{said}");
    world.source.execute("update gauge set v = 78; update unit set name = 'seen'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
