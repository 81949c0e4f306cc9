//! `offtake check --connect`: what a mapping would do, before it does it.

use offtake_tests::World;
use serde_json::Value;

use crate::{TEAMS, told, write};

#[tokio::test]
async fn the_default_mappings_run_on_indexes_and_say_what_they_would_make() {
    let world = World::with_tenants(["acme", "globex"]).without_init().await;
    world.fill(20).await;
    world.source.execute("analyze").await;
    let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect", "--json"]).await);
    assert_eq!(code, 0, "{stderr}");
    let checked: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(checked["warnings"], serde_json::json!([]), "{checked:#}");
    let mappings = checked["mappings"].as_array().expect("a list");
    let users = mappings.iter().find(|m| m["name"] == "users").expect("users");
    assert_eq!(users["columns"][0]["source_type"], "uuid");
    assert_eq!(users["destinations"][0]["table"], "absent");
    assert!(users["ddl"].as_str().is_some_and(|ddl| ddl.starts_with("create table")), "{users:#}");
    assert_eq!(users["plan"]["one_key"]["reads_all_of"], serde_json::json!([]), "{users:#}");
    let woken: Vec<_> =
        users["woken_by"].as_array().expect("a list").iter().map(|w| (w["table"].clone(), w["rows_at_most"].clone())).collect();
    assert_eq!(woken, [("public.project_user".into(), 1.into()), ("public.contact_channel".into(), 1.into())]);
    // A renamed team refreshes as many memberships as it has.
    let members = mappings.iter().find(|m| m["name"] == "team_members").expect("team_members");
    let most = world.source.query_text("select max(n) from (select count(*) n from team_member group by tenancy_id, team_id) c").await;
    let team = members["woken_by"].as_array().expect("a list").iter().find(|w| w["table"] == "public.team").expect("woken by teams");
    assert_eq!(team["rows_at_most"].to_string(), most);
    let (_, stdout, _) = told(&world, &world.offtake(&["check", "--connect"]).await);
    for expect in [
        "mapping users (mappings/users.yaml): public.project_user -> users",
        "public.contact_channel: one change refreshes 1 row",
        "one key: on indexes",
        "a destination without it gets",
        "0 destination(s) have it, 2 would get it",
        "2 of 2 destination(s) answer",
    ] {
        assert!(stdout.contains(expect), "{expect}: {stdout}");
    }
}

#[tokio::test]
async fn scans_that_grow_and_tables_that_differ_are_told() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world
        .source
        .execute("create table public.note (id int, tenant text, body text, author int); create index on public.note (tenant)")
        .await;
    world.source.execute("create table public.author (id int, name text)").await;
    let notes = "source: { table: public.note, tenant: tenant, key: { id: id } }\n\
                 depends_on: [{ table: public.author, match: { author: id } }]\n\
                 query: select n.tenant as tenant_id, n.id, a.name from public.note n left join public.author a on a.id = n.author\n\
                 target: { table: notes }\n";
    write(&world, "notes.yaml", notes);
    let there = &world.tenant("acme").destination;
    there.execute("create table teams (id uuid primary key, display_name int, old text); comment on table teams is 'offtake:teams'").await;
    there.execute("create table notes (id int)").await;
    let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, 0, "{stderr}");
    for expect in [
        "warning: mappings/notes.yaml:3: no index serves one key of notes: the whole of author is read for each",
        "one key: a scan that grows with the table",
        "column display_name is integer there, and the query gives text; column old is not in the query and stays as it is",
        "\"public\".\"notes\" was made by someone else",
        "public.author: one change refreshes at most 0 rows, as the table is now",
    ] {
        assert!(stdout.contains(expect), "{expect}: {stdout}");
    }
}

/// The README's first mapping, and the mistake that it shows, word for word.
#[tokio::test]
async fn the_first_mapping_of_the_readme_runs() {
    let readme = include_str!("../../../README.md");
    let block = |after: &str, fence: &str| {
        let rest = readme.split_once(after).expect("it is there").1;
        rest.split_once(fence).expect("a block").1.split_once("```").expect("an end").0.trim_start_matches('\n').to_owned()
    };
    let mapping = block("`mappings/users.yaml`:", "```yaml");
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("users", &mapping)]).await;
    let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(code == 0 && !stdout.contains("warning:"), "{stdout}{stderr}");
    write(&world, "users.yaml", &mapping.replace("u.display_name,", "u.display_nam,"));
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!((code, stderr), (78, block("A mistake in it is told like this", "```")));
}
