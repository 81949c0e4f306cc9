//! H29: pgbouncer in transaction mode in front of a destination, and in session mode in front of
//! the source. In transaction mode the daemon has no session of its own: each transaction may get
//! another server process, which other clients use too.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use offtake_tests::pgbouncer::{Pgbouncer, PoolMode};
use offtake_tests::{PATIENCE, World, oracle, until};

/// Records which server process writes.
const NOTE_PROCESSES: &str = "
create table process (pid integer not null default pg_backend_pid());
create function note() returns trigger language plpgsql as $$ begin insert into public.process default values; return null; end $$;
create trigger note after insert or update or delete on users for each statement execute function note();";

/// Another client of the same database, whose transactions alternate with the daemon's.
async fn neighbour(url: &str, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let Ok((mut client, connection)) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await
        else {
            continue;
        };
        let connection = tokio::spawn(connection);
        while !done.load(Ordering::Relaxed) {
            let Ok(transaction) = client.transaction().await else { break };
            let used = transaction
                .batch_execute("set local search_path = nowhere; select pg_sleep(0.002)")
                .await;
            if used.is_err() || transaction.commit().await.is_err() {
                break;
            }
        }
        drop(client);
        let _ = connection.await;
    }
}

async fn write(world: &World, rounds: usize) {
    for round in 0..rounds {
        let change = format!(
            "update project_user set display_name = 'round {round}';
             delete from contact_channel where abs(hashtext(id::text)) % {rounds} = {round};
             update team set display_name = 'round {round}'"
        );
        world.source.execute(&change).await;
        world.wait_in_step().await;
    }
}

/// Writes until both server processes of the pooler have written for the daemon. Which process a
/// transaction gets is chance.
async fn write_by_both(world: &World) {
    let acme = &world.tenant("acme").destination;
    acme.execute("truncate process").await;
    write(world, 5).await;
    until("both server processes have written", PATIENCE, async || {
        let processes = acme.query_text("select count(distinct pid) from process").await;
        if processes == "2" {
            return Ok(());
        }
        write(world, 2).await;
        Err(processes)
    })
    .await;
}

#[tokio::test]
async fn a_destination_behind_a_pooler_in_transaction_mode_is_like_any_other() {
    let mut world = World::with_tenants(["acme", "globex"]).rows_at_once(20).await;
    let Some(mut pooler) =
        Pgbouncer::before(&world.tenant("acme").destination.url(), PoolMode::Transaction, 2).await
    else {
        return;
    };
    world.reach_by("acme", |url| pooler.url(url));
    world.fill(120).await;
    let done = AtomicBool::new(false);
    let url = pooler.url(&world.tenant("acme").destination.url());
    let work = async {
        let mut daemon = world.daemon().await;
        world.wait_in_step().await;
        world.tenant("acme").destination.execute(NOTE_PROCESSES).await;
        write_by_both(&world).await;
        // The next daemon's prepared statements have the same names as those of this one.
        daemon.kill();
        let (daemon, other) = tokio::join!(world.daemon(), world.daemon());
        write_by_both(&world).await;
        world.allow("destination_failed");
        pooler.restart().await;
        write_by_both(&world).await;
        world.succeed(&["verify"]).await;
        oracle::assert_equal(&world).await;
        daemon.stop().await;
        other.stop().await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, neighbour(&url, &done));
}

/// The source belongs to the operator, and may be behind a pooler that keeps a session's server
/// process. A pooler that does not is reported as such.
#[tokio::test]
async fn a_source_behind_a_pooler_in_session_mode_is_like_any_other() {
    let mut world = World::with_tenants(["acme", "globex"]).rows_at_once(20).await;
    let source = world.source.url();
    let Some(mut pooler) = Pgbouncer::before(&source, PoolMode::Session, 40).await else { return };
    world.configure(|c| c["source"]["url"] = pooler.url(&source).into());
    world.fill(60).await;
    let daemon = world.daemon().await;
    write(&world, 4).await;
    world.allow("*");
    pooler.restart().await;
    write(&world, 4).await;
    world.succeed(&["verify"]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
    let transactions = Pgbouncer::before(&source, PoolMode::Transaction, 2).await.unwrap();
    world.configure(|c| c["source"]["url"] = transactions.url(&source).into());
    let done = AtomicBool::new(false);
    let refused = async {
        // It is chance where the daemon meets the pooler first: while it waits for the source, or
        // right after.
        let mut daemon = world.spawn_daemon(&[]);
        until("the pooler is reported", PATIENCE, async || {
            let told =
                daemon.log_text().contains("source.url leads to a pooler in transaction mode");
            if told { Ok(()) } else { Err(daemon.log_text()) }
        })
        .await;
        done.store(true, Ordering::Relaxed);
        daemon.kill();
    };
    let by_way = transactions.url(&source);
    tokio::join!(refused, neighbour(&by_way, &done), neighbour(&by_way, &done));
}
