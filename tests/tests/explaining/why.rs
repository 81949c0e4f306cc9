//! Each broken situation of a tenant: made, named by `offtake why`, ended as it says.

use offtake_tests::proxy::Mode;
use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use super::{follow, told};

/// Users that have signed up: a query with a filter.
const USERS: &str = "\
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: |
  select tenancy_id as tenant_id, project_user_id as id, display_name
    from public.project_user where not is_anonymous
target: { table: users }
";

/// The key of the user whose story is asked for.
const ADA: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

async fn world(tenants: &[&str]) -> World {
    let world = World::with_tenants(tenants.iter().copied())
        .proxied(tenants[0])
        .mappings(&[("users", USERS)])
        .setting("/sync/retry", json!({ "initial": "200ms", "max": "1s" }))
        .await;
    for tenant in tenants {
        let insert = format!(
            "insert into public.project_user (tenancy_id, project_user_id, display_name)
             values ('{}', '{ADA}', 'Ada')",
            world.id(tenant)
        );
        world.source.execute(&insert).await;
    }
    world
}

/// Changes Ada's row.
async fn change(world: &World, tenant: &str, name: &str) {
    let update = format!(
        "update public.project_user set display_name = '{name}'
          where tenancy_id = '{}' and project_user_id = '{ADA}'",
        world.id(tenant)
    );
    world.source.execute(&update).await;
}

/// What is waited for: of the tenant's only destination or webhook, or of the key in it.
fn waits(why: &Value) -> &Value {
    let item = &why["items"][0];
    if item["key"].is_null() { &item["waits_for"] } else { &item["key"]["waits_for"] }
}

/// Asks until that is the cause. Returns the exit code and the answer.
async fn until_cause(world: &World, tenant: &str, more: &[&str], cause: &str) -> (i32, Value) {
    let arguments = [&["why", "--tenant", world.id(tenant)], more].concat();
    until(&format!("{tenant} waits for {cause}"), PATIENCE, async || {
        let (code, why) = told(world, &arguments).await;
        match waits(&why)["cause"] == cause {
            true => Ok((code, why)),
            false => Err(format!("{why:#}")),
        }
    })
    .await
}

const KEY: [&str; 4] = ["--mapping", "users", "--key", ADA];

/// Asks until that is the cause with these words, follows what is printed, and asks until all is
/// well again.
async fn named_and_ended(world: &World, tenant: &str, more: &[&str], cause: &str, words: &str) {
    let remedy = named(world, tenant, more, cause, words).await;
    ended(world, tenant, more, &remedy).await;
}

/// Asks until that is the cause with these words. Returns the remedy.
async fn named(world: &World, tenant: &str, more: &[&str], cause: &str, words: &str) -> String {
    let (code, why) = until_cause(world, tenant, more, cause).await;
    let waits = waits(&why);
    assert!(waits["text"].as_str().unwrap().contains(words), "{words}: {why:#}");
    assert_eq!((code, &why["up_to_date"]), (4, &json!(false)), "{why:#}");
    waits["remedy"].as_str().unwrap().to_owned()
}

/// Follows what was printed, and asks until all is well again.
async fn ended(world: &World, tenant: &str, more: &[&str], remedy: &str) {
    follow(world, remedy).await;
    let (code, why) = until_cause(world, tenant, more, "nothing").await;
    assert_eq!((code, &why["up_to_date"]), (0, &json!(true)), "{why:#}");
}

