//! What `offtake doctor` finds: each trouble is made, named, and ended as its remedy says.

use std::time::Duration;

use offtake_tests::samples::USERS;
use offtake_tests::{PATIENCE, World, until};
use serde_json::{Value, json};

use super::{follow, told};

/// The findings with this code.
fn with_code<'r>(report: &'r Value, code: &str) -> Vec<&'r Value> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["code"] == code).collect()
}

/// What doctor says of itself: exit code and report. What holds back vacuum counts after a second.
async fn examined(world: &World, more: &[&str]) -> (i32, Value) {
    told(world, &[&["doctor", "--older-than", "1s"], more].concat()).await
}

/// Asks until there is such a finding with these words. Returns its remedy.
async fn until_found(world: &World, more: &[&str], code: &str, words: &str) -> (String, Value) {
    until(&format!("doctor finds {code}"), PATIENCE, async || {
        let (exit, report) = examined(world, more).await;
        let named = |finding: &&&Value| finding["what"].as_str().unwrap().contains(words);
        let found = with_code(&report, code);
        let Some(finding) = found.iter().find(named) else { return Err(format!("{report:#}")) };
        let expected = if finding["severity"] == "note" { exit } else { 4 };
        assert_eq!(exit, expected, "{report:#}");
        for part in ["what", "matters", "remedy"] {
            assert!(!finding[part].as_str().unwrap().is_empty(), "{report:#}");
        }
        Ok((finding["remedy"].as_str().unwrap().to_owned(), (*finding).clone()))
    })
    .await
}

async fn until_over(world: &World, more: &[&str], code: &str, words: &str) {
    until(&format!("doctor no longer finds {code}"), PATIENCE, async || {
        let (_, report) = examined(world, more).await;
        let named = |finding: &&Value| finding["what"].as_str().unwrap().contains(words);
        match with_code(&report, code).into_iter().any(|finding| named(&finding)) {
            false => Ok(()),
            true => Err(format!("{report:#}")),
        }
    })
    .await;
}

/// The SQL behind the last `run: ` or `run as …: ` of a remedy, statement by statement.
async fn run_printed(world: &World, remedy: &str) {
    let (_, statements) = remedy.rsplit_once("run: ").or_else(|| remedy.split_once(": ")).unwrap();
    for statement in statements.split("; then: ") {
        world.source.execute(statement).await;
    }
}

