//! `offtake check --connect`: shows what a mapping would do, before it runs.

use offtake_tests::World;
use serde_json::Value;

use crate::{TEAMS, told, write};

#[tokio::test]
async fn the_default_mappings_run_on_indexes_and_say_what_they_would_make() {
    let world = World::with_tenants(["acme", "globex"]).without_init().await;
    world.fill(20).await;
    world.source.execute("analyze").await;
    let (code, stdout, stderr) =
        told(&world, &world.offtake(&["check", "--connect", "--json"]).await);
    assert_eq!(code, 0, "{stderr}");
    let checked: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(checked["warnings"], serde_json::json!([]), "{checked:#}");
    let mappings = checked["mappings"].as_array().expect("a list");
    let users = mappings.iter().find(|m| m["name"] == "users").expect("users");
    assert_eq!(users["columns"][0]["source_type"], "uuid");
    assert_eq!(users["destinations"][0]["table"], "absent");
    assert!(users["ddl"].as_str().is_some_and(|ddl| ddl.starts_with("create table")), "{users:#}");
    assert_eq!(users["plan"]["one_key"]["reads_all_of"], serde_json::json!([]), "{users:#}");
    let woken: Vec<_> = users["woken_by"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|w| (w["table"].clone(), w["rows_at_most"].clone()))
        .collect();
    assert_eq!(
        woken,
        [("public.project_user".into(), 1.into()), ("public.contact_channel".into(), 1.into())]
    );
    // A renamed team refreshes all of its memberships.
    let members = mappings.iter().find(|m| m["name"] == "team_members").expect("team_members");
    let most = world.source.query_text("select max(n) from (select count(*) n from team_member group by tenancy_id, team_id) c").await;
    let team = members["woken_by"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|w| w["table"] == "public.team")
        .expect("woken by teams");
    assert_eq!(team["rows_at_most"].to_string(), most);
    let (_, stdout, _) = told(&world, &world.offtake(&["check", "--connect", "--verbose"]).await);
    for expect in [
        "mapping users (mappings/users.yaml): public.project_user -> users",
        "public.contact_channel: one change refreshes 1 row",
        "public.team: one change refreshes at most",
        "one key: on indexes",
        "a destination without it gets",
        "0 destination(s) have it, 2 would get it",
        "2 of 2 destination(s) answer",
    ] {
        assert!(stdout.contains(expect), "{expect}: {stdout}");
    }
}

/// Adds tables that the query reads and the mapping does not name: the check must name them.
async fn assert_unnamed_tables_are_told(world: &World, notes: &str) {
    // A table that the query reads and the mapping does not name. Also if it is read through a
    // view; a partition is reported by its root.
    world
        .source
        .execute(
            "create table public.mood (author int, at date, word text) partition by range (at);
             create table public.mood_now partition of mood default; create view public.moods as select author, word from mood;
             create table public.note_kept () inherits (public.note)",
        )
        .await;
    let blind = notes
        .replace("depends_on: [{ table: public.author, match: { author: id } }]\n", "")
        .replace(
            "left join public.author a on a.id = n.author",
            "left join public.author a on a.id = n.author where n.id in (select author from moods)",
        );
    write(world, "notes.yaml", &blind);
    let (code, _, stderr) = told(world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, 78, "{stderr}");
    for expect in [
        "mappings/notes.yaml:2:87: the query of notes reads public.author, and a change there would refresh nothing",
        ": the query of notes reads public.mood, and a change",
    ] {
        assert!(stderr.contains(expect), "{expect}: {stderr}");
    }
    assert!(!stderr.contains("mood_now,") && !stderr.contains("public.note, "), "{stderr}");
    // A table that inherits from a captured table is captured with it.
    assert!(!stderr.contains("reads public.note_kept"), "{stderr}");
    world.source.execute("drop table public.note_kept").await;
}

