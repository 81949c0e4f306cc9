//! H25: a request whose data kills every daemon that works on it is postponed for longer and
//! longer, and reported. All other destinations go on.

#![allow(clippy::unwrap_used)]

use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

/// Starts daemons, as a supervisor does, until one survives. Returns it.
async fn restart_until_one_lives(world: &World, deaths: &mut usize) -> Daemon {
    loop {
        let daemon = world.spawn_daemon_with_failpoints(&[("sync.mid_batch", "abort")]);
        // The request must stay postponed while the test looks at it. If this daemon has claimed
        // it, it will still be killed, however long that takes.
        let parked = format!(
            "with parked as (
               update offtake.outgoing_request set not_before = now() + interval '1 hour'
                where leased_until < now() and failures > 1 and not_before > now() + interval '2 seconds'
                  and leased_by not like '{}:%' returning 1)
             select count(*) from parked",
            daemon.pid()
        );
        let lives = until("the daemon dies, or what kills it is parked", PATIENCE, async || {
            if !daemon.runs() {
                return Ok(false);
            }
            let found = world.source.query_text(&parked).await;
            if found == "1" { Ok(true) } else { Err(found) }
        })
        .await;
        if lives {
            return daemon;
        }
        *deaths += 1;
        assert!(*deaths < 20, "the request kills one daemon after another");
    }
}

/// The test fails if a claim leaves `not_before` unchanged: twenty daemons died, one each second.
#[tokio::test]
async fn a_destination_that_kills_its_daemon_is_parked_and_told() {
    let world = World::with_tenants(["acme", "globex"]).setting("/poller/lease", "1s").await;
    world.allow("*");
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world
        .source
        .execute(&format!(
            "update project_user set display_name = 'deadly' where tenancy_id = '{}'",
            world.id("acme")
        ))
        .await;
    let mut deaths = 0;
    let mut daemon = restart_until_one_lives(&world, &mut deaths).await;
    assert!(deaths > 1, "a single death looks like any restart");
    daemon.clear_failpoints().await;
    daemon.wait_ready().await;
    let told =
        world.wait_told(&daemon, "acme", "blocked", &["the daemon died", "times in a row"]).await;
    assert!(told["consecutive_failures"].as_u64() > Some(1), "{told}");
    world
        .source
        .execute(&format!(
            "update project_user set display_name = 'beside' where tenancy_id = '{}'",
            world.id("globex")
        ))
        .await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    // When its time has come, it is retried without any action of the operator.
    world.source.execute("update offtake.outgoing_request set not_before = now()").await;
    world.wait_in_step().await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
