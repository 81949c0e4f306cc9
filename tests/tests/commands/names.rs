//! Unknown names: exit code 2, and the nearest known name as a suggestion. Destinations that cannot
//! be listed: exit code 78, by every command that lists them.

use offtake_tests::printed::between;
use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

use super::{done, offtake};

#[tokio::test]
async fn unknown_names_are_answered_with_the_nearest() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = world.id("acme");
    let nearly = format!("{}0", &id[..id.len() - 1]);
    let check = async |arguments: &[&str], expect: &str| {
        let (code, told, complained) = offtake(&world, arguments).await;
        assert!(
            code == 2 && complained.contains(expect),
            "{arguments:?}: {code} {told}{complained}"
        );
    };
    let meant = format!("did you mean {id}?");
    for command in [
        &["pause", "--reason", "r"][..],
        &["resume"],
        &["resync"],
        &["resync", "--drop"],
        &["sync"],
        &["status"],
        &["verify"],
        &["preview", "--changed"],
    ] {
        check(&[command, &["--tenant", &nearly]].concat(), &meant).await;
    }
    check(&["resync", "--tenant", id, "--mapping", "user"], "did you mean users?").await;
    check(&["verify", "--mapping", "user"], "did you mean users?").await;
    check(&["quarantine", "list", "--mapping", "user"], "did you mean users?").await;
    check(
        &["pause", "--tenant", id, "--destination", "mian", "--reason", "r"],
        "did you mean main?",
    )
    .await;
    check(&["fuse", "off", "sequencr", "--reason", "r"], "did you mean sequencer?").await;
    check(&["fuse", "off", "mapping:user", "--reason", "r"], "did you mean mapping:users?").await;
    check(&["fuse", "on", "nothing:at:all"], "fuses are sequencer").await;
    check(&["pause", "--tenant", id], "--reason").await;
    check(&["pause", "--tenant", id, "--reason", " "], "one line").await;
    check(&["fuse", "off", "sync", "--reason", "r", "--for", "30"], "unit").await;
    assert!(done(&world, &["status", "--tenant", id]).await.contains("in sync"));
    daemon.stop().await;
}

/// Nothing was compared, so it is no success.
#[tokio::test]
async fn a_mapping_that_no_destination_receives_is_told() {
    let mut world =
        World::with_tenants(["acme"]).mappings(&[("teams", TEAMS), ("users", USERS)]).await;
    world.configure(|c| c["destinations"]["static"][0]["mappings"] = json!(["teams"]));
    for command in [&["verify"][..], &["preview", "--changed"]] {
        let arguments = [command, &["--mapping", "users"]].concat();
        let (code, told, complained) = offtake(&world, &arguments).await;
        let expect = "no destination asked for receives a mapping named users";
        assert!(
            code == 2 && complained.contains(expect),
            "{arguments:?}: {code} {told}{complained}"
        );
    }
}

/// And the message has none of the server's detail, which quotes rows.
#[tokio::test]
async fn destinations_that_cannot_be_listed_are_told_alike_by_every_command() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.succeed(&["init"]).await;
    let id = world.id("acme").to_owned();
    world.configure(|c| {
        c["destinations"] = json!({ "query": "select tenant_id, link as url from nowhere" });
    });
    for arguments in [
        &["check", "--connect"][..],
        &["check", "--diff"],
        &["preview", "--changed"],
        &["verify"],
        &["resync", "--tenant", &id, "--drop", "--yes"],
    ] {
        let (code, told, complained) = offtake(&world, arguments).await;
        assert!(
            code == 78
                && complained.contains("destinations.query cannot be used")
                && complained.contains("relation \"nowhere\" does not exist")
                && !complained.contains("db error"),
            "{arguments:?}: {code} {told}{complained}"
        );
    }
}

