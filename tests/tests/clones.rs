//! Whose copy a destination is: a copy of the source does not overwrite what the source itself
//! serves, and a source that takes another one's place does.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use offtake_private_server::PrivateServer;
use offtake_tests::clusters::Clusters;
use offtake_tests::printed::between;
use offtake_tests::{Daemon, Database, PATIENCE, World, copy_folder, oracle, until};

/// A world in step, without a daemon at the moment.
async fn world() -> World {
    let world = World::with_tenants(["acme"]).private_source().await;
    // A refused destination is an error, and a server that is down causes many warnings.
    world.allow("*");
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn sql(url: &str, statements: &str) {
    run(Command::new("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statements]));
}

/// Restores a dump of the source on another server.
async fn dumped(world: &World) -> Database {
    let restored = Database::create(&Clusters::shared().await.destinations, "clone", None).await;
    let file = world.folder().join("dump.sql");
    run(Command::new("pg_dump").arg("-d").arg(world.source.url()).arg("-f").arg(&file));
    run(Command::new("psql").args(["-qX", "-d", &restored.url(), "-f"]).arg(&file));
    restored
}

/// The daemon of another source, with the same addresses.
async fn daemon_on(world: &mut World, url: &str) -> Daemon {
    world.configure(|c| c["source"]["url"] = url.into());
    world.daemon().await
}

/// Waits until the daemon tells that another source serves acme. Returns the reason.
async fn wait_refused(world: &World, daemon: &Daemon) -> String {
    let told = world.wait_told(daemon, "acme", "blocked", &["is served by another source"]).await;
    told["reason"].as_str().unwrap().to_owned()
}

async fn wait_name(world: &World, name: &str) {
    let all = format!("select count(*) > 0 and bool_and(display_name = '{name}') from users");
    world.tenant("acme").destination.wait_text(&all, "t").await;
}

/// A write at the world's own source arrives, and the copy equals the source.
async fn assert_served(world: &World, name: &str) {
    world.source.execute(&name_everyone(name)).await;
    wait_name(world, name).await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

fn name_everyone(name: &str) -> String {
    format!("update public.project_user set display_name = '{name}'")
}

async fn adopt(world: &World) {
    let output = world.offtake(&["adopt", "--tenant", world.id("acme")]).await;
    assert_eq!(output.status.code(), Some(2), "it asks");
    world.succeed(&["adopt", "--tenant", world.id("acme"), "--yes"]).await;
}

/// A dump that is restored on another server, as for staging, or in order to replace the source.
#[tokio::test]
async fn a_restored_dump_serves_a_destination_only_by_command() {
    let mut world = world().await;
    let ours = world.source.url();
    let clone = dumped(&world).await;
    clone.execute(&name_everyone("STAGING")).await;
    let rightful = world.daemon().await;
    world.wait_in_step().await;
    world.configure(|c| c["source"]["url"] = clone.url().into());
    world.succeed(&["init"]).await;
    let staging = daemon_on(&mut world, &clone.url()).await;
    let reason = wait_refused(&world, &staging).await;
    for name in [world.source.name(), clone.name(), "since 20"] {
        assert!(reason.contains(name), "{name}: {reason}");
    }
    assert_served(&world, "ours").await;

    // The clone is to replace the source: the command as it is printed.
    let command = between(&reason, "run offtake ", "\n");
    let words: Vec<&str> = command.split(' ').chain(["--yes"]).collect();
    world.succeed(&words).await;
    wait_name(&world, "STAGING").await;
    world.source.execute(&name_everyone("too late")).await;
    let reason = wait_refused(&world, &rightful).await;
    assert!(reason.contains(world.source.name()) && reason.contains(clone.name()), "{reason}");
    clone.execute(&name_everyone("STAGING 2")).await;
    wait_name(&world, "STAGING 2").await;

    // And back again.
    world.configure(|c| c["source"]["url"] = ours.into());
    adopt(&world).await;
    wait_name(&world, "too late").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    clone.execute(&name_everyone("STAGING 3")).await;
    wait_refused(&world, &staging).await;
    staging.stop().await;
    rightful.stop().await;
}

/// Nothing changes at the source meanwhile, and its daemon still has its session: what it knows of
/// the destination is out of date all the same.
#[tokio::test]
async fn a_quiet_source_that_takes_a_destination_back_copies_it_again() {
    let mut world = world().await;
    let ours = world.source.url();
    world.source.execute(&name_everyone("ours")).await;
    let clone = dumped(&world).await;
    clone.execute(&name_everyone("STAGING")).await;
    let rightful = world.daemon().await;
    world.wait_in_step().await;
    world.configure(|c| c["source"]["url"] = clone.url().into());
    world.succeed(&["init"]).await;
    let staging = daemon_on(&mut world, &clone.url()).await;
    wait_refused(&world, &staging).await;
    adopt(&world).await;
    wait_name(&world, "STAGING").await;
    world.configure(|c| c["source"]["url"] = ours.into());
    adopt(&world).await;
    wait_name(&world, "ours").await;
    oracle::assert_equal(&world).await;
    staging.stop().await;
    rightful.stop().await;
}

/// A copy in the same cluster has the same server, timeline and installation.
#[tokio::test]
async fn a_copy_of_the_database_in_its_own_cluster_is_another_source() {
    let mut world = world().await;
    let ours = world.source.url();
    let template = world.source.name().to_owned();
    let server = world.source_server().await.url("postgres");
    sql(
        &server,
        &format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{template}'"
        ),
    );
    let clone = Database::create(&server, "clone", Some(&template)).await;
    clone.execute(&name_everyone("STAGING")).await;
    let staging = daemon_on(&mut world, &clone.url()).await;
    wait_refused(&world, &staging).await;
    let rightful = daemon_on(&mut world, &ours).await;
    assert_served(&world, "ours").await;
    staging.stop().await;
    rightful.stop().await;
}

/// A copy of the disk is the same in everything, except that it has not seen the latest visits.
#[tokio::test]
async fn a_copy_of_the_disk_is_another_source() {
    let mut world = world().await;
    let mut clone = PrivateServer::start(Clusters::options()).await.unwrap();
    clone.shut_down();
    let copied = clone.folder().join("data");
    {
        let mut server = world.source_server().await;
        server.shut_down();
        std::fs::remove_dir_all(&copied).unwrap();
        copy_folder(&server.folder().join("data"), &copied);
        server.start_again().await.unwrap();
    }
    clone.start_again().await.unwrap();
    let rightful = world.daemon().await;
    until("the rightful daemon has visited", PATIENCE, async || {
        let visits = world.source.try_query_text("select max(number) from offtake.visit").await?;
        let told = "select max((source_identity ->> 'visit')::bigint) from _offtake_state";
        match world.tenant("acme").destination.try_query_text(told).await? {
            told if told == visits && told != "1" => Ok(()),
            told => Err(format!("{told} of {visits}")),
        }
    })
    .await;
    let url = clone.url(world.source.name());
    sql(&url, &name_everyone("STAGING"));
    let staging = daemon_on(&mut world, &url).await;
    let reason = wait_refused(&world, &staging).await;
    assert!(reason.contains("a copy of the same disk"), "{reason}");
    assert_served(&world, "ours").await;
    staging.stop().await;
    rightful.stop().await;
    clone.stop().await;
}

/// The daemon was restarted too. So it cannot know that no other daemon serves the destination from
/// the old primary. (A daemon that outlives the promotion goes on at once:
/// `a_restored_source_begins_a_new_epoch_and_every_copy_is_reconciled`.)
#[tokio::test]
async fn a_promoted_standby_takes_over_when_the_primary_has_been_silent() {
    let world = world().await;
    world.promote_source().await;
    world.source.execute(&name_everyone("promoted")).await;
    let daemon = world.daemon().await;
    let reason = wait_refused(&world, &daemon).await;
    assert!(reason.contains("timeline 1,") && reason.contains("timeline 2,"), "{reason}");
    assert!(reason.contains("by itself once the other has been silent for 15 minutes"), "{reason}");
    // Makes it look as if the time had passed.
    let silent = "update _offtake_state set served_at = served_at - interval '15 minutes'";
    world.tenant("acme").destination.execute(silent).await;
    wait_name(&world, "promoted").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Restored in place, with the loss of changes that the destination has seen, and adopted by
/// command.
#[tokio::test]
async fn a_restore_in_place_takes_over_by_command() {
    let world = world().await;
    world.back_up_source().await;
    let daemon = world.daemon().await;
    world.source.execute(&name_everyone("lost")).await;
    wait_name(&world, "lost").await;
    daemon.stop().await;
    world.restore_source().await;
    let daemon = world.daemon().await;
    wait_refused(&world, &daemon).await;
    wait_name(&world, "lost").await;
    adopt(&world).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.source.execute(&name_everyone("afterwards")).await;
    wait_name(&world, "afterwards").await;
    daemon.stop().await;
}

/// A state table that an older version made gets the columns, and the source that comes first is
/// named.
#[tokio::test]
async fn an_older_state_table_is_taken_over() {
    let world = world().await;
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table _offtake_state drop source, drop source_identity, drop served_since, drop served_at").await;
    let daemon = world.daemon().await;
    world.source.execute(&name_everyone("later")).await;
    wait_name(&world, "later").await;
    let named = "select bool_and(source like '%on server%' and served_since <= served_at) from _offtake_state";
    assert_eq!(acme.query_text(named).await, "t");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
