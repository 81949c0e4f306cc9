//! `offtake preview`: shows rows, and what an edit would change, without changing anything.

use std::path::{Path, PathBuf};

use offtake_tests::World;
use offtake_tests::samples::USERS;
use serde_json::Value;

use crate::{TEAMS, told, write};

#[tokio::test]
async fn the_rows_that_a_destination_would_hold_are_shown() {
    let world =
        World::with_tenants(["acme", "globex"]).without_init().mappings(&[("users", USERS)]).await;
    let insert = |tenant: &str, name: &str| {
        let id = world.id(tenant);
        format!(
            "insert into project_user (tenancy_id, project_user_id, display_name) values ('{id}', md5('{name}')::uuid, {name})"
        )
    };
    for name in ["'Ada'", "e'two\\nlines'", "null"] {
        let sql = insert("acme", name).replace(&format!("md5('{name}')"), "md5(random()::text)");
        world.source.execute(&sql).await;
    }
    let (code, stdout, stderr) = told(
        &world,
        &world.offtake(&["preview", "--tenant", world.id("acme"), "--mapping", "users"]).await,
    );
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines.len() == 4 && lines[0].starts_with("id ") && lines[0].ends_with("display_name"),
        "{stdout}"
    );
    for expect in ["  Ada", "  two\\nlines", "  (null)"] {
        assert!(lines.iter().any(|line| line.ends_with(expect)), "{expect}: {stdout}");
    }
    let arguments =
        ["preview", "--tenant", world.id("acme"), "--mapping", "users", "--limit", "2", "--json"];
    let (_, stdout, _) = told(&world, &world.offtake(&arguments).await);
    let rows: Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(
        rows.as_array().is_some_and(|rows| rows.len() == 2 && rows[0]["id"].is_string()),
        "{rows}"
    );
    let (_, stdout, _) = told(
        &world,
        &world.offtake(&["preview", "--tenant", world.id("globex"), "--mapping", "users"]).await,
    );
    assert!(stdout.contains("the query gives no rows of tenant"), "{stdout}");
    let (code, _, stderr) = told(
        &world,
        &world.offtake(&["preview", "--tenant", world.id("acme"), "--mapping", "user"]).await,
    );
    assert!(code != 0 && stderr.contains("users"), "{stderr}");
    let (code, _, stderr) =
        told(&world, &world.offtake(&["preview", "--tenant", "acme", "--mapping", "users"]).await);
    assert!(code == 2 && stderr.contains("acme cannot be a tenant"), "{stderr}");
}

/// Writes edited mappings into another folder, so that the daemon does not see them. One team
/// leaves the filter, the others change, a column is added, one mapping is removed and another one
/// added.
fn edited_mappings(world: &World, first_id: &str) -> PathBuf {
    let edited = world.folder().join("edited");
    std::fs::create_dir(&edited).expect("the folder can be written");
    let query = TEAMS
        .replace("t.display_name", "upper(t.display_name) || '!' as display_name, t.tags")
        .replace(
            "from public.team t",
            &format!("from public.team t where t.team_id <> '{first_id}'"),
        );
    std::fs::write(edited.join("teams.yaml"), query).expect("the folder can be written");
    let more = USERS.replace("users", "people");
    std::fs::write(edited.join("people.yaml"), more).expect("the folder can be written");
    edited
}

/// Puts the edit into the daemon's folder, and waits until it has exactly the effect that the
/// preview showed, in both copies.
async fn go_live(world: &World, edited: &Path, changed: u32) {
    std::fs::remove_file(world.mappings_folder().join("users.yaml")).expect("it was there");
    write(
        world,
        "teams.yaml",
        &std::fs::read_to_string(edited.join("teams.yaml")).expect("it was written"),
    );
    offtake_tests::until("the edit is in effect", offtake_tests::PATIENCE, async || {
        for (tenant, changed) in [("acme", changed), ("globex", changed + 1)] {
            let there = &world.tenant(tenant).destination;
            let found = there
                .try_query_text(
                    "select count(*) from teams where display_name like '%!' and tags is not null",
                )
                .await?;
            let all = there.try_query_text("select count(*) from teams").await?;
            if found != changed.to_string() || all != found {
                return Err(format!("{tenant}: {found} of {all}, not {changed}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_an_edit_would_change_is_told_before_it_goes_live() {
    let world = World::with_tenants(["acme", "globex"])
        .mappings(&[("teams", TEAMS), ("users", USERS)])
        .await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let count = |sql: &str| {
        let sql = sql.replace("{acme}", world.id("acme"));
        let source = &world.source;
        async move { source.query_text(&sql).await }
    };
    let teams = count("select count(*) from team where tenancy_id = '{acme}'").await;
    let first = "(select team_id from team where tenancy_id = '{acme}' order by team_id limit 1)";
    let first_id = count(&format!("select {first}")).await;
    let edited = edited_mappings(&world, &first_id);
    let folder = edited.to_string_lossy().into_owned();
    let arguments = ["preview", "--changed", "--mappings", &folder, "--tenant", world.id("acme")];
    let (code, stdout, stderr) = told(&world, &world.offtake(&arguments).await);
    assert_eq!(code, 0, "{stderr}");
    let label = format!("{}/main", world.id("acme"));
    let changed = teams.parse::<u32>().expect("a number") - 1;
    for expect in [
        format!(
            "{label} teams: 0 rows added, 1 removed, {changed} changed\n  column tags would be added\n"
        ),
        format!("  - {{\"id\":\"{first_id}\"}}\n"),
        ": display_name\n".to_owned(),
        format!("{label} people: new, 20 rows\n"),
        format!("{label} users: stops; its table stays as it is\n"),
        "3 of 3 copies would change; nothing was changed".to_owned(),
    ] {
        assert!(stdout.contains(&expect), "{expect}: {stdout}");
    }
    let (_, stdout, _) = told(&world, &world.offtake(&["preview", "--changed", "--json"]).await);
    let unchanged: Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(
        unchanged
            .as_array()
            .is_some_and(|all| all.len() == 4 && all.iter().all(|e| e["change"] == "none")),
        "{unchanged:#}"
    );
    let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--diff"]).await);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("0 of 4 copies would change"), "{stdout}");
    go_live(&world, &edited, changed).await;
    daemon.stop().await;
    // An edit that no daemon has taken over yet is a difference. The table of users, whose mapping
    // was removed, is not.
    assert_eq!(told(&world, &world.offtake(&["check", "--diff"]).await).0, 0);
    write(&world, "teams.yaml", TEAMS);
    let (code, stdout, _) = told(&world, &world.offtake(&["check", "--diff", "--json"]).await);
    let told: Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(
        code == 3 && told.as_array().is_some_and(|all| all.iter().any(|e| e["change"] != "none")),
        "{code}: {told:#}"
    );
}