/// A uuid has many spellings, and the source prints one of them. Commands that ask the registry,
/// commands that list the destinations, and fuses know the tenant by any of them, and call it what
/// the configuration does.
#[tokio::test]
async fn a_tenant_is_known_by_every_spelling_that_its_type_reads() {
    let mut world = World::with_tenants(["acme", "globex"])
        .mappings(&[("teams", TEAMS), ("users", USERS)])
        .await;
    let printed = world.id("acme").to_owned();
    let configured = printed.to_uppercase();
    assert_ne!(printed, configured);
    world.configure(|c| c["destinations"]["static"][0]["tenant"] = configured.clone().into());
    world.fill(5).await;
    let daemon = world.daemon().await;
    let state = "select count(*) from _offtake_state where backfilled";
    world.tenant("acme").destination.wait_text(state, "2").await;
    let braced = format!("{{{printed}}}");
    let fuse = format!("tenant:{braced}");
    let of_destination = format!("destination:{braced}/main");
    for typed in [&printed, &braced] {
        for command in [
            &["status"][..],
            &["pause", "--reason", "r"],
            &["resume"],
            &["resync", "--wait", "30s"],
            &["resync", "--drop"],
            &["sync", "--wait", "30s"],
            &["verify"],
            &["preview", "--changed"],
            &["preview", "--mapping", "users"],
            &["quarantine", "list"],
            &["quarantine", "retry"],
            &["adopt", "--yes"],
        ] {
            done(&world, &[command, &["--tenant", typed]].concat()).await;
        }
        let told = done(&world, &["status", "--tenant", typed]).await;
        assert!(told.contains(&configured) && !told.contains(world.id("globex")), "{told}");
        let told = done(&world, &["verify", "--tenant", typed]).await;
        assert!(told.contains(&configured) && told.contains("2 of 2 copies equal"), "{told}");
    }
    for (name, meant) in [
        (&fuse, format!("tenant:{configured}")),
        (&of_destination, format!("destination:{configured}/main")),
    ] {
        let told = done(&world, &["fuse", "off", name, "--reason", "r"]).await;
        assert!(told.starts_with(&format!("{meant} is off")), "{told}");
        daemon.wait_fuse(&meant, true).await;
        done(&world, &["fuse", "on", name]).await;
        daemon.wait_fuse(&meant, false).await;
    }
    // What the type does not read, or no destination has, is no tenant.
    let other = "{00000000-0000-0000-0000-000000000001}";
    for typed in ["no uuid", other] {
        let (code, told, complained) =
            offtake(&world, &["pause", "--tenant", typed, "--reason", "r"]).await;
        assert!(code == 2 && complained.contains("has no destination"), "{told}{complained}");
    }
    daemon.stop().await;
    two_spellings_are_two_names(&mut world, &configured, &printed).await;
}

/// Two spellings in the configuration are two names, and a third spelling could mean either.
async fn two_spellings_are_two_names(world: &mut World, configured: &str, printed: &str) {
    let braced = format!("{{{printed}}}");
    world.configure(|c| c["destinations"]["static"][1]["tenant"] = printed.into());
    let daemon = world.daemon().await;
    until("both are known", PATIENCE, async || {
        let known = "select count(*) from offtake.destination where active and coalesce(source_tenant_id, tenant_id) = '{}'";
        let known = world.source.try_query_text(&known.replace("{}", printed)).await?;
        if known == "2" { Ok(()) } else { Err(known) }
    })
    .await;
    for command in [&["pause", "--reason", "r"][..], &["verify"]] {
        let arguments = [command, &["--tenant", &braced]].concat();
        let (code, told, complained) = offtake(world, &arguments).await;
        let expect = format!("may be the tenant {configured} and {printed}");
        assert!(code == 2 && complained.contains(&expect), "{command:?}: {told}{complained}");
    }
    let told = done(world, &["status", "--tenant", configured]).await;
    assert!(told.contains(configured) && !told.contains(printed), "{told}");
    daemon.stop().await;
}

/// Mapping files that cannot be used leave what was typed; the suggestion then ignores capitals.
#[tokio::test]
async fn without_usable_mapping_files_another_spelling_is_suggested() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world.write_mapping("teams", "source: [");
    let typed = world.id("acme").to_uppercase();
    let (code, told, complained) = offtake(&world, &["resume", "--tenant", &typed]).await;
    let expect = format!("did you mean {}?", world.id("acme"));
    assert!(code == 2 && complained.contains(&expect), "{told}{complained}");
    done(&world, &["resume", "--tenant", between(&complained, "did you mean ", "?")]).await;
}

/// The test fails where the session of a command's pool is called like a daemon's.
#[tokio::test]
async fn a_command_that_is_running_is_no_daemon() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    // The command counts sessions.
    world.source.wait_left().await;
    world.source.execute("create table customer (tenant_id text, url text)").await;
    world.configure(|c| c["destinations"]["query"] = "select * from customer".into());
    let holder = world.source.connect().await;
    holder.batch_execute("begin; lock table customer").await.unwrap();
    let look = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                       and application_name like 'offtake%' and wait_event_type = 'Lock'";
        world.source.wait_text(waiting, "1").await;
        let asked = offtake(&world, &["sync", "--tenant", world.id("acme"), "--wait", "5s"]).await;
        holder.batch_execute("commit").await.unwrap();
        asked
    };
    let ((code, _, told), (_, _, complained)) =
        tokio::join!(offtake(&world, &["check", "--connect"]), look);
    assert_eq!(code, 0, "{told}");
    assert!(complained.contains("no daemon is connected"), "{complained}");
}
