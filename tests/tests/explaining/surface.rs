//! How `why` is asked, by the command and over HTTP, and what it answers to a wrong question.

use offtake_tests::World;
use offtake_tests::samples::USERS;
use serde_json::{Value, json};

use super::told;

const ADA: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

async fn complaint(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.offtake(arguments).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn a_key_is_asked_for_in_any_spelling_and_over_http_too() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    let acme = world.id("acme").to_owned();
    world
        .source
        .execute(&format!(
            "insert into public.project_user (tenancy_id, project_user_id, display_name)
             values ('{acme}', '{ADA}', 'Ada Secret')"
        ))
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("update public.project_user set display_name = 'Ada, Secret'").await;
    world.wait_in_step().await;
    let (capital, shouted) = (ADA.to_uppercase(), acme.to_uppercase());
    let by_query = json!({ "id": ADA }).to_string();
    let by_table = json!({ "project_user_id": capital }).to_string();
    for key in [ADA, &capital, &by_query, &by_table] {
        let arguments = ["why", "--tenant", &shouted, "--mapping", "users", "--key", key];
        let (code, why) = told(&world, &arguments).await;
        let story = &why["items"][0]["key"];
        assert_eq!(code, 0, "{key}: {why:#}");
        assert_eq!(story["key"], json!({ "project_user_id": ADA }), "{why:#}");
        assert!(story["change"]["sequence_id"].is_string(), "{why:#}");
        assert_eq!((&story["applied"], &story["row"]["equal"]), (&json!(true), &json!(true)));
        // Keys are told, values are not.
        assert!(!why.to_string().contains("Secret"), "{why:#}");
    }
    let text = world.succeed(&["why", "--tenant", &acme, "--mapping", "users", "--key", ADA]).await;
    for part in [" is up to date", "why        its last change, ", "numbered   it: ", "; equal"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // Over HTTP: what the source knows, by the log's own spelling.
    for key in [ADA.to_owned(), format!("%7B%22project_user_id%22:%22{ADA}%22%7D")] {
        let path = format!("/api/v1/why?tenant={acme}&mapping=users&key={key}");
        let (code, body) = daemon.get(&path).await;
        let why: Value = serde_json::from_str(&body).unwrap();
        let story = &why["items"][0]["key"];
        assert_eq!((code, &story["waits_for"]["cause"]), (200, &json!("nothing")), "{body}");
        assert!(story["change"]["sequence_id"].is_string() && story["row"].is_null(), "{body}");
    }
    for (path, expect) in [
        ("/api/v1/why".to_owned(), 400),
        ("/api/v1/why?tenant=nobody".to_owned(), 404),
        (format!("/api/v1/why?tenant={acme}&mapping=nothing"), 404),
        (format!("/api/v1/why?tenant={acme}&key=1"), 400),
        (format!("/api/v1/why?tenant={acme}&mapping=users"), 200),
    ] {
        let (code, body) = daemon.get(&path).await;
        assert_eq!(code, expect, "{path}: {body}");
    }

    for (arguments, expect) in [
        (vec!["--tenant", "nobody"], "has no destination"),
        (vec!["--tenant", &acme, "--mapping", "user"], "did you mean users?"),
        (vec!["--tenant", &acme, "--key", ADA], "--mapping"),
        (vec!["--tenant", &acme, "--mapping", "users", "--key", "no uuid"], "cannot be a key"),
    ] {
        let (code, text) = complaint(&world, &[&["why"], &arguments[..]].concat()).await;
        assert!(code == 2 && text.contains(expect), "{arguments:?}: {code} {text}");
    }
    // What is not an object of the key's columns is told as it is to be written.
    let (code, text) =
        complaint(&world, &["why", "--tenant", &acme, "--mapping", "users", "--key", "{}"]).await;
    assert_eq!(code, 2, "{text}");
    let written = offtake_tests::printed::between(&text, "write --key '", "'").replace('…', ADA);
    world.succeed(&["why", "--tenant", &acme, "--mapping", "users", "--key", &written]).await;

    // Without usable files the source still tells its part of the story.
    world.write_mapping("users", "query: select");
    let (code, why) =
        told(&world, &["why", "--tenant", &acme, "--mapping", "users", "--key", ADA]).await;
    assert_eq!(code, 0, "{why:#}");
    assert!(why["files_error"].as_str().unwrap().contains("users.yaml"), "{why:#}");
    assert_eq!(why["items"][0]["key"]["waits_for"]["cause"], "nothing", "{why:#}");
    world.allow("*");
    daemon.stop().await;

    world.configure(|configuration| {
        configuration["source"]["url"] = "postgres://postgres@127.0.0.1:1/nothing".into();
    });
    for command in [vec!["why", "--tenant", "acme"], vec!["doctor"]] {
        let (code, text) = complaint(&world, &command).await;
        assert!(code == 69 && text.contains("remedy: check source.url"), "{code} {text}");
    }
}

/// A backlog of 300 000 changes of one tenant and as many that wait, far more than a statement may
/// read: the answer has its bound, and says how far it looked.
#[tokio::test]
async fn why_looks_only_so_far_into_a_long_log() {
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    world.succeed(&["run", "--once"]).await;
    let acme = world.id("acme");
    let fill = format!(
        "insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
         select n, 'public.project_user', '{acme}', jsonb_build_object('project_user_id', gen_random_uuid()), false, now()
           from generate_series(1000, 301000) n;
         update offtake.change_log set row_key = jsonb_build_object('project_user_id', '{ADA}') where sequence_id in (2000, 300000);
         select setval('offtake.global_sequence', 301000)"
    );
    world.source.execute(&fill).await;
    let (code, why) =
        told(&world, &["why", "--tenant", acme, "--mapping", "users", "--key", ADA]).await;
    let story = &why["items"][0]["key"];
    assert_eq!((code, &story["changes_looked_at"]), (4, &json!("100001")), "{why:#}");
    assert_eq!(story["change"]["sequence_id"], "300000", "{why:#}");
    assert_eq!(story["applied"], false, "{why:#}");
}