/// What operators stop, step by step of a change's way.
#[tokio::test]
async fn what_is_stopped_is_named_with_the_command_that_continues_it() {
    let world = world(&["acme"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let (code, why) = until_cause(&world, "acme", &KEY, "nothing").await;
    let row = &why["items"][0]["key"]["row"];
    assert_eq!((code, &row["at_destination"], &row["equal"]), (0, &json!(true), &json!(true)));

    let id = world.id("acme").to_owned();
    world.succeed(&["pause", "--tenant", &id, "--reason", "their migration"]).await;
    change(&world, "acme", "Ada 1").await;
    named_and_ended(&world, "acme", &KEY, "paused", "their migration").await;

    for (fuse, words) in [
        (format!("tenant:{id}"), "is off: a test"),
        ("sequencer".to_owned(), "wait to be numbered"),
        ("poller".to_owned(), "has not owed it yet"),
        ("sync".to_owned(), "no worker has it"),
    ] {
        world.succeed(&["fuse", "off", &fuse, "--reason", "a test"]).await;
        daemon.wait_fuse(&fuse, true).await;
        for name in ["sequencer", "poller"] {
            if name == fuse {
                daemon.wait_round(name).await;
            }
        }
        change(&world, "acme", &format!("Ada {fuse}")).await;
        named_and_ended(&world, "acme", &KEY, "fuse", words).await;
        daemon.wait_fuse(&fuse, false).await;
    }
    // The same without a key.
    world.succeed(&["fuse", "off", "sync", "--reason", "a test"]).await;
    daemon.wait_fuse("sync", true).await;
    change(&world, "acme", "Ada 2").await;
    named_and_ended(&world, "acme", &[], "fuse", "the fuse sync is off").await;
    daemon.stop().await;
}

/// A row that the destination refuses, one that was changed there, and one that the query leaves
/// out.
#[tokio::test]
async fn the_story_of_a_key_says_refused_different_or_left_out() {
    let world = world(&["acme"]).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    there.execute("alter table users add constraint no_bad check (display_name <> 'bad')").await;
    change(&world, "acme", "bad").await;
    let (_, why) = until_cause(&world, "acme", &KEY, "quarantined").await;
    assert_eq!(why["items"][0]["key"]["refused"]["sqlstate"], "23514", "{why:#}");
    assert!(!why.to_string().contains("'bad'") && !why.to_string().contains("\"bad\""), "{why:#}");
    let remedy = named(&world, "acme", &KEY, "quarantined", "no_bad").await;
    // From here on the daemon may try it again before the command is typed.
    there.execute("alter table users drop constraint no_bad").await;
    ended(&world, "acme", &KEY, &remedy).await;

    there.execute(&format!("delete from users where id = '{ADA}'")).await;
    let (code, why) = until_cause(&world, "acme", &KEY, "differs").await;
    assert_eq!(code, 3, "{why:#}");
    follow(&world, waits(&why)["remedy"].as_str().unwrap()).await;
    until_cause(&world, "acme", &KEY, "nothing").await;

    let hidden = format!(
        "update public.project_user set is_anonymous = true where project_user_id = '{ADA}'"
    );
    world.source.execute(&hidden).await;
    until("the row is left out", PATIENCE, async || {
        let (code, why) =
            told(&world, &[&["why", "--tenant", world.id("acme")], &KEY[..]].concat()).await;
        let text = waits(&why)["text"].as_str().unwrap_or_default();
        match code == 0 && text.contains("the query gives no row for it") {
            true => Ok(()),
            false => Err(format!("{code} {why:#}")),
        }
    })
    .await;
    daemon.stop().await;
}

/// A destination that is down, one whose table is in the way, and triggers that are gone.
#[tokio::test]
async fn what_fails_is_named_with_what_mends_it() {
    let world = world(&["acme", "globex"]).await;
    world.allow("*");
    world
        .tenant("globex")
        .destination
        .execute("create table users (name text); insert into users values ('mine')")
        .await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;

    let remedy = named(&world, "globex", &KEY, "mapping", "was there before Offtake").await;
    // From here on the daemon may try it again before the command is typed.
    world.tenant("globex").destination.execute("alter table users rename to theirs").await;
    ended(&world, "globex", &KEY, &remedy).await;

    let proxy = world.tenant("acme").proxy();
    proxy.set(Mode::Refuse);
    let (code, why) = until_cause(&world, "acme", &[], "unreachable").await;
    assert_eq!((code, &why["items"][0]["connection"]["answers"]), (4, &json!(false)), "{why:#}");
    change(&world, "acme", "Ada 1").await;
    until_cause(&world, "acme", &[], "failing").await;
    let (_, why) = until_cause(&world, "acme", &KEY, "failing").await;
    assert_eq!(why["items"][0]["key"]["applied"], false, "{why:#}");
    proxy.set(Mode::Pass);
    // It may have been retried before the command is typed.
    let remedy = waits(&why)["remedy"].as_str().unwrap();
    follow(&world, remedy).await;
    until_cause(&world, "acme", &KEY, "nothing").await;

    daemon.stop().await;
    world.source.wait_left().await;
    change(&world, "acme", "Ada 2").await;
    let (code, why) = until_cause(&world, "acme", &KEY, "no_daemon").await;
    assert_eq!((code, &why["daemon_sessions"]), (4, &json!(0)), "{why:#}");
    assert_eq!(waits(&why)["remedy"], "start one: offtake run", "{why:#}");

    world.source.execute("alter table public.project_user disable trigger all").await;
    let (_, why) = until_cause(&world, "acme", &KEY, "uncaptured").await;
    let remedy = waits(&why)["remedy"].as_str().unwrap();
    assert!(remedy.contains("`offtake init`"), "{remedy}");
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    until_cause(&world, "acme", &KEY, "nothing").await;
    daemon.stop().await;
}

/// A receiver that fails, and a webhook that was disabled.
#[tokio::test]
async fn a_webhook_that_is_not_told_is_named_with_what_continues_it() {
    let mut world = world(&["acme"]).await;
    world.allow("*");
    world.succeed(&["run", "--once"]).await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({ "mappings": ["users"] }));
    receiver.play(|_| Play::Status(500));
    let daemon: Daemon = world.daemon().await;
    world.source.wait_text("select count(*) from offtake.webhook_mapping", "1").await;
    change(&world, "acme", "Ada 1").await;
    let webhook = async |cause: &str| {
        until(&format!("the webhook waits for {cause}"), PATIENCE, async || {
            let arguments = [&["why", "--tenant", world.id("acme")], &KEY[..]].concat();
            let (_, why) = told(&world, &arguments).await;
            let items = why["items"].as_array().unwrap();
            let item = items.iter().find(|item| item["kind"] == "webhook");
            let waits = item.map(|item| item["key"]["waits_for"].clone()).unwrap_or_default();
            if waits["cause"] == cause { Ok(waits) } else { Err(format!("{why:#}")) }
        })
        .await
    };
    let waits = webhook("failing").await;
    receiver.play(|_| Play::OK);
    follow(&world, waits["remedy"].as_str().unwrap()).await;
    webhook("nothing").await;
    let of = ["webhook", "disable", "--tenant", world.id("acme"), "--name", "main"];
    world.succeed(&[&of[..], &["--reason", "their move"]].concat()).await;
    change(&world, "acme", "Ada 2").await;
    let waits = webhook("disabled").await;
    assert!(waits["text"].as_str().unwrap().contains("their move"), "{waits:#}");
    let (_, examined) = told(&world, &["doctor"]).await;
    let findings = examined["findings"].as_array().unwrap();
    let stopped = findings.iter().find(|finding| finding["code"] == "webhook_stopped").unwrap();
    follow(&world, stopped["remedy"].as_str().unwrap()).await;
    follow(&world, waits["remedy"].as_str().unwrap()).await;
    webhook("nothing").await;
    daemon.stop().await;
}
