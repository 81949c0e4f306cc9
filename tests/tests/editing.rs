//! Edits at night, on a running daemon: mappings, configuration and destinations change without a
//! restart.

use std::path::{Path, PathBuf};

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, Database, PATIENCE, Source, World, oracle, until};
use serde_json::{Value, json};

/// Replaces a file as editors do, so that it is never half-written.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("the folder can be written");
    std::fs::rename(new, file).expect("the folder can be written");
}

/// Changes the configuration file of the daemon that was started last.
fn configure(world: &World, change: impl FnOnce(&mut Value)) {
    let number = |path: &PathBuf| -> u32 {
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        stem.strip_prefix("offtake-").and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let files = std::fs::read_dir(world.folder())
        .expect("a readable folder")
        .map(|entry| entry.expect("an entry").path());
    let file = files
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .max_by_key(number)
        .expect("a configuration");
    let mut value: Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("a readable file"))
            .expect("JSON");
    change(&mut value);
    replace(&file, &value.to_string());
}

async fn wait_for(database: &Database, sql: &str, expect: &str) {
    until(sql, PATIENCE, async || {
        let found = database.try_query_text(sql).await?;
        if found == expect { Ok(()) } else { Err(format!("{found}, not {expect}")) }
    })
    .await;
}

/// Waits until `config.error` of the status contains `expect`; if that is empty, until there is no
/// error.
async fn wait_for_error(daemon: &Daemon, expect: &str) -> String {
    until(&format!("config.error says {expect:?}"), PATIENCE, async || {
        let status = daemon.status().await;
        let error = status["config"]["error"].as_str().unwrap_or_default().to_owned();
        if error.contains(expect) && error.is_empty() == expect.is_empty() {
            Ok(error)
        } else {
            Err(error)
        }
    })
    .await
}

async fn reload_success(daemon: &Daemon) -> String {
    let (_, metrics) = daemon.get("/metrics").await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("offtake_config_reload_success "))
        .unwrap_or("none");
    line.to_owned()
}

/// Counts the daemons' sessions in a destination's database.
const SESSIONS: &str = "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'offtake%'";

fn mapping_state<'a>(status: &'a Value, tenant: &str) -> &'a Value {
    let destinations = status["destinations"].as_array().map(Vec::as_slice).unwrap_or_default();
    destinations.iter().find(|d| d["tenant"] == tenant).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn an_edit_that_cannot_be_used_leaves_the_old_set_running_and_is_told() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS), ("users", USERS)]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    daemon.allow("mappings_refused");
    daemon.allow("configuration_refused");
    world.wait_in_step().await;
    assert_eq!(reload_success(&daemon).await, "1");
    // One file is good and changed, the other is bad: the daemon takes over neither. It may look
    // between any two writes, so the bad file is written first. Its second error is reported by a
    // look that has seen both files.
    world.write_mapping("teams", &TEAMS.replace("t.display_name", "t.missing"));
    world.write_mapping(
        "users",
        &USERS.replace(", display_name", ", upper(display_name) as display_name"),
    );
    world.write_mapping("teams", &TEAMS.replace("t.display_name", "t.nothing"));
    let error = wait_for_error(
        &daemon,
        "teams.yaml:3:54: the source refuses the query: column t.nothing does not exist",
    )
    .await;
    assert!(
        error.contains("3 |   select t.tenancy_id as tenant_id, t.team_id as id, t.nothing"),
        "{error}"
    );
    assert!(error.contains("^^^^^^^^^"), "{error}");
    assert_eq!(reload_success(&daemon).await, "0");
    until("the log has the error too", PATIENCE, async || {
        let told = daemon
            .log()
            .iter()
            .any(|line| line.event == "mappings_refused" && line.text.contains("t.nothing"));
        if told { Ok(()) } else { Err(daemon.log_text()) }
    })
    .await;
    let teams = &world.tenant("acme").destination;
    world.source.execute("update public.team set display_name = 'still here'; update public.project_user set display_name = 'low'").await;
    wait_for(teams, "select distinct display_name from teams", "still here").await;
    wait_for(teams, "select distinct display_name from users", "low").await;
    // The same for text that is not YAML, and for a folder without mappings.
    world.write_mapping("teams", "source: [\n");
    wait_for_error(&daemon, "teams.yaml:2:1: this is not YAML").await;
    world.write_mapping("teams", TEAMS);
    wait_for_error(&daemon, "").await;
    assert_eq!(reload_success(&daemon).await, "1");
    wait_for(teams, "select distinct display_name from users", "LOW").await;
    // Errors of the configuration file are reported in the same place.
    configure(&world, |c| c["sync"] = json!({ "worker": 3 }));
    wait_for_error(&daemon, "sync.worker: there is no such key").await;
    assert_eq!(reload_success(&daemon).await, "0");
    configure(&world, |c| c["sync"] = json!({ "workers": 3 }));
    wait_for_error(&daemon, "").await;
    configure(&world, |c| c["poller"] = json!({ "lease": "50s" }));
    wait_for_error(&daemon, "a change of poller needs a restart").await;
    daemon.stop().await;
}