/// Troubles of the server itself, on a server of its own.
#[tokio::test]
async fn what_hurts_at_the_source_is_found_with_the_statement_that_ends_it() {
    let mut world =
        World::with_tenants(["acme"]).private_source().mappings(&[("users", USERS)]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;

    // Settings. A private server has two of them off, to be quick.
    world.source.execute("alter system set autovacuum = off").await;
    world.source.execute("select pg_reload_conf()").await;
    for name in ["autovacuum", "fsync", "full_page_writes"] {
        let words = format!("{name} is off");
        let (remedy, _) = until_found(&world, &[], "setting", &words).await;
        run_printed(&world, &remedy).await;
        until_over(&world, &[], "setting", &words).await;
    }
    world.source.execute("alter role postgres set statement_timeout = '5s'").await;
    let (remedy, _) = until_found(&world, &[], "setting", "statement_timeout is 5000 ms").await;
    run_printed(&world, &remedy).await;
    until_over(&world, &[], "setting", "statement_timeout").await;

    // What holds back vacuum.
    let idle = world.source.connect().await;
    idle.batch_execute("begin isolation level repeatable read; select count(*) from pg_class")
        .await
        .unwrap();
    let pid = idle.query_one("select pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    let words = format!("process {pid} ");
    let (remedy, finding) = until_found(&world, &[], "long_transaction", &words).await;
    assert!(finding["what"].as_str().unwrap().contains("idle in transaction"), "{finding:#}");
    run_printed(&world, &remedy).await;
    until_over(&world, &[], "long_transaction", "").await;
    let prepared = world.source.connect().await;
    prepared
        .batch_execute(
            "begin; create table forgotten (id int); prepare transaction 'it''s forgotten'",
        )
        .await
        .unwrap();
    let (remedy, _) = until_found(&world, &[], "prepared_transaction", "it's forgotten").await;
    run_printed(&world, &remedy).await;
    until_over(&world, &[], "prepared_transaction", "").await;
    world.source.execute("select pg_create_physical_replication_slot('left_behind', true)").await;
    let (remedy, _) = until_found(&world, &[], "replication_slot", "left_behind").await;
    run_printed(&world, &remedy).await;
    until_over(&world, &[], "replication_slot", "").await;

    // With a daemon and none of these, there is nothing worse than a note.
    // On a machine that is busy with other things, a transaction of the daemon may take a second.
    let report = until("doctor finds nothing worse than a note", PATIENCE, async || {
        let (code, report) = examined(&world, &["--connect"]).await;
        if code == 0 { Ok(report) } else { Err(format!("{report:#}")) }
    })
    .await;
    assert_eq!(with_code(&report, "role").len(), 1, "the tests' role is a superuser: {report:#}");
    daemon.stop().await;

    world.configure(|configuration| configuration["sync"]["workers"] = json!(900));
    let (remedy, _) = until_found(&world, &[], "connections", "one daemon may need 913").await;
    assert!(remedy.contains("lower sync.workers"), "{remedy}");
    world.configure(|configuration| configuration["sync"]["workers"] = json!(8));
    until_over(&world, &[], "connections", "").await;
}

/// Troubles of Offtake's own tables, triggers, files and daemons.
#[tokio::test]
async fn what_hurts_in_offtakes_own_part_is_found_with_what_mends_it() {
    let world = World::with_tenants(["acme"])
        .mappings(&[("users", USERS)])
        .setting("/retention/changes", "1h")
        .await;
    world.allow("*");
    world.fill(3).await;
    world.succeed(&["run", "--once"]).await;
    let (remedy, finding) = until_found(&world, &[], "no_daemon", "").await;
    assert_eq!(
        (remedy.as_str(), &finding["severity"]),
        ("start one: offtake run", &json!("critical"))
    );

    world.source.execute("alter table public.project_user disable trigger all").await;
    let (remedy, finding) = until_found(&world, &[], "triggers", "mapping users").await;
    assert_eq!(finding["severity"], "critical");
    assert!(remedy.starts_with("run `offtake init`"), "{remedy}");
    world.succeed(&["init"]).await;
    until_over(&world, &[], "triggers", "").await;

    world
        .source
        .execute(
            "alter table offtake.captured_change set (autovacuum_enabled = false);
             insert into offtake.captured_change (source_table, operation, tenant_id)
             select 'public.nothing', 'c', 'nobody' from generate_series(1, 150000);
             delete from offtake.captured_change where source_table = 'public.nothing'",
        )
        .await;
    let (remedy, _) = until_found(&world, &[], "dead_rows", "captured_change").await;
    run_printed(&world, &remedy).await;
    until_over(&world, &[], "dead_rows", "").await;
    let (remedy, _) = until_found(&world, &[], "autovacuum", "captured_change").await;
    run_printed(&world, &remedy).await;
    until_over(&world, &[], "autovacuum", "").await;

    let file = world.mappings_folder().join("users.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    world.write_mapping("users", "query: select");
    let (_, finding) = until_found(&world, &[], "files", "users.yaml").await;
    assert_eq!(finding["severity"], "critical");
    world.write_mapping("users", &text);
    until_over(&world, &[], "files", "").await;

    world
        .source
        .execute("insert into offtake.migration (version, name, applied_on, checksum) values (999, 'of_tomorrow', '', '')")
        .await;
    until_found(&world, &[], "schema_newer", "V999__of_tomorrow").await;
    world.source.execute("delete from offtake.migration where version = 999").await;
    until_over(&world, &[], "schema_newer", "").await;

    // How it ends is waited for in mixed_mappings.rs: it takes more than a minute.
    world.source.execute("insert into offtake.overlooked_mapping (mapping) values ('users')").await;
    let (remedy, _) = until_found(&world, &[], "other_files", "mapping users").await;
    assert!(remedy.contains("the same mapping files"), "{remedy}");
    world.source.execute("delete from offtake.overlooked_mapping").await;

    world.succeed(&["fuse", "off", "mapping:users", "--reason", "a wrong join"]).await;
    let (remedy, _) = until_found(&world, &[], "fuse", "a wrong join").await;
    follow(&world, &remedy).await;
    until_over(&world, &[], "fuse", "").await;

    // A process that died with a claim, and a partition that is overdue: a daemon mends both.
    world
        .source
        .execute(
            "insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id, attempt, leased_until, leased_by)
             select 'sync', destination_id, 1, 1, now() - interval '1 hour', '4711:dead' from offtake.destination;
             create table if not exists offtake.change_log_1 partition of offtake.change_log for values from (10000000) to (20000000);
             update offtake.change_log set sequenced_at = now() - interval '1 day';
             insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at, sequenced_at)
             values (7, 'public.nothing', 'nobody', '{}', false, now(), now() - interval '1 day')
             on conflict do nothing;
             select setval('offtake.global_sequence', 10000005)",
        )
        .await;
    until_found(&world, &[], "ended_process", "4711:dead").await;
    let (remedy, _) = until_found(&world, &[], "log_overdue", "change_log_0").await;
    assert!(remedy.contains("a daemon drops them by itself"), "{remedy}");
    let daemon = world.daemon().await;
    until_over(&world, &[], "no_daemon", "").await;
    until_over(&world, &[], "ended_process", "").await;
    until_over(&world, &[], "log_overdue", "").await;
    daemon.stop().await;
}

/// Troubles of destinations: as the source knows them, and asked now.
#[tokio::test]
async fn what_hurts_at_destinations_is_found_with_what_mends_it() {
    let mut world = World::with_tenants(["acme", "globex", "initech"])
        .mappings(&[("users", USERS)])
        .setting("/sync/retry", json!({ "initial": "200ms", "max": "1s" }))
        .await;
    world.allow("*");
    world.fill(3).await;
    let initech = &world.tenant("initech").destination;
    initech.execute("create table users (name text); insert into users values ('mine')").await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme", "globex"], PATIENCE).await;
    let (remedy, _) = until_found(&world, &[], "destination_blocked", "was there before").await;
    let (_, command) = remedy.split_once("offtake ").unwrap();
    let explained = world.offtake(&command.split_whitespace().collect::<Vec<_>>()).await;
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.status.code() == Some(4) && text.contains("was there before"), "{text}");
    world.tenant("initech").destination.execute("alter table users rename to theirs").await;
    until_over(&world, &[], "destination_blocked", "").await;

    let there = &world.tenant("acme").destination;
    there
        .execute("alter table users add constraint none check (display_name is null) not valid")
        .await;
    world.source.execute("update public.project_user set display_name = 'x'").await;
    let (remedy, _) = until_found(&world, &[], "quarantine", "refused").await;
    assert!(remedy.ends_with("offtake quarantine list"), "{remedy}");
    there.execute("alter table users drop constraint none").await;
    follow(&world, &remedy).await;
    world.succeed(&["quarantine", "retry"]).await;
    until_over(&world, &[], "quarantine", "").await;
    daemon.stop().await;

    // Asked now: a role of its own, so that the servers of other tests are left alone.
    let role = format!("replica_{}", std::process::id());
    there
        .execute(&format!("drop role if exists {role}; create role {role} login superuser; alter role {role} set session_replication_role = replica"))
        .await;
    world.reach_by("acme", |url| url.replace("postgres://postgres", &format!("postgres://{role}")));
    let (remedy, _) =
        until_found(&world, &["--connect"], "destination_replication_role", &role).await;
    let (_, statement) = remedy.split_once("run there: ").unwrap();
    world.tenant("acme").destination.execute(statement).await;
    until_over(&world, &["--connect"], "destination_replication_role", "").await;
    let globex = &world.tenant("globex").destination;
    let name = globex.name();
    globex
        .execute(&format!("alter database \"{name}\" set default_transaction_read_only = on"))
        .await;
    until_found(&world, &["--connect"], "destination_read_only", world.id("globex")).await;
    globex
        .execute(&format!("set transaction read write; alter database \"{name}\" reset default_transaction_read_only"))
        .await;
    until_over(&world, &["--connect"], "destination_read_only", "").await;
    world.reach_by("initech", |url| url.replace("postgres://postgres", "postgres://nobody_there"));
    let (_, finding) =
        until_found(&world, &["--connect"], "destination_unreachable", "nobody_there").await;
    assert!(finding["what"].as_str().unwrap().contains(world.id("initech")), "{finding:#}");
    world.reach_by("initech", |url| url.replace("postgres://nobody_there", "postgres://postgres"));
    until_over(&world, &["--connect"], "destination_unreachable", "").await;
    world.configure(|configuration| {
        configuration["destinations"]["query"] = "select tenant_id, url from missing".into();
    });
    until_found(&world, &[], "destinations_query", "missing").await;
    world.source.execute("create table missing (tenant_id text, url text)").await;
    until_over(&world, &[], "destinations_query", "").await;
    world.reach_by("acme", |url| url.replace(&role, "postgres"));
    world.tenant("acme").destination.execute(&format!("drop role {role}")).await;
}

/// A certificate is told before it expires, and no longer once the server shows a new one.
#[tokio::test]
async fn a_certificate_that_expires_soon_is_found() {
    let mut world = World::with_tenants(["acme", "globex"])
        .mappings(&[("users", USERS)])
        .private_destination("acme")
        .await;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    world.tenant("acme").show_certificate(days(13)).await;
    world.reach_by("acme", |url| url.replace("sslmode=disable", "sslmode=require"));
    let (code, words) = ("destination_certificate", world.id("acme"));
    let (remedy, finding) = until_found(&world, &["--connect"], code, words).await;
    assert_eq!(finding["severity"], "warning");
    assert!(remedy.starts_with("renew the certificate at that server"), "{remedy}");
    let (_, report) = examined(&world, &["--connect"]).await;
    assert_eq!(with_code(&report, code).len(), 1, "globex has no TLS: {report:#}");
    world.tenant("acme").show_certificate(days(15)).await;
    until_over(&world, &["--connect"], code, "").await;
}

/// A daemon that hangs is not a daemon that works.
#[tokio::test]
async fn a_daemon_that_hangs_is_told_from_one_that_works() {
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.freeze();
    world.fill(3).await;
    let old = "update offtake.captured_change set captured_at = now() - interval '5 minutes'";
    world.source.execute(old).await;
    let (remedy, finding) = until_found(&world, &[], "not_numbered", "a daemon is connected").await;
    assert_eq!(finding["severity"], "critical");
    assert!(remedy.contains("restart it"), "{remedy}");
    daemon.thaw();
    until_over(&world, &[], "not_numbered", "").await;
    world.wait_in_step_within(Duration::from_secs(60)).await;
    daemon.stop().await;
}

/// Without a schema of ours, the way to one is told.
#[tokio::test]
async fn doctor_of_a_source_that_is_not_prepared_says_what_to_run() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("users", USERS)]).await;
    let (remedy, finding) = until_found(&world, &[], "schema", "no schema `offtake`").await;
    assert_eq!((remedy.as_str(), &finding["severity"]), ("run `offtake init`", &json!("critical")));
    world.succeed(&["init"]).await;
    until_over(&world, &[], "schema", "").await;
    let text = world.offtake(&["doctor"]).await;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in [
        "critical  no_daemon: no daemon is connected",
        "  matters   ",
        "  remedy    start one",
        " critical, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The clock of this machine is hours off.
#[tokio::test]
async fn a_clock_that_is_off_is_found() {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let mut libraries = folders
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .filter(|file| file.is_file());
    let Some(library) = libraries.next() else {
        eprintln!("skipped: libfaketime is not installed (Debian: apt-get install faketime)");
        return;
    };
    let mut world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    world.set_variable("LD_PRELOAD", library.to_str().unwrap());
    world.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    for (offset, words) in [("-2h", "behind the source's"), ("+2h", "ahead of the source's")] {
        world.set_variable("FAKETIME", offset);
        let (remedy, _) = until_found(&world, &[], "clock", words).await;
        assert!(remedy.contains("network time"), "{remedy}");
    }
    world.set_variable("FAKETIME", "+0s");
    until_over(&world, &[], "clock", "").await;
}
