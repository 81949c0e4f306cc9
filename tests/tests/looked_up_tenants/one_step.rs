//! One look-up: the workload's items and their owners.

use offtake_tests::workload::Workload;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

/// Items 0, 20, 40 … have the code c0, which belongs to the first tenant.
async fn world() -> (World, Daemon) {
    let workload = Workload::new(1);
    let world = Workload::plan(["acme", "globex"]).await;
    workload.prepare(&world).await;
    let give = format!("update work.owner set tenant = '{}' where code = 'c0'", world.id("acme"));
    world.source.execute(&give).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    (world, daemon)
}

fn move_owner(world: &World) -> String {
    format!("update work.owner set tenant = '{}' where code = 'c0'", world.id("globex"))
}

const FIRST_ITEM: &str = "(select min(id) from work.item where code = 'c0')";

async fn check(world: &World, daemon: Daemon) {
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_row_deleted_with_its_owners_move_leaves_the_old_tenant() {
    let (world, daemon) = world().await;
    world
        .source
        .execute(&format!("delete from work.item where id = {FIRST_ITEM}; {}", move_owner(&world)))
        .await;
    check(&world, daemon).await;
}

#[tokio::test]
async fn a_row_handed_on_with_its_owners_move_leaves_the_old_tenant() {
    let (world, daemon) = world().await;
    let elsewhere = "insert into work.owner (code, tenant, body) values ('c99', 'nobody', '')";
    world
        .source
        .execute(&format!(
            "{elsewhere}; update work.item set code = 'c99' where id = {FIRST_ITEM}; {}",
            move_owner(&world)
        ))
        .await;
    check(&world, daemon).await;
}

#[tokio::test]
async fn a_row_deleted_between_its_owners_tick_and_its_own_leaves_the_old_tenant() {
    let (world, daemon) = world().await;
    daemon.set_failpoint("sequencer.after_stamp", "pause").await;
    world.source.execute(&move_owner(&world)).await;
    daemon.wait_at_failpoint("sequencer.after_stamp", 1).await;
    world.source.execute(&format!("delete from work.item where id = {FIRST_ITEM}")).await;
    daemon.clear_failpoint("sequencer.after_stamp").await;
    check(&world, daemon).await;
}

#[tokio::test]
async fn a_row_deleted_while_its_owners_code_is_swapped_leaves_the_old_tenant() {
    let (world, daemon) = world().await;
    daemon.set_failpoint("sequencer.after_stamp", "pause").await;
    world.source.execute(&format!("delete from work.item where id = {FIRST_ITEM}")).await;
    daemon.wait_at_failpoint("sequencer.after_stamp", 1).await;
    world.source.execute("update work.owner set code = case code when 'c0' then 'c1' else 'c0' end where code in ('c0', 'c1')").await;
    daemon.clear_failpoint("sequencer.after_stamp").await;
    check(&world, daemon).await;
}

#[tokio::test]
async fn a_change_whose_owner_is_locked_for_long_reaches_the_copies() {
    let (world, daemon) = world().await;
    let application = world.source.connect().await;
    application.batch_execute("begin; lock table work.owner").await.expect("the table is free");
    world.source.execute(&format!("delete from work.item where id = {FIRST_ITEM}")).await;
    until("the daemon says that it does not wait for the lock", PATIENCE, async || {
        let told = daemon.log().iter().any(|line| line.event == "lookup_locked");
        if told { Ok(()) } else { Err("it has not".to_owned()) }
    })
    .await;
    application.batch_execute("commit").await.expect("nothing was written");
    check(&world, daemon).await;
}
