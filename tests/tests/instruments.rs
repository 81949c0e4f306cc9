//! Tests of the test tools themselves: failpoints, the fault proxy, the history, the workload.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use offtake_tests::d1::{self, D1};
use offtake_tests::history::Polled;
use offtake_tests::proxy::{Cut, Mode};
use offtake_tests::receiver::Receiver;
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{PATIENCE, World, history, oracle, until};
use serde_json::json;

#[tokio::test]
async fn a_paused_daemon_stands_still_and_goes_on() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.set_failpoint("sync.before_commit", "pause").await;
    let users = "select string_agg(display_name, ',' order by id) from users";
    let before = world.tenant("acme").destination.query_text(users).await;
    world.source.execute("update public.project_user set display_name = 'Ada'").await;
    daemon.wait_at_failpoint("sync.before_commit", 1).await;
    assert_eq!(world.tenant("acme").destination.query_text(users).await, before);
    daemon.clear_failpoint("sync.before_commit").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn every_failpoint_can_kill_the_daemon() {
    let mut world = World::with_tenants(["acme"]).await;
    world.fill(5).await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({ "concurrency": 1 }));
    world.configure(|c| {
        c["stores"] = json!({ "disk": { "kind": "disk", "path": "files" } });
        // Several snapshots, so that its parts settle.
        c["exports"] = json!({ "store": "disk", "chunk_rows": 1, "work": "1ms", "pause": "1ms" });
        c["audit"] = json!({ "budget": "100%" });
    });
    // Registered, so that it is told of the first change.
    let daemon = world.daemon().await;
    world.source.wait_text("select count(*) > 0 from offtake.webhook_mapping", "t").await;
    world.wait_webhooks_told(PATIENCE).await;
    daemon.stop().await;
    // A restore is a command; its own test kills it.
    let of_daemons =
        |point: &&str| !["restore.", "source_restore."].iter().any(|of| point.starts_with(of));
    for point in offtake_loops::FAILPOINTS.into_iter().filter(of_daemons) {
        if point == "backfill.after_chunk" {
            // Before the daemon starts: a daemon that has done everything does not look again for a
            // while.
            world
                .tenant("acme")
                .destination
                .execute("drop schema public cascade; create schema public")
                .await;
        }
        if point.starts_with("audit.") {
            // A dead daemon may have had it, and another one may have compared it.
            let due = "update offtake.audit set leased_until = null, not_before = null;
                       update offtake.destination_mapping set audited_at = '-infinity'";
            world.source.execute(due).await;
        }
        if point.starts_with("export.") {
            let ended = "update offtake.job set state = 'cancelled', leased_until = null";
            world.source.execute(ended).await;
            let acme = world.id("acme");
            world.succeed(&["export", "create", "--tenant", acme, "--format", "csv"]).await;
        }
        if point == "export.tidying" {
            // What another attempt has left, and no manifest names.
            let id = "select public_id from offtake.job where state = 'accepted'";
            let id = world.source.query_text(id).await;
            let folder = world.folder().join("files").join(id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("left"), "").unwrap();
        }
        if point == "jobs.expiring" {
            let kept = "update offtake.job set state = 'completed', leased_until = null,
                               expires_at = now() - interval '1 minute' where kind = 'export'";
            world.source.execute(kept).await;
        }
        if point.starts_with("snapshot.") {
            let ended = "update offtake.job set state = 'cancelled', leased_until = null";
            world.source.execute(ended).await;
            let asked = "insert into offtake.job (public_id, kind, tenant_id, store)
                values ('snap_20261128-031300_' || substr('{point}', 10, 6), 'snapshot', '{acme}', 'disk')";
            let asked = asked.replace("{acme}", world.id("acme"));
            world.source.execute(&asked.replace("{point}", &point.replace('_', "a"))).await;
        }
        let mut daemon = world.spawn_daemon_with_failpoints(&[(point, "abort")]);
        world.allow("*");
        world
            .source
            .execute("update public.project_user set display_name = display_name || '+'")
            .await;
        let status = daemon.wait_exit(PATIENCE).await;
        assert!(!status.success(), "{point}: {status}");
        // Two tasks may come there at the same moment.
        assert!(daemon.failpoint_count(point) > 0, "{point}");
        // The next round must not wait for the dead daemon's lease, nor for the postponement of a
        // request that killed several daemons. The server may still commit the dead one's claim.
        world.source.wait_left().await;
        world.source.execute("update offtake.outgoing_request set leased_until = null, failures = 0, not_before = now()").await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Once in the turn of one tenant, and at most once in that of many, in that of a file and in that of a
/// D1 database, which have the same steps.
#[test]
fn every_failpoint_is_in_the_code_once() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut code = String::new();
    let (mut of_groups, mut of_files, mut of_d1) = (String::new(), String::new(), String::new());
    let mut folders = ["sequencer", "poller", "sync", "webhooks", "jobs"]
        .map(|name| crates.join(name).join("src"))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match std::fs::read_to_string(&path) {
                Ok(text) if path.ends_with("group.rs") => of_groups += &text,
                Ok(text) if path.parent().unwrap().ends_with("sqlite") => of_files += &text,
                Ok(text) if path.parent().unwrap().ends_with("d1") => of_d1 += &text,
                Ok(text) => code += &text,
                Err(_) => folders.push(path),
            }
        }
    }
    for point in offtake_loops::FAILPOINTS {
        let here = format!("failpoint(\"{point}\")");
        assert_eq!(code.matches(&here).count(), 1, "{point}");
        assert!(of_groups.matches(&here).count() <= 1, "{point}");
        assert!(of_files.matches(&here).count() <= 1, "{point}");
        assert!(of_d1.matches(&here).count() <= 1, "{point}");
    }
    assert_eq!(
        code.matches("failpoint(\"").count(),
        offtake_loops::FAILPOINTS.len(),
        "a failpoint is not in the list"
    );
}