/// The check must name the index that is missing to find dependants.
async fn assert_missing_index_is_told(world: &World, notes: &str) {
    // The index that the warning names is enough to find dependants; an index on the tenant alone
    // is not.
    let warning = "warning: mappings/notes.yaml:2: no index finds the rows of notes that a change of public.author refreshes, so ";
    let told_of = async || {
        let (_, stdout, _) = told(world, &world.offtake(&["check", "--connect"]).await);
        stdout.lines().find_map(|line| line.strip_prefix(warning)).map(str::to_owned)
    };
    let complaint = told_of().await.expect("a warning");
    assert!(
        complaint.starts_with("the whole of note is read for each; create index concurrently on "),
        "{complaint}"
    );
    write(world, "notes.yaml", &notes.replace("{ author: id }", "{ tenant: name, author: id }"));
    let narrow = told_of().await.expect("a warning");
    assert!(narrow.starts_with("all rows of its tenant in note are read for each; "), "{narrow}");
    write(world, "notes.yaml", notes);
    world.source.execute(complaint.split_once("; ").expect("a remedy").1).await;
    assert_eq!(told_of().await, None);
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
    let (code, stdout, stderr) =
        told(&world, &world.offtake(&["check", "--connect", "--verbose"]).await);
    // Nothing can be copied into this table as it is.
    assert_eq!(code, 4, "{stderr}");
    let remedy = "mapping notes cannot be copied: \"public\".\"notes\" has no primary key";
    assert!(stderr.contains(remedy) && stderr.contains("rename it there"), "{stderr}");
    for expect in [
        "warning: mappings/notes.yaml:3: no index serves one key of notes: the whole of author is read for each",
        "one key: a scan that grows with the table",
        "column display_name is integer there, and the query gives text; column old is not in the query and stays as it is",
        "\"public\".\"notes\" was made by someone else",
        "public.author: one change refreshes at most 0 row(s), as the table is now",
    ] {
        assert!(stdout.contains(expect), "{expect}: {stdout}");
    }
    assert_unnamed_tables_are_told(&world, notes).await;
    write(&world, "notes.yaml", notes);
    assert_missing_index_is_told(&world, notes).await;
}

#[tokio::test]
async fn the_index_that_spares_a_sort_is_the_one_that_it_names() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    world
        .source
        .execute(
            "create table public.pet (tenant uuid, chip text, n int, primary key (tenant, chip))",
        )
        .await;
    let pets = "source: { table: public.pet, tenant: tenant }\nquery: select tenant as tenant_id, chip, n from public.pet\ntarget: { table: pets }\n";
    write(&world, "pets.yaml", pets);
    let page = async || {
        let (_, stdout, stderr) =
            told(&world, &world.offtake(&["check", "--connect", "--verbose"]).await);
        stdout
            .lines()
            .find_map(|line| line.strip_prefix("    one page: "))
            .map(str::to_owned)
            .ok_or(stderr)
    };
    // The primary key cannot serve the pages: pages need an order that is the same in every
    // database, and the order of text depends on the collation.
    let told = page().await.expect("a plan");
    let index = told.split_once("this spares that: ").expect("an index").1;
    assert_eq!(
        index,
        "create index concurrently on \"public\".\"pet\" (\"tenant\", \"chip\" collate \"C\");"
    );
    world.source.execute(index).await;
    assert_eq!(page().await.as_deref(), Ok("on indexes"));
    // One tenant has all rows, so that a plan by the primary key looks as good; with many tenants
    // it is not.
    world.source.execute("create table public.visit (id int primary key, tenant uuid)").await;
    world.source.execute("insert into visit select n, md5('acme')::uuid from generate_series(1, 2000) n; analyze visit").await;
    write(
        &world,
        "pets.yaml",
        "source: { table: public.visit, tenant: tenant }\nquery: select tenant as tenant_id, id from public.visit\ntarget: { table: pets }\n",
    );
    let told = page().await.expect("a plan");
    assert!(told.starts_with("looks through the rows of all tenants in visit; "), "{told}");
    world.source.execute(told.split_once("this spares that: ").expect("an index").1).await;
    assert_eq!(page().await.as_deref(), Ok("on indexes"));
}

/// The README's first mapping, and the error that the README shows, word for word.
#[tokio::test]
async fn the_first_mapping_of_the_readme_runs() {
    let readme = include_str!("../../../README.md");
    let block = |after: &str, fence: &str| {
        let rest = readme.split_once(after).expect("it is there").1;
        rest.split_once(fence)
            .expect("a block")
            .1
            .split_once("```")
            .expect("an end")
            .0
            .trim_start_matches('\n')
            .to_owned()
    };
    let mapping = block("`mappings/users.yaml`:", "```yaml");
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("users", &mapping)]).await;
    let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(code == 0 && !stdout.contains("warning:"), "{stdout}{stderr}");
    write(&world, "users.yaml", &mapping.replace("u.display_name,", "u.display_nam,"));
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!((code, stderr), (78, block("A mistake in it is told like this", "```")));
}
