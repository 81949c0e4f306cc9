//! A status token opens one tenant's view, and nothing else opens it.

use offtake_tests::World;
use serde_json::Value;

use super::{ADMIN, READER, STATUS_SECRET, ask_as, two_tenants};

const STATUS: &str = "/tenant/status";

async fn token(world: &World, tenant: &str, more: &[&str]) -> String {
    let arguments = [&["status-token", "--tenant", world.id(tenant)], more].concat();
    world.succeed(&arguments).await.trim().to_owned()
}

#[tokio::test]
async fn a_tenant_sees_its_own_copies_in_words_and_nothing_else() {
    let (world, _receiver, daemon) = two_tenants().await;
    let (code, text) = ask_as(&daemon, &token(&world, "acme", &[]).await, STATUS).await;
    assert_eq!(code, 200, "{text}");
    let view: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&view["tenant"], &view["up_to_date"]), (&world.id("acme").into(), &false.into()));
    let destination = &view["destinations"][0];
    assert_eq!((&destination["name"], &destination["state"]), (&"main".into(), &"degraded".into()));
    assert_eq!(
        destination["meaning"],
        "This database refuses 1 row. All others are kept up to date."
    );
    assert_eq!(destination["quarantined"], "1");
    assert_eq!(destination["mappings"][0]["quarantined"], "1");
    assert_eq!(view["webhooks"][0]["mappings"][0]["name"], "users");
    // Of the others, of how they are reached, and of rows there is nothing.
    let mut hidden = vec![world.id("globex").to_owned(), "127.0.0.1".to_owned()];
    hidden.extend(
        ["refused'", "check constraint", "(23514)", "\"23514\"", "host", "reason", "row_key"]
            .map(Into::into),
    );
    let key = world.source.query_text("select md5('refused')::uuid").await;
    hidden.extend([key, STATUS_SECRET.to_owned(), "postgres".to_owned()]);
    for word in hidden {
        assert!(!text.contains(&word), "{word} is in {text}");
    }
    let (code, text) = ask_as(&daemon, &token(&world, "globex", &[]).await, STATUS).await;
    assert_eq!(code, 200, "{text}");
    assert!(!text.contains(world.id("acme")) && text.contains(world.id("globex")), "{text}");
    assert!(text.contains("\"meaning\":\"Up to date: every change has arrived.\""), "{text}");
    daemon.stop().await;
}

