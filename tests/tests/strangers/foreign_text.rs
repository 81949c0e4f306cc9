//! Text from outside is made fit for a terminal, and its length is bounded where it comes in.

use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

use super::offtake;

const ITEMS: &str = "
source: { table: public.item, tenant: tenant }
query: select tenant as tenant_id, id from item
target: { table: items }
";

/// Ends a line, clears the screen, writes from right to left, shows nothing.
const HOSTILE: &str = "a\u{1b}[2Jb\nFORGED line\u{202e}c\u{200b}d\u{9b}31m";

/// Tenants, names and a URL that are [`HOSTILE`], and some that are `long`, from the query of
/// destinations.
async fn hostile_world(long: &str) -> World {
    let mut world =
        World::with_tenants(["acme"]).mappings(&[("items", ITEMS)]).without_init().await;
    world.allow("*");
    let url = world.tenant("acme").destination.url();
    let table = "create table item (tenant text, id int, primary key (tenant, id));
         create table customer (tenant_id text, name text, url text);";
    world.source.execute(table).await;
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    for (tenant, name, url) in [
        (HOSTILE, "main", url.as_str()),
        (HOSTILE, HOSTILE, "postgres://u@127.0.0.1:1/d?sslmode=disable"),
        (long, "main", "postgres://u@127.0.0.1:1/d?sslmode=disable"),
        ("short", long, "postgres://u@127.0.0.1:1/d?sslmode=disable"),
        ("nothing", "main", HOSTILE),
    ] {
        let row = [tenant, name, url].map(literal).join(", ");
        world.source.execute(&format!("insert into customer values ({row})")).await;
    }
    world.source.execute(&format!("insert into item values ({}, 1)", literal(HOSTILE))).await;
    world.configure(|c| {
        c["destinations"] = json!({ "query": "select tenant_id, name, url from customer" });
    });
    world.succeed(&["init"]).await;
    world
}

#[tokio::test]
async fn no_id_and_no_name_writes_to_a_terminal_what_it_obeys() {
    let long = "x".repeat(100_000);
    let world = hostile_world(&long).await;
    let daemon = world.daemon().await;
    until("the copy is complete", PATIENCE, async || {
        let status = daemon.status().await;
        let all = status["destinations"].as_array().cloned().unwrap_or_default();
        match all.iter().any(|d| d["tenant"] == HOSTILE && d["state"] == "in_sync") {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .await;
    let label = format!("destination:{HOSTILE}/main");
    for arguments in [
        &["status"][..],
        &["status", "--tenant", HOSTILE],
        &["status", "--tenant", &long],
        &["verify"],
        &["verify", "--tenant", HOSTILE],
        &["verify", "--tenant", &long],
        &["check", "--connect"],
        &["check", "--diff"],
        &["config"],
        &["preview", "--tenant", HOSTILE, "--mapping", "items"],
        &["preview", "--changed"],
        &["sync", "--tenant", HOSTILE, "--wait", "5s"],
        &["resync", "--tenant", HOSTILE, "--wait", "20s"],
        &["pause", "--tenant", HOSTILE, "--reason", "\u{202e}r"],
        &["status"],
        &["resume", "--tenant", HOSTILE],
        &["fuse", "off", &label, "--reason", "r"],
        &["fuse", "list"],
        &["fuse", "on", &label],
        &["fuse", "on", HOSTILE],
        &["quarantine", "list", "--tenant", HOSTILE],
        &["quarantine", "retry", "--tenant", "nobo\u{1b}dy"],
        &["sync", "--tenant", "nobo\u{1b}dy\u{202e}"],
    ] {
        let (_, told) = offtake(&world, arguments).await;
        assert_printable(&told, arguments);
    }
    // Exactly as it is for programs.
    let told = world.succeed(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(status["destinations"].as_array().unwrap().iter().any(|d| d["tenant"] == HOSTILE));
    // What is too long is refused where it comes in, with the reason.
    assert!(told.len() < 60_000, "{} bytes", told.len());
    for line in daemon.stop().await {
        assert_printable(&line.text, &["log"]);
        assert!(line.text.len() < 20_000, "{}", line.text.len());
    }
}

fn assert_printable(told: &str, arguments: &[&str]) {
    let bad = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}')
    };
    assert!(!told.contains(bad), "{arguments:?}: {told:?}");
    assert!(!told.lines().any(|line| line.starts_with("FORGED")), "{arguments:?}: {told}");
    let longest = told.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    assert!(longest < 10_000, "{arguments:?}: {longest}");
}

#[tokio::test]
async fn ids_in_the_file_have_a_length_too() {
    let mut world = World::with_tenants(["acme"]).await;
    for (key, value) in
        [("tenant", "x".repeat(600)), ("name", "y".repeat(600)), ("name", "a\u{1b}b".to_owned())]
    {
        let good = world.tenant("acme").id.clone();
        world.configure(|c| c["destinations"]["static"][0][key] = value.into());
        let (code, told) = offtake(&world, &["check"]).await;
        assert!(code == 78 && told.contains(&format!("static[0].{key}")), "{told}");
        assert_printable(&told, &["check"]);
        world.configure(|c| {
            c["destinations"]["static"][0]["tenant"] = good.into();
            c["destinations"]["static"][0]["name"] = "main".into();
        });
    }
}
