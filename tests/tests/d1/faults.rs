//! What networks and Cloudflare do to requests: none of it loses, repeats or brings back a row.

use offtake_tests::d1::{Fault, MOVES, TOKEN};
use offtake_tests::{PATIENCE, oracle, until};
use serde_json::json;

use crate::{world, write};

const NAME: &str = "select name from items where id = 1";

/// The answer to a batch is lost after the commit: the very same request is sent again, and changes
/// nothing more. Twice delivered requests do neither.
#[tokio::test]
async fn the_same_request_is_sent_again_when_its_answer_is_lost() {
    let Some(world) = world().await else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    for (round, fault) in [Fault::LoseAnswer, Fault::Lose, Fault::Twice].into_iter().enumerate() {
        let before = world.d1().seen().len();
        world.d1().next(MOVES, fault.clone());
        write(&world, &format!("update item set name = 'round {round}' where {{acme}} and id = 1"))
            .await;
        world.wait_in_step().await;
        assert_eq!(world.tenant("acme").file().query_text(NAME), format!("round {round}"));
        oracle::assert_equal(&world).await;
        let sent = world.d1().seen().split_off(before);
        let moves: Vec<_> = sent.iter().filter(|seen| seen.body.contains(MOVES)).collect();
        let wanted = if matches!(fault, Fault::Twice) { 1 } else { 2 };
        assert_eq!(moves.len(), wanted, "{fault:?}");
        assert!(moves.iter().all(|seen| seen.body == moves[0].body), "{fault:?}");
    }
    daemon.stop().await;
}

/// A request that was given up arrives after the next batch. Its guard ends it: the older
/// row does not come back.
#[tokio::test]
async fn a_request_that_arrives_after_the_next_batch_changes_nothing() {
    let Some(world) = world().await else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.d1().next(MOVES, Fault::Late);
    write(&world, "update item set name = 'older' where {acme} and id = 1").await;
    world.wait_in_step().await;
    write(&world, "update item set name = 'newer' where {acme} and id = 1").await;
    world.wait_in_step().await;
    let answers = world.d1().deliver().await;
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains("offtake_stale"), "{}", answers[0]);
    assert_eq!(world.tenant("acme").file().query_text(NAME), "newer");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Of all requests a tenth is lost, before or after it has arrived, and three times the daemon is
/// killed meanwhile. Every row arrives once.
#[tokio::test]
async fn copies_arrive_through_lost_requests_and_killed_daemons() {
    let Some(world) = crate::filled(crate::plan().setting("/poller/lease", "1s")).await else {
        return;
    };
    world.allow("*");
    world.d1().lose(0.1);
    for _ in 0..3 {
        let mut killed =
            world.spawn_daemon_with_failpoints(&[("sync.after_commit", "2*off->abort")]);
        killed.wait_exit(PATIENCE).await;
        // More batches of each tenant than the next daemon lives for.
        write(&world, "update item set name = name || '.'").await;
        write(&world, "delete from item where id in (select max(id) from item)").await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.d1().mend();
    oracle::assert_equal(&world).await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

/// While Cloudflare refuses a token, nobody asks with it; afterwards the copy goes on.
#[tokio::test]
async fn a_token_that_is_refused_is_left_alone_until_it_is_not() {
    let Some(world) = world().await else { return };
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let limited = json!({ "success": false, "errors": [{ "code": 971, "message": "limited" }] });
    let fault = Fault::Answer(429, "Retry-After: 12\r\n".to_owned(), limited.to_string());
    world.d1().always("", fault);
    let before = world.d1().seen().len();
    write(&world, "update item set name = 'after' where {acme} and id = 1").await;
    let reason = until("the status says so", PATIENCE, async || {
        let told = world.told(&daemon, "acme").await.to_string();
        if told.contains("limit of requests") { Ok(told) } else { Err(told) }
    })
    .await;
    assert!(!reason.contains(TOKEN), "{reason}");
    let asked = world.d1().seen().len() - before;
    assert!(asked <= 3, "{asked} requests while the token was refused");
    world.d1().mend();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// An endpoint that runs the statements of a batch one by one would let rows and cursor come apart.
/// It is found out before a row is written.
#[tokio::test]
async fn an_endpoint_that_is_not_atomic_is_refused() {
    let Some(world) = world().await else { return };
    world.allow("destination_failed");
    world.allow("destination_blocked");
    world.d1().always("", Fault::Apart);
    let daemon = world.daemon().await;
    until("the status says so", PATIENCE, async || {
        let told = world.told(&daemon, "acme").await.to_string();
        if told.contains("does not run a batch as one transaction") { Ok(()) } else { Err(told) }
    })
    .await;
    let file = world.tenant("acme").file();
    let made = "select count(*) from sqlite_schema where name not like '_cf%'";
    assert_eq!(file.query_text(made), "0", "nothing is made there");
    daemon.stop().await;
}

/// The token is sent to the endpoint, and told to nobody else: not by the log, the status, the
/// configuration or a failure.
#[tokio::test]
async fn a_token_is_in_no_output() {
    let Some(world) = world().await else { return };
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    assert!(world.d1().seen().iter().all(|seen| {
        seen.head.contains(&format!("authorization: Bearer {TOKEN}"))
            && !seen.head.lines().next().unwrap_or_default().contains(TOKEN)
            && !seen.body.contains(TOKEN)
    }));
    let told = json!({ "success": false, "errors": [{ "code": 10000, "message": format!("the token {TOKEN} is not valid") }] });
    world.d1().always("", Fault::Answer(403, String::new(), told.to_string()));
    write(&world, "update item set name = 'x' where {acme} and id = 1").await;
    let status = until("the status says so", PATIENCE, async || {
        let told = world.told(&daemon, "acme").await.to_string();
        if told.contains("is not valid") { Ok(told) } else { Err(told) }
    })
    .await;
    let mut all = vec![status, daemon.log_text()];
    all.push(daemon.get("/api/v1/config").await.1);
    all.push(daemon.get("/metrics").await.1);
    for arguments in [&["config"][..], &["check", "--connect"], &["status", "--json"], &["verify"]]
    {
        let output = world.offtake(arguments).await;
        all.push(String::from_utf8_lossy(&output.stdout).into_owned());
        all.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    for told in all {
        assert!(!told.contains("canary"), "{told}");
    }
    let kept = "select count(*) from offtake.destination d where d::text like '%canary%'";
    assert_eq!(world.source.query_text(kept).await, "0");
    daemon.stop().await;
}
