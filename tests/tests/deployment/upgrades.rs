//! Two versions of Offtake on one source. The newer one is played by a migration that this program
//! does not have, the older one by a schema that lacks some; and where `OFFTAKE_PREVIOUS` names the
//! binary of an earlier version, it is that one.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::tools::said;
use offtake_tests::{PATIENCE, World, binary, oracle, until};

use crate::guide::commands;

const MIGRATED_BY_A_NEWER: &str = "\
    insert into offtake.migration (version, name, applied_on, checksum)
    values (9999, 'from_the_future', '2030-01-01T00:00:00Z', '1');
    alter table offtake.destination add column from_the_future integer";

const AS_BEFORE: &str = "delete from offtake.migration where version = 9999;
    alter table offtake.destination drop column from_the_future";

/// The version before V27 could let two exports of a tenant go on.
const TWO_EXPORTS: &str = "\
    insert into offtake.job (public_id, kind, tenant_id, source_tenant_id, leased_until)
    values ('exp_20261128-031300_aaaaaa', 'export', '7b', null, null),
           ('exp_20261128-031300_bbbbbb', 'export', '7B', '7b', now() + interval '1 hour')";

#[tokio::test]
async fn an_older_program_refuses_a_newer_schema_with_the_remedy() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.allow("source_unavailable");
    world.source.execute(MIGRATED_BY_A_NEWER).await;
    let functions = "select md5(string_agg(pg_get_functiondef(p.oid), '' order by p.oid))
                       from pg_proc p where p.pronamespace = 'offtake'::regnamespace";
    let before = world.source.query_text(functions).await;
    for arguments in [&["init"][..], &["run", "--once"]] {
        let output = world.offtake(arguments).await;
        let (_, complained) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{complained}");
        assert!(complained.contains("is newer than this program"), "{complained}");
        assert!(complained.contains("it has V9999__from_the_future"), "{complained}");
        assert!(complained.contains("remedy: run the version that prepared"), "{complained}");
    }
    // A daemon waits, and says for what.
    let mut daemon = world.spawn_daemon(&[]);
    until("the daemon listens and waits", PATIENCE, async || {
        match daemon.log().iter().any(|line| line.event == "source_unavailable") {
            true => Ok(()),
            false => Err(daemon.log_text()),
        }
    })
    .await;
    until("the daemon says what it waits for", PATIENCE, async || {
        let (code, body) = daemon.request("GET", "/readyz", &[], "").await;
        if code == 503 && body.contains("V9999__from_the_future; run the version that") {
            return Ok(());
        }
        Err(format!("{code} {body}"))
    })
    .await;
    assert_eq!(world.source.query_text(functions).await, before);
    // The program that the remedy speaks of is one whose migrations these are.
    world.source.execute(AS_BEFORE).await;
    daemon.wait_ready().await;
    world.wait_in_step().await;
    daemon.stop().await;
}

/// A roll-out: `offtake init` of the newer version has run, and daemons of the older one go on until
/// they are replaced. They must not put their own functions in the place of the newer ones.
#[tokio::test]
async fn a_running_daemon_goes_on_beside_a_newer_version_and_leaves_its_triggers() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(8).await;
    world.allow("capture_drifted");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute(MIGRATED_BY_A_NEWER).await;
    // What a newer version's function is to this daemon: one of another text.
    world
        .source
        .execute(
            "do $$ declare f record; begin
               for f in select p.oid, pg_get_functiondef(p.oid) as written from pg_proc p
                         where p.pronamespace = 'offtake'::regnamespace and p.prorettype = 'trigger'::regtype
                           and p.prosrc like '%captured_change%' loop
                 execute regexp_replace(f.written, E'\\n\\\\s*begin', E'\\n  -- newer\\nbegin', 'i');
               end loop;
             end $$",
        )
        .await;
    let newer = "select count(*) > 0 from pg_proc
                  where pronamespace = 'offtake'::regnamespace and prosrc like '%-- newer%'";
    assert_eq!(world.source.query_text(newer).await, "t");
    world.write_mapping("users", USERS);
    daemon.reload();
    let error = async || daemon.status().await["config"]["error"].to_string();
    until("the status tells of the newer version", PATIENCE, async || {
        let error = error().await;
        if error.contains("a newer version of Offtake prepared the source (V9999__from_the_future)")
        {
            return Ok(());
        }
        Err(error)
    })
    .await;
    assert_eq!(world.source.query_text(newer).await, "t");
    // What it keeps, it keeps in step; what is new waits for the newer version.
    let teams = async |there: &str| {
        world
            .tenant("acme")
            .destination
            .wait_text("select count(*) from teams where display_name like '%renamed'", there)
            .await;
    };
    world.source.execute("update team set display_name = display_name || ' renamed'").await;
    teams(&world.source.query_text("select count(*) from team").await).await;
    let users = "select to_regclass('users') is null";
    assert_eq!(world.tenant("acme").destination.query_text(users).await, "t");
    // Back where both are of one version, it looks after the triggers again.
    world.source.execute(AS_BEFORE).await;
    daemon.reload();
    world.source.wait_text(newer, "f").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    until("the status tells of nothing", PATIENCE, async || {
        let error = error().await;
        if error == "null" { Ok(()) } else { Err(error) }
    })
    .await;
    daemon.stop().await;
}