#[tokio::test]
async fn the_proxy_passes_and_counts() {
    let world = World::with_tenants(["acme"]).proxied("acme").await;
    let proxy = world.tenant("acme").proxy();
    let url = proxy.url(&world.tenant("acme").destination.url());
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("select repeat('x', 100000)", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0).len(), 100_000);
    let (up, down) = proxy.bytes();
    assert!((50..5_000).contains(&up) && (100_000..110_000).contains(&down), "{up} {down}");
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    drop(client);
    until("the connection is gone", PATIENCE, async || {
        if proxy.open() == 0 { Ok(()) } else { Err(proxy.open().to_string()) }
    })
    .await;
}

#[tokio::test]
async fn the_proxy_breaks_what_it_is_told() {
    let world = World::with_tenants(["acme"]).proxied("acme").await;
    let (proxy, url) = (world.tenant("acme").proxy(), world.tenant("acme").destination.url());
    let connect = async || {
        let (client, connection) =
            tokio_postgres::connect(&proxy.url(&url), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    };
    let within = async |limit: u64, sql: &str, client: &tokio_postgres::Client| {
        tokio::time::timeout(Duration::from_millis(limit), client.batch_execute(sql)).await
    };

    let client = connect().await.unwrap();
    proxy.set(Mode::Refuse);
    assert!(client.batch_execute("select 1").await.is_err(), "an open connection is reset");
    assert!(connect().await.is_err(), "nothing listens");
    proxy.set(Mode::Pass);
    let client = connect().await.unwrap();

    proxy.set(Mode::Stall);
    let mut waiting = std::pin::pin!(client.batch_execute("select 1"));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    proxy.set(Mode::Pass);
    waiting.await.expect("a stall loses nothing");

    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let began = Instant::now();
    client.batch_execute("select 1").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200), "there and back: {:?}", began.elapsed());

    proxy.set(Mode::Drip(1000));
    let began = Instant::now();
    client.batch_execute(&format!("select '{}'", "x".repeat(300))).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());

    proxy.set(Mode::CutAfter(20_000));
    assert!(client.batch_execute("select repeat('x', 1000000)").await.is_err());

    proxy.set(Mode::Pass);
    let client = connect().await.unwrap();
    proxy.set(Mode::Blackhole);
    assert!(
        within(200, "select 1", &client).await.is_err(),
        "the connection is silent and not reset"
    );
    assert!(tokio::time::timeout(Duration::from_millis(200), connect()).await.is_err());
    proxy.set(Mode::Pass);
    assert!(
        tokio::time::timeout(PATIENCE, client.batch_execute("select 1"))
            .await
            .expect("the connection is reset after the silence")
            .is_err()
    );
}