/// Configuration and mappings are edited one after the other. Whichever comes first does not fit
/// the other as it still is, and is taken over as soon as it does.
#[tokio::test]
async fn files_that_need_each_other_are_edited_in_any_order() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    daemon.allow("configuration_refused");
    daemon.allow("mappings_refused");
    world.wait_in_step().await;
    let received = |names: Value| {
        move |c: &mut Value| c["destinations"]["static"][0]["mappings"] = names.clone()
    };
    let loaded_at = daemon.status().await["config"]["loaded_at"].clone();
    configure(&world, received(json!(["teams", "users"])));
    wait_for_error(&daemon, "there is no mapping named users").await;
    let status = daemon.status().await;
    assert_eq!(status["config"]["loaded_at"], loaded_at, "what is refused is not loaded");
    world.write_mapping("users", USERS);
    wait_for_error(&daemon, "").await;
    wait_for(&world.tenant("acme").destination, "select count(*) from users", "5").await;
    std::fs::remove_file(world.mappings_folder().join("users.yaml")).expect("it was there");
    wait_for_error(&daemon, "there is no mapping named users").await;
    configure(&world, received(json!(["teams"])));
    wait_for_error(&daemon, "").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_swapped_configmap_a_hangup_and_a_post_are_taken_over() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    // As Kubernetes mounts a ConfigMap: files are links into `..data`, which is itself a link that
    // is replaced.
    let folder = world.mappings_folder();
    let version = |name: &str, users: bool| {
        let there = folder.join(name);
        std::fs::create_dir(&there).expect("the folder can be written");
        std::fs::write(there.join("teams.yaml"), TEAMS).expect("the folder can be written");
        if users {
            std::fs::write(there.join("users.yaml"), USERS).expect("the folder can be written");
        }
        let link = folder.join("..data_new");
        std::os::unix::fs::symlink(name, &link).expect("a link");
        std::fs::rename(link, folder.join("..data")).expect("the link is swapped");
    };
    std::fs::remove_file(folder.join("teams.yaml")).expect("it was there");
    version("..2026_1", false);
    std::os::unix::fs::symlink("..data/teams.yaml", folder.join("teams.yaml")).expect("a link");
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    // The link comes after what it leads to: the daemon may look between the two.
    version("..2026_2", true);
    std::os::unix::fs::symlink("..data/users.yaml", folder.join("users.yaml")).expect("a link");
    wait_for(&world.tenant("acme").destination, "select count(*) from users", "5").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    for ask in ["hangup", "post"] {
        let loaded_at = daemon.status().await["config"]["loaded_at"].clone();
        match ask {
            "hangup" => daemon.reload(),
            _ => {
                let (code, body) = daemon.request("POST", "/api/v1/reload", &[], "").await;
                assert!((200..300).contains(&code), "{code} {body}");
            }
        }
        until(&format!("a {ask} reads everything again"), PATIENCE, async || {
            if daemon.status().await["config"]["loaded_at"] == loaded_at {
                Err("not yet".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn mappings_are_added_changed_and_removed() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(30).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    // A mapping is added; its table was not captured before.
    world.write_mapping("users", USERS);
    wait_for(there, "select count(*) from users", "30").await;
    world.source.execute("update public.project_user set display_name = 'live'").await;
    wait_for(there, "select distinct display_name from users", "live").await;
    // A mapping is changed and has a new column: it is re-copied in place, and a reader never
    // misses a row.
    let reader = there.connect().await;
    let wide = TEAMS.replace(
        "t.display_name",
        "lower(t.display_name) as display_name, t.tags, cardinality(t.tags) as tag_count",
    );
    let rows = reader
        .query_one("select count(*) from teams", &[])
        .await
        .expect("the table is there")
        .get::<_, i64>(0);
    assert!(rows > 0);
    world.write_mapping("teams", &wide);
    until("the changed query's rows are there", PATIENCE, async || {
        let now = reader.query_one("select count(*) from teams", &[]).await.expect("the table is there").get::<_, i64>(0);
        assert_eq!(now, rows, "rows were missing for a moment");
        let behind = "select count(*) from teams where display_name <> lower(display_name) or tag_count is null";
        let behind = there.try_query_text(behind).await?;
        if behind == "0" { Ok(()) } else { Err(format!("{behind} rows are as before")) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // A mapping is removed: it stops, and its table stays as it is.
    std::fs::remove_file(world.mappings_folder().join("users.yaml")).expect("it was there");
    until("the status no longer shows the mapping", PATIENCE, async || {
        let status = daemon.status().await;
        let known = status["mappings"]
            .as_array()
            .is_some_and(|all| all.iter().any(|m| m["name"] == "users"));
        if known { Err(status["mappings"].to_string()) } else { Ok(()) }
    })
    .await;
    // The workers use the registered mappings.
    let registered = "select count(*) from offtake.destination where 'users' = any(mappings)";
    wait_for(&world.source, registered, "0").await;
    world.source.execute("update public.project_user set display_name = 'later'; update public.team set display_name = 'Last'").await;
    wait_for(there, "select distinct display_name from teams", "last").await;
    world.wait_in_step_of_teams(&daemon).await;
    assert_eq!(there.query_text("select distinct display_name from users").await, "live");
    daemon.stop().await;
}

trait InStep {
    async fn wait_in_step_of_teams(&self, daemon: &Daemon);
}

impl InStep for World {
    /// Waits until nothing is owed and every destination is in sync.
    async fn wait_in_step_of_teams(&self, daemon: &Daemon) {
        until("every destination is in sync", PATIENCE, async || {
            let status = daemon.status().await;
            let states: Vec<_> = status["destinations"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|d| d["state"].to_string())
                .collect();
            if !states.is_empty() && states.iter().all(|s| s == "\"in_sync\"") {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            }
        })
        .await;
    }
}

/// The sync that a new mapping is owed and the end of an older one meet. Without
/// `Registry::owe_if_replaced` (crates/sync/src/destinations/registry.rs) the older one ended both,
/// and the new mapping waited for the next sweep.
#[tokio::test]
async fn a_mapping_that_appears_while_a_sync_ends_is_not_overlooked() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.set_failpoint("sync.before_complete", "pause").await;
    world.source.execute("update public.team set display_name = 'x'").await;
    daemon.wait_at_failpoint("sync.before_complete", 1).await;
    world.write_mapping("users", USERS);
    let registered = "select count(*) from offtake.destination where 'users' = any(mappings)";
    wait_for(&world.source, registered, "1").await;
    daemon.clear_failpoint("sync.before_complete").await;
    let there = &world.tenant("acme").destination;
    wait_for(there, "select count(*) > 0 from users", "t").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_narrowing_change_is_told_with_the_command_that_does_it() {
    let plan = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS), ("users", USERS)]);
    let world = plan.setting("/sync/retry/max", "500ms").await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    daemon.allow("mapping_blocked");
    daemon.allow("table_replaced");
    world.wait_in_step().await;
    world.write_mapping(
        "teams",
        &TEAMS.replace("t.display_name", "length(t.display_name) as display_name"),
    );
    let acme = world.id("acme");
    let reason = until("the destination says why", PATIENCE, async || {
        let status = daemon.status().await;
        let destination = mapping_state(&status, acme);
        let reason = destination["reason"].as_str().unwrap_or_default().to_owned();
        if destination["state"] == "blocked" && reason.contains("alter table") {
            Ok(reason)
        } else {
            Err(destination.to_string())
        }
    })
    .await;
    let there = &world.tenant("acme").destination;
    // The other mapping still works.
    world.source.execute("update public.project_user set display_name = 'other'").await;
    wait_for(there, "select distinct display_name from users", "other").await;
    let command = reason
        .split('`')
        .find(|part| part.starts_with("alter table"))
        .expect("the command")
        .to_owned();
    there.execute(&command).await;
    wait_for(there, "select count(*) = 0 from teams where display_name > 100", "t").await;
    world.wait_in_step_of_teams(&daemon).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn destinations_appear_move_and_vanish_by_the_file() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let (second, third) = (Source::destination().await, Source::destination().await);
    let acme = world.id("acme").to_owned();
    let entry =
        |database: &Database| json!({ "tenant": acme, "name": "second", "url": database.url() });
    let add = entry(&second);
    configure(&world, |c| c["destinations"]["static"].as_array_mut().expect("a list").push(add));
    let mapping = &world.mappings()[0];
    let wait_equal = async |database: &Database| {
        until("the copy is complete", PATIENCE, async || {
            database.try_query_text("select from teams").await?;
            let difference =
                oracle::compare(&world.source, &acme, mapping, database, "public").await;
            if difference.missing.is_empty() && difference.surplus.is_empty() {
                Ok(())
            } else {
                Err(difference.to_string())
            }
        })
        .await;
    };
    wait_equal(&second).await;
    // A destination moves: it gets a full copy without any change of data, and the daemon closes
    // its connections to the old place.
    let moved = entry(&third);
    configure(&world, |c| c["destinations"]["static"][2] = moved);
    wait_equal(&third).await;
    // This must happen much sooner than an idle connection, or a statement that waits for a lock,
    // would end by itself.
    second.wait_left().await;
    world.source.execute("update public.team set display_name = 'moved'").await;
    wait_equal(&third).await;
    assert_eq!(
        second.query_text("select count(*) from teams where display_name = 'moved'").await,
        "0"
    );
    // A destination is removed, and comes back.
    configure(&world, |c| drop(c["destinations"]["static"].as_array_mut().expect("a list").pop()));
    third.wait_left().await;
    world.source.execute("update public.team set display_name = 'gone'").await;
    world.wait_in_step().await;
    assert_eq!(
        third.query_text("select count(*) from teams where display_name = 'gone'").await,
        "0"
    );
    let back = entry(&third);
    configure(&world, |c| c["destinations"]["static"].as_array_mut().expect("a list").push(back));
    wait_equal(&third).await;
    daemon.stop().await;
}

#[tokio::test]
async fn destinations_of_the_query_move_and_vanish_with_what_was_under_way() {
    let mut world = World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]).await;
    world
        .source
        .execute("create table tenant_database (tenancy_id uuid primary key, url text)")
        .await;
    for name in ["acme", "globex"] {
        let (id, url) = (world.id(name), world.tenant(name).destination.url());
        world
            .source
            .execute(&format!("insert into tenant_database values ('{id}', '{url}')"))
            .await;
    }
    world.configure(|c| {
        c["destinations"] = json!({ "query": "select tenancy_id as tenant_id, url from tenant_database", "refresh": "200ms" });
    });
    world.fill(20).await;
    let daemon = world.daemon().await;
    daemon.allow("destination_failed");
    world.wait_in_step().await;
    // A tenant's own lock delays a batch. Then that destination moves, and another one in the same
    // state is removed.
    let mut holders = Vec::new();
    for name in ["acme", "globex"] {
        let holder = world.tenant(name).destination.connect().await;
        holder
            .batch_execute("begin; lock table teams in access exclusive mode")
            .await
            .expect("the table is free");
        holders.push(holder);
    }
    world.source.execute("update public.team set display_name = 'stuck'").await;
    for name in ["acme", "globex"] {
        let waiting = format!("{SESSIONS} and wait_event_type = 'Lock'");
        wait_for(&world.tenant(name).destination, &waiting, "1").await;
    }
    let moved = Source::destination().await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    let moves =
        format!("update tenant_database set url = '{}' where tenancy_id = '{acme}'", moved.url());
    world
        .source
        .execute(&format!("{moves}; delete from tenant_database where tenancy_id = '{globex}'"))
        .await;
    for name in ["acme", "globex"] {
        world.tenant(name).destination.wait_left().await;
    }
    wait_for(&moved, "select count(*) > 0 and bool_and(display_name = 'stuck') from teams", "t")
        .await;
    // No work is left for the removed tenant, and no session waits for it.
    let left = "select (select count(*) from offtake.outgoing_request) + (select count(*) from offtake.captured_change)";
    wait_for(&world.source, left, "0").await;
    let status = daemon.status().await;
    assert!(mapping_state(&status, globex).is_null(), "{status:#}");
    // A scrape does not wait long for a reading of the source.
    until("the metrics show that nothing is owed", PATIENCE, async || {
        let (code, metrics) = daemon.get("/metrics").await;
        assert_eq!(code, 200);
        let owed = metrics
            .lines()
            .find_map(|line| line.strip_prefix("offtake_requests_owed{kind=\"sync\"} "));
        if owed == Some("0") { Ok(()) } else { Err(format!("{owed:?}")) }
    })
    .await;
    drop(holders);
    daemon.stop().await;
}