/// The schema of every earlier version, as its own migrations made it.
#[tokio::test]
async fn a_source_of_each_earlier_version_is_told_and_brought_up_to_date() {
    let all = offtake_postgres::migration_sql();
    // The first entry makes the schema itself.
    for version in [1, all.len() / 2, all.len() - 2] {
        let world =
            World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).without_init().await;
        world.fill(8).await;
        world.allow("source_unavailable");
        for (name, sql) in all.iter().take(version + 1) {
            world.source.execute(sql).await;
            if name.starts_with("V26__") {
                world.source.execute(TWO_EXPORTS).await;
            }
        }
        let lacking = &all[version + 1].0;
        let output = world.offtake(&["run", "--once"]).await;
        let (_, complained) = said(&output);
        let told = format!("older than this program: it lacks {lacking}");
        assert!(complained.contains(&told), "{complained}");
        assert!(complained.contains("remedy: run `offtake init`"), "{complained}");
        let mut daemon = world.spawn_daemon(&[]);
        let told = world.succeed(&["init"]).await;
        assert!(told.contains(lacking.as_str()), "{told}");
        daemon.wait_ready().await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        let exports =
            "select string_agg(state || ' ' || (leased_until is null), ', ' order by job_id)
                         from offtake.job";
        let exports = world.source.query_text(exports).await;
        assert!(["", "accepted true, cancelled true"].contains(&exports.as_str()), "{exports}");
        daemon.stop().await;
    }
}

/// The way back behind a migration, as docs/upgrading.md has it: the newer version leaves the source,
/// the older one prepares it anew, and the copies that are there are made again in place.
#[tokio::test]
async fn a_source_that_was_prepared_anew_makes_its_copies_again_in_place() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(8).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let leave = commands("docs/upgrading.md", "offtake uninstall").remove(0);
    world.succeed(&leave.split(' ').skip(1).collect::<Vec<_>>()).await;
    // What is written meanwhile is captured by nothing.
    world.source.execute("update team set display_name = display_name || ' meanwhile'").await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    oracle::wait_equal(&world, PATIENCE).await;
    world.wait_in_step().await;
    daemon.stop().await;
}

/// A program of an earlier version; ended when dropped.
struct Previous {
    process: Child,
}

impl Drop for Previous {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `OFFTAKE_PREVIOUS=/path/of/an/earlier/offtake`: its daemon and this one's share the work over
/// our own migration, while the application writes.
#[tokio::test]
async fn the_previous_version_and_this_one_work_side_by_side_over_the_migration() {
    let Some(previous) = std::env::var_os("OFFTAKE_PREVIOUS").map(PathBuf::from) else {
        eprintln!("skipped: OFFTAKE_PREVIOUS names no earlier binary; see CONTRIBUTING.md");
        return;
    };
    let world = World::with_tenants(["acme", "globex"]).without_init().await;
    world.fill(50).await;
    world.allow("*");
    let file = world.folder().join("previous.yaml");
    let text = std::fs::read_to_string(world.written_configuration()).unwrap();
    std::fs::write(&file, text).unwrap();
    let old = |arguments: &[&str]| {
        let mut command = Command::new(&previous);
        command.arg("--config").arg(&file).args(arguments).stdin(Stdio::null());
        command
    };
    let begun = old(&["init"]).output().unwrap();
    assert!(begun.status.success(), "{:?}", said(&begun));
    let mut running = Previous {
        process: old(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
    };
    world.wait_in_step().await;
    // The newer version migrates while the older daemon runs and the application writes.
    let told = world.succeed(&["init"]).await;
    println!("{told}");
    world.source.execute("update team set display_name = display_name || ' one'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // Side by side.
    let daemon = world.daemon().await;
    for round in 0..5 {
        let write = format!(
            "update project_user set display_name = display_name || '{round}';
             delete from permission where id % 7 = {round}"
        );
        world.source.execute(&write).await;
        world.wait_in_step().await;
    }
    assert!(running.process.try_wait().unwrap().is_none(), "the older daemon ended");
    drop(running);
    world.source.execute("update team set display_name = display_name || ' two'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
    let output = world.offtake(&["verify"]).await;
    assert!(output.status.success(), "{:?}", said(&output));
    assert_ne!(previous, binary("offtake"), "both are one version");
}
