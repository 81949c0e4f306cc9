//! Work that an operator stops over HTTP stops as soon as the daemon has read it, also in the
//! middle of long work.

use std::time::Duration;

use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use tokio_postgres::Client;

const CHANNELS: &str = "\
source: { table: public.contact_channel, tenant: tenancy_id, key: { id: id } }
query: select tenancy_id as tenant_id, id, value from public.contact_channel
target: { table: channels }
";

async fn rows(world: &World) -> u64 {
    let there = &world.tenant("acme").destination;
    there
        .try_query_text("select count(*) from users")
        .await
        .ok()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(0)
}

/// How many sessions wait for a lock at the destination.
const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/// How many of the daemon's server processes at the destination are busy.
const BUSY: &str = "select count(*) from pg_stat_activity
                     where datname = current_database() and application_name like 'offtake%' and state <> 'idle'";

/// Locks the table in a session of acme's, and returns this session once a batch waits for the
/// lock.
async fn lock_users_against_a_batch(world: &World) -> Client {
    let there = &world.tenant("acme").destination;
    let tenant = there.connect().await;
    tenant.batch_execute("begin; lock table users").await.expect("the table is free");
    world.source.execute("update public.project_user set display_name = 'second'").await;
    until("the batch waits for the lock", PATIENCE, async || {
        match there.query_text(WAITING).await.as_str() {
            "1" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    tenant
}

/// Waits until no batch waits for the tenant's lock. The lock stays, so a batch that was not
/// stopped would wait until its own timeout of a minute.
async fn wait_no_longer(world: &World) {
    until("the batch waits no more", PATIENCE, async || {
        match world.tenant("acme").destination.query_text(WAITING).await.as_str() {
            "0" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
}

async fn ask(daemon: &Daemon, method: &str, path: &str, body: &str) {
    let (code, told) = daemon.request(method, &format!("/api/v1/{path}"), &[], body).await;
    assert!((200..300).contains(&code), "{method} {path}: {code} {told}");
}

/// The attempt in progress for acme's request; empty if no worker works on it.
async fn attempt(world: &World) -> String {
    world
        .source
        .query_text("select attempt from offtake.outgoing_request where leased_until is not null")
        .await
}

/// Every statement of the copy takes a tenth of a second, so that the copy cannot end by itself
/// during the test.
const SLOW: &str = "
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return null; end $$;
    create trigger slow after insert on users for each statement execute function slow()";

/// Rows of the copy.
const ALL: u64 = 10_000;

/// A world whose copy of the users takes [`SLOW`] time.
async fn world_of_a_slow_copy() -> World {
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).rows_at_once(20).await;
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into public.project_user (tenancy_id, display_name)
             select '{id}', 'user ' || n from generate_series(1, {ALL}) n"
        ))
        .await;
    let there = &world.tenant("acme").destination;
    there.execute("create table users (id uuid primary key, display_name text); comment on table users is 'offtake:users'").await;
    there.execute(SLOW).await;
    world
}

/// The fuse that stops acme's copy; method, path and body that blow it; path and body that undo it.
type WayToStop = (String, &'static str, String, &'static str, String, &'static str);

fn ways_to_stop(id: &str) -> Vec<WayToStop> {
    let destination = format!("destinations/{id}/main");
    let own = format!("destination:{id}/main");
    let fuses =
        ["sync".to_owned(), format!("tenant:{id}"), own.clone(), "mapping:users".to_owned()];
    let off = r#"{"enabled":false,"reason":"a test"}"#;
    let mut ways: Vec<WayToStop> = vec![(
        own,
        "POST",
        format!("{destination}/pause"),
        r#"{"reason":"a test"}"#,
        format!("{destination}/resume"),
        "{}",
    )];
    ways.extend(fuses.map(|fuse| {
        (
            fuse.clone(),
            "PATCH",
            format!("fuses/{fuse}"),
            off,
            format!("fuses/{fuse}"),
            r#"{"enabled":true}"#,
        )
    }));
    ways
}

/// Waits until the current turn has ended, and its last statement at the destination too.
async fn wait_turn_ended(world: &World) {
    // A turn in progress may ignore a mapping's fuse; the next turn must not.
    let under_way = attempt(world).await;
    until("the current turn has ended", PATIENCE, async || match attempt(world).await {
        now if now != under_way || now.is_empty() => Ok(()),
        now => Err(now),
    })
    .await;
    // The turn's last statement, even a COMMIT, may still be running at the destination.
    until("its server process is at rest", PATIENCE, async || {
        match world.tenant("acme").destination.query_text(BUSY).await.as_str() {
            "0" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_copy_under_way_stands_still_and_goes_on() {
    let world = world_of_a_slow_copy().await;
    let id = world.id("acme");
    let there = &world.tenant("acme").destination;
    let daemon = world.daemon().await;
    for (fuse, method, path, body, undo_path, undo) in &ways_to_stop(id) {
        let before = rows(&world).await;
        until("the copy goes on", PATIENCE, async || {
            if rows(&world).await > before { Ok(()) } else { Err(format!("{before}")) }
        })
        .await;
        ask(&daemon, method, path, body).await;
        daemon.wait_fuse(fuse, true).await;
        wait_turn_ended(&world).await;
        let stopped = rows(&world).await;
        // Five times as long as a batch takes.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(rows(&world).await, stopped, "{path} stops nothing");
        assert!(stopped < ALL, "the copy ended before it could be stopped");
        ask(&daemon, method, undo_path, undo).await;
        daemon.wait_fuse(fuse, false).await;
    }
    // The test does not need the rest of the copy.
    let few = "truncate public.project_user cascade; insert into public.project_user (tenancy_id, display_name) values ('{id}', 'last')";
    world.source.execute(&few.replace("{id}", id)).await;
    there.execute("drop trigger slow on users").await;
    ask(&daemon, "POST", &format!("destinations/{id}/main/sync"), "").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_pause_ends_what_waits_for_a_lock_there() {
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let tenant = lock_users_against_a_batch(&world).await;
    let destination = format!("destinations/{}/main", world.id("acme"));
    ask(&daemon, "POST", &format!("{destination}/pause"), r#"{"reason":"a test"}"#).await;
    wait_no_longer(&world).await;
    tenant.batch_execute("commit").await.expect("nothing is in its way");
    ask(&daemon, "POST", &format!("{destination}/resume"), "{}").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The destination's other mappings go on. The test fails if only the next turn looks at a
/// mapping's fuse: nothing got past the lock.
#[tokio::test]
async fn a_mappings_fuse_ends_what_waits_for_a_lock_there() {
    let world =
        World::with_tenants(["acme"]).mappings(&[("users", USERS), ("channels", CHANNELS)]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    let tenant = lock_users_against_a_batch(&world).await;
    ask(&daemon, "PATCH", "fuses/mapping:users", r#"{"enabled":false,"reason":"a test"}"#).await;
    wait_no_longer(&world).await;
    world.source.execute("update public.contact_channel set value = 'beside@example.com'").await;
    let beside = "select count(*) > 0 and bool_and(value = 'beside@example.com') from channels";
    until("the other mapping goes on", PATIENCE, async || {
        match there.query_text(beside).await.as_str() {
            "t" => Ok(()),
            _ => Err(String::new()),
        }
    })
    .await;
    tenant.batch_execute("commit").await.expect("nothing is in its way");
    ask(&daemon, "PATCH", "fuses/mapping:users", r#"{"enabled":true}"#).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Work that is stopped during a slow read at the source goes on as soon as the pause ends. The
/// test fails if a session is returned to the pool in the middle of its statement: the request was
/// released only after the statement had ended.
#[tokio::test]
async fn a_pause_in_a_slow_read_is_over_when_it_ends() {
    const SLOW: &str = "\
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, public.slowly(display_name) as display_name from public.project_user
target: { table: users }
";
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("users", SLOW)]).await;
    world
        .source
        .execute(
            "create function public.slowly(name text) returns text stable language plpgsql as
             $$ begin if name = 'slow' then perform pg_sleep(50); end if; return name; end $$",
        )
        .await;
    world.succeed(&["init"]).await;
    world.fill(1).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("update public.project_user set display_name = 'slow'").await;
    let sleeping = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    until("the read is slow", PATIENCE, async || {
        match world.source.query_text(sleeping).await.as_str() {
            "1" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    let destination = format!("destinations/{}/main", world.id("acme"));
    ask(&daemon, "POST", &format!("{destination}/pause"), r#"{"reason":"a test"}"#).await;
    let held = "select count(*) from offtake.outgoing_request where leased_until is not null";
    until("the request is given back", PATIENCE, async || {
        match world.source.query_text(held).await.as_str() {
            "0" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    world.source.execute("update public.project_user set display_name = 'quick'").await;
    ask(&daemon, "POST", &format!("{destination}/resume"), "{}").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