#[tokio::test]
async fn no_other_token_opens_a_view_and_every_refusal_is_the_same() {
    let (world, _receiver, daemon) = two_tenants().await;
    let acme = token(&world, "acme", &[]).await;
    let globex = token(&world, "globex", &[]).await;
    let parts: Vec<&str> = acme.split('.').collect();
    let other: Vec<&str> = globex.split('.').collect();
    let of_nobody = "bm9ib2R5";
    let mut refusals = std::collections::BTreeSet::new();
    for wrong in [
        READER.to_owned(),
        ADMIN.to_owned(),
        STATUS_SECRET.to_owned(),
        // Another tenant's signature, a tenant that there is not, and another number.
        [parts[0], parts[1], parts[2], other[3]].join("."),
        [parts[0], of_nobody, parts[2], parts[3]].join("."),
        [parts[0], parts[1], "1", parts[3]].join("."),
        parts[..3].join("."),
        format!("{acme}A"),
        String::new(),
    ] {
        let (code, text) = ask_as(&daemon, &wrong, STATUS).await;
        assert_eq!(code, 401, "{wrong}: {text}");
        refusals.insert(text);
    }
    let (code, text) = daemon.get(STATUS).await;
    assert_eq!(code, 401);
    refusals.insert(text);
    // A token that was revoked, and that of a tenant that has left, are refused in the same words.
    let next = token(&world, "acme", &["--revoke"]).await;
    let (code, text) = ask_as(&daemon, &acme, STATUS).await;
    assert_eq!(code, 401);
    refusals.insert(text);
    assert_eq!(ask_as(&daemon, &next, STATUS).await.0, 200);
    assert_eq!(token(&world, "acme", &[]).await, next);
    assert_eq!(ask_as(&daemon, &globex, STATUS).await.0, 200, "only acme's were revoked");
    world.source.execute("update offtake.destination set active = false").await;
    world.source.execute("update offtake.webhook set active = false").await;
    let (code, text) = ask_as(&daemon, &next, STATUS).await;
    assert_eq!(code, 401, "{text}");
    refusals.insert(text);
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    // A status token opens nothing else.
    for path in ["/api/v1/status", "/api/v1/openapi.json", "/api/v1/destinations"] {
        assert_eq!(ask_as(&daemon, &globex, path).await.0, 401, "{path}");
    }
    daemon.allow("*");
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_that_asks_too_often_takes_nothing_from_others() {
    let (world, _receiver, daemon) = two_tenants().await;
    let (acme, globex) = (token(&world, "acme", &[]).await, token(&world, "globex", &[]).await);
    let mut refused = 0;
    for _ in 0..60 {
        match ask_as(&daemon, &acme, STATUS).await.0 {
            200 => {}
            429 => refused += 1,
            code => panic!("{code}"),
        }
    }
    assert!(refused > 0, "30 at once, and then two a second");
    assert_eq!(ask_as(&daemon, &globex, STATUS).await.0, 200);
    assert_eq!(ask_as(&daemon, READER, "/api/v1/status").await.0, 200);
    daemon.stop().await;
}

/// Runs what the message prints, and sets what it names.
#[tokio::test]
async fn the_view_is_there_once_the_secret_is_set_as_printed() {
    let mut world = World::with_tenants(["acme"]).setting("/http/read_token", READER).await;
    let output = world.offtake(&["status-token", "--tenant", world.id("acme")]).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("openssl rand -hex 32"), "{told}");
    let daemon = world.daemon().await;
    for path in ["/tenant", "/tenant/page.js", STATUS] {
        assert_eq!(daemon.get(path).await.0, 404, "{path}");
    }
    daemon.stop().await;
    let command = told.split('`').nth(1).unwrap().to_owned();
    let made = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    let secret = String::from_utf8(made.stdout).unwrap();
    world.configure(|all| all["http"]["status_secret"] = secret.trim().into());
    let daemon = world.daemon().await;
    let token = token(&world, "acme", &[]).await;
    assert_eq!(daemon.get("/tenant").await.0, 200);
    assert_eq!(ask_as(&daemon, &token, STATUS).await.0, 200);
    daemon.stop().await;
}

/// Follows what the command says of a tenant that is not known.
#[tokio::test]
async fn a_token_is_printed_for_a_known_tenant_only_and_alone() {
    let (world, _receiver, daemon) = two_tenants().await;
    let id = world.id("acme");
    let output = world.offtake(&["status-token", "--tenant", &id.to_uppercase()]).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.trim(), token(&world, "acme", &[]).await, "the source spells it so");
    assert_eq!(printed.lines().count(), 1);
    let output = world.offtake(&["status-token", "--tenant", &format!("{id}x")]).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(&format!("did you mean {id}?")), "{told}");
    let told: Value =
        serde_json::from_str(&token(&world, "acme", &["--json", "--revoke"]).await).unwrap();
    assert_eq!(told["revoked"], "1");
    assert_eq!(told["path"], format!("/tenant#{}", told["token"].as_str().unwrap()));
    daemon.stop().await;
}

#[tokio::test]
async fn a_source_that_is_down_is_told_without_its_error() {
    let world = World::with_tenants(["acme"])
        .private_source()
        .setting("/http/read_token", READER)
        .setting("/http/status_secret", STATUS_SECRET)
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let token = token(&world, "acme", &[]).await;
    assert_eq!(ask_as(&daemon, &token, STATUS).await.0, 200);
    daemon.allow("*");
    world.source_server().await.kill_immediate();
    let (code, text) = ask_as(&daemon, &token, STATUS).await;
    assert_eq!(code, 503, "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["detail"], "the status cannot be read at present; ask again in a minute");
}