#[tokio::test]
async fn the_reply_to_commit_can_be_lost() {
    let world = World::with_tenants(["acme"]).proxied("acme").await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let proxy = world.tenant("acme").proxy();
    for cut in [
        Cut::before_reply("commit"),
        Cut::after_reply("commit"),
        Cut::before_statement("commit"),
        Cut::after_statement("_offtake_state"),
    ] {
        daemon.allow("destination_failed");
        let cut = proxy.arm(cut);
        world
            .source
            .execute("update public.project_user set display_name = display_name || '+'")
            .await;
        cut.wait().await;
        assert_eq!(cut.count(), 1);
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}

/// The check proves little if a destination showed fewer states than this.
const STATES_MIN: usize = 200;

async fn fewest_states(world: &World) -> usize {
    let mut fewest = usize::MAX;
    for tenant in world.tenants() {
        fewest = fewest.min(history::states(&tenant.destination).await);
    }
    fewest
}

#[tokio::test]
async fn the_workload_reaches_every_destination_and_the_history_is_sound() {
    let workload = Workload::new(1);
    let world = Workload::plan(["acme", "globex", "initech"]).await;
    workload.prepare(&world).await;
    history::install(&world).await;
    // A TRUNCATE may deadlock with a batch that reads the same tables in another order.
    world.allow("source_failed");
    let daemon = world.daemon().await;
    let totals = workload.run(&world, Extent::Steps(80)).await;
    assert!(totals.committed > 150 && totals.rolled_back > 10, "{totals:?}");
    world.wait_in_step().await;
    // A slow daemon may have copied only the final state; then the workload goes on, so that there
    // are more states to see.
    while fewest_states(&world).await <= STATES_MIN {
        workload.run(&world, Extent::Steps(10)).await;
        world.wait_in_step().await;
    }
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_workload_replays() {
    let mut contents = Vec::new();
    for _ in 0..2 {
        let workload = Workload::new(2).writers(1);
        let world = Workload::plan(["acme", "globex"]).await;
        workload.prepare(&world).await;
        workload.run(&world, Extent::Steps(40)).await;
        contents
            .push(world.source.query_text("select table_name, tenant, key, link, body from work.version_log order by 1, 2, 3, 4, 5").await);
    }
    assert!(contents[0].lines().count() > 100);
    assert!(contents[0] == contents[1], "the same seed wrote something else");
}

#[tokio::test]
async fn the_history_finds_what_must_not_be() {
    let workload = Workload::new(3);
    let world = Workload::plan(["acme", "globex"]).await;
    workload.prepare(&world).await;
    history::install(&world).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    assert_eq!(history::violations(&world).await, Vec::<String>::new());

    let destination = &world.tenant("acme").destination;
    let check = async |sql: &str, expect: &[&str]| {
        // Like the engine's own transaction, with the cursor, except for the violation that the
        // statement makes.
        destination.execute(sql).await;
        let found = history::violations(&world).await;
        for expected in expect {
            assert!(
                found.iter().any(|line| line.contains(expected)),
                "{sql}\n  {expected} is not in {found:#?}"
            );
        }
        destination.execute("truncate history.change").await;
    };
    let moved = "update _offtake_state set updated_at = now();";
    let last = "select max(version) from children";
    check(
        &format!("{moved} update notes set body = body where name = 'n1'"),
        &["a row was written as it was"],
    )
    .await;
    check(
        "update notes set body = 'x' where name = 'n1'",
        &["the cursor did not move", "had the body"],
    )
    .await;
    check("update _offtake_state set sequence_id = 5 where mapping = 'notes'; update _offtake_state set sequence_id = 4 where mapping = 'notes'", &["went back from 5 to 4"])
        .await;
    check(
        &format!("{moved} update children set version = ({last}) + 100000 where no = 1"),
        &["was ever committed"],
    )
    .await;
    let foreign = world
        .source
        .query_text(&format!(
            "select version, body from work.note where scope = 'org/{}' and name = 'n3'",
            world.id("globex")
        ))
        .await;
    let (version, body) = foreign.split_once('|').unwrap();
    check(
        &format!("{moved} update notes set version = {version}, body = '{body}' where name = 'n3'"),
        &["it belonged to tenant"],
    )
    .await;
    check(
        &format!("{moved} update children set joined_version = joined_version - 1 where no = 2"),
        &["came back"],
    )
    .await;
    check(&format!("{moved} delete from notes where name = 'n4'"), &[]).await;
}

/// The same of a copy that is a file, at which a reader looks.
#[tokio::test]
async fn the_history_of_a_file_finds_what_must_not_be() {
    let workload = Workload::new(3);
    let world = Workload::plan(["acme", "globex"]).in_files().await;
    workload.prepare(&world).await;
    let polled = Polled::begin(&world);
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let file = world.tenant("acme").file();
    let moved = "update _offtake_state set write_id = hex(randomblob(16))";
    let wrong = [
        ("update notes set body = 'x' where name = 'n1'", "the cursor did not move"),
        (
            "update _offtake_state set sequence_id = sequence_id - 1 where mapping = 'notes'",
            "went back",
        ),
        ("update children set version = version + 100000 where no = 1", "was ever committed"),
        ("update children set joined_version = joined_version - 1 where no = 2", "came back"),
    ];
    for (sql, _) in wrong {
        let before = polled.looks();
        let cursor = if sql.contains("notes") { "" } else { moved };
        file.execute(&format!("begin immediate; {sql}; {cursor}; commit"));
        until("a reader has seen it", PATIENCE, async || match polled.looks() {
            looks if looks > before => Ok(()),
            looks => Err(format!("{looks} looks")),
        })
        .await;
    }
    let seen = polled.end(&world).await;
    assert!(seen.states > 50, "{} states", seen.states);
    for (sql, expected) in wrong {
        let found = &seen.violations;
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{sql}\n  {expected}: {found:#?}"
        );
    }
}

/// The engine of D1 starts a process of its own, which a killed engine would leave behind.
#[tokio::test]
async fn the_engine_of_d1_leaves_no_process_behind() {
    if !d1::installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let d1 = D1::start(1, folder.path()).await;
    let processes = d1.processes();
    assert!(processes.len() > 1, "{processes:?}");
    drop(d1);
    until("they are gone", PATIENCE, async || {
        let runs = |pid: &&u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        let left: Vec<_> = processes.iter().filter(runs).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}
