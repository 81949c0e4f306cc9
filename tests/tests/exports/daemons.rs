//! Exports that daemons work on: files in a store, leases, the fuse, cancel and expiry.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use crate::{folder, unzipped};

pub(crate) const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: items }
";

const ROWS: usize = 2000;

async fn world() -> World {
    let world = World::with_tenants(["acme", "globex"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting("/exports", json!({ "store": "disk", "chunk_rows": 100, "pause": "1ms" }))
        .await;
    let fill =
        "insert into item select '{tenant}', n, 'name ' || n from generate_series(1, 2000) n";
    world.with_items("name text", fill).await;
    world
}

async fn create(world: &World, more: &[&str]) -> Value {
    let mut arguments =
        vec!["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--json"];
    arguments.extend(more);
    serde_json::from_str(&world.succeed(&arguments).await).unwrap()
}

async fn status(world: &World, id: &str) -> Value {
    serde_json::from_str(&world.succeed(&["export", "status", id, "--json"]).await).unwrap()
}

pub(crate) async fn wait_state(world: &World, id: &str, wanted: &str) -> Value {
    until(&format!("{id} is {wanted}"), PATIENCE, async || {
        let told = status(world, id).await;
        if told["state"] == wanted { Ok(told) } else { Err(told.to_string()) }
    })
    .await
}

pub(crate) async fn wait_parts(world: &World, parts: &str) {
    world.source.wait_text("select count(*) from offtake.job_chunk", parts).await;
}

/// As if the lease of a process that died had run out.
pub(crate) async fn end_lease(world: &World) {
    let past = "update offtake.job set leased_until = now() - interval '1 second'";
    world.source.execute(past).await;
}

fn parts_of(world: &World, id: &str) -> Vec<PathBuf> {
    let folder = world.folder().join("files").join(id).join("items.csv.gz");
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

pub(crate) fn assert_whole(world: &World, name: &str) {
    let text = unzipped(&folder(world, name).join("items.csv.gz"));
    let mut ids: Vec<usize> =
        text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=ROWS).collect::<Vec<_>>());
}

/// A row that the query cannot compute fails the export. Its status names the row and says why; the
/// log has nothing of it. A snapshot is told in the same way.
#[tokio::test]
async fn a_row_that_cannot_be_computed_is_in_the_status_and_in_no_log() {
    let computed = "case when i.id = 1977 then i.name::int::text else i.name end as name";
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", &ITEMS.replace("i.name from", &format!("{computed} from")))])
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting("/exports", json!({ "store": "disk" }))
        .setting("/snapshots", json!({ "store": "disk" }))
        .await;
    let fill =
        "insert into item select '{tenant}', n, 'secret ' || n from generate_series(1, 2000) n";
    world.with_items("name text", fill).await;
    let daemon = world.daemon().await;
    daemon.allow("*");
    let id = create(&world, &[]).await["id"].as_str().unwrap().to_owned();
    let told = wait_state(&world, &id, "failed").await;
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("the row (1977)") && !reason.contains("secret"), "{reason}");
    let body = json!({ "tenant": world.id("acme") }).to_string();
    let (code, _) = daemon.request("POST", "/api/v1/snapshots", &[], &body).await;
    assert_eq!(code, 202);
    let named = "select count(*) from offtake.job where kind = 'snapshot' and reason like '%the row (1977)%'";
    world.source.wait_text(named, "1").await;
    // The daemon logs a failure after it has recorded it.
    let failures = until("both failures are logged", PATIENCE, async || {
        let mut failures = daemon.log();
        failures.retain(|line| {
            ["export_failed", "snapshot_failed", "snapshot_paused"].contains(&&*line.event)
        });
        if failures.len() > 1 { Ok(failures) } else { Err(format!("{failures:?}")) }
    })
    .await;
    for line in failures {
        let mut line: Value = serde_json::from_str(&line.text).unwrap();
        line.as_object_mut().unwrap().remove("timestamp");
        let line = line.to_string();
        assert!(line.contains("items") && !line.contains("1977"), "{line}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_writes_an_export_that_is_fetched_and_verified() {
    let world = world().await;
    let daemon = world.daemon().await;
    let told = create(&world, &["--wait"]).await;
    let id = told["id"].as_str().unwrap();
    assert_eq!((&told["state"], &told["consistency"]), (&"completed".into(), &"snapshot".into()));
    assert!(told["expires_at"].is_string(), "{told}");
    world.succeed(&["export", "verify", id]).await;

    let to = folder(&world, "fetched");
    let download = ["export", "download", id, "--to", to.to_str().unwrap(), "--json"];
    world.succeed(&download).await;
    assert_whole(&world, "fetched");
    world.succeed(&["export", "verify", "--in", to.to_str().unwrap()]).await;
    // One that was interrupted goes on where it was, and what is there is kept.
    let file = to.join("items.csv.gz");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::write(to.join("items.csv.gz.part"), &bytes[..bytes.len() / 2]).unwrap();
    let told: Value = serde_json::from_str(&world.succeed(&download).await).unwrap();
    assert_eq!(told["fetched"], bytes.len() - bytes.len() / 2, "{told}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let told: Value = serde_json::from_str(&world.succeed(&download).await).unwrap();
    assert_eq!(told["fetched"], 0, "{told}");
    // A beginning that is another file's is found out, and the next attempt fetches all of it.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(to.join("items.csv.gz.part"), "another file").unwrap();
    assert!(!world.offtake(&download).await.status.success());
    world.succeed(&download).await;
    assert_eq!(std::fs::read(&file).unwrap(), bytes);

    // Only one file, and so no manifest, which would promise the others.
    let one = folder(&world, "one");
    let download = ["export", "download", id, "--to", one.to_str().unwrap(), "--file"];
    world.succeed(&[&download[..], &["items.csv.gz"]].concat()).await;
    let entries: Vec<_> = std::fs::read_dir(&one).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(entries, [one.join("items.csv.gz")]);
    assert_eq!(std::fs::read(&entries[0]).unwrap(), bytes);
    let unknown = world.offtake(&[&download[..], &["itemz.csv.gz"]].concat()).await;
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("did you mean items.csv.gz?"));

    std::fs::write(&parts_of(&world, id)[0], "changed").unwrap();
    assert_eq!(world.offtake(&["export", "verify", id]).await.status.code(), Some(3));
    world.succeed(&["export", "delete", id, "--yes"]).await;
    assert!(!world.folder().join("files").join(id).exists());
    daemon.stop().await;
}

/// Two daemons; the first is killed in the middle, or frozen beyond its lease.
#[tokio::test]
async fn another_daemon_goes_on_with_what_the_first_one_began() {
    for freeze in [false, true] {
        let world = world().await;
        let points = [("export.before_put", "7*off->pause"), ("export.after_read", "pause")];
        let mut first = world.spawn_daemon_with_failpoints(&points);
        first.wait_ready().await;
        let told = create(&world, &[]).await;
        let id = told["id"].as_str().unwrap();
        // A daemon has it, also while the first part is read.
        first.wait_at_failpoint("export.after_read", 1).await;
        assert_eq!(status(&world, id).await["state"], "processing");
        first.set_failpoint("export.after_read", "sleep(0)").await;
        wait_parts(&world, "7").await;
        // While two parts are being stored, the one behind them is read, and no other one.
        first.wait_at_failpoint("export.after_read", 10).await;
        assert_eq!(status(&world, id).await["state"], "processing");
        assert_eq!(first.failpoint_count("export.after_read"), 10);
        if freeze {
            first.freeze();
        } else {
            first.kill();
        }
        end_lease(&world).await;
        let second = world.daemon().await;
        let told = wait_state(&world, id, "completed").await;
        assert_eq!(told["progress"]["rows_done"], ROWS, "{told}");
        if freeze {
            first.thaw();
            first.clear_failpoints().await;
            first.terminate();
            first.wait_exit(PATIENCE).await;
        }
        let to = folder(&world, "fetched");
        world.succeed(&["export", "download", id, "--to", to.to_str().unwrap()]).await;
        assert_whole(&world, "fetched");
        second.stop().await;
    }
}

/// A daemon that works on an export has stopped just before it writes a part, and its lease has run
/// out. Nothing else works on the export.
async fn late_worker(world: &World) -> (Daemon, String) {
    let mut daemon = world.spawn_daemon_with_failpoints(&[("export.before_put", "7*off->pause")]);
    daemon.wait_ready().await;
    let told = create(world, &[]).await;
    wait_parts(world, "7").await;
    daemon.wait_at_failpoint("export.before_put", 1).await;
    end_lease(world).await;
    (daemon, told["id"].as_str().unwrap().to_owned())
}

/// Lets a late worker go on, and waits until it has found out that it is late.
pub(crate) async fn go_on(daemon: &Daemon) {
    daemon.clear_failpoints().await;
    until("the late worker stops", PATIENCE, async || {
        let log = daemon.log_text();
        if log.contains("export_lost") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_late_changes_nothing_of_a_cancelled_or_deleted_export() {
    let mut world = world().await;
    let (daemon, id) = late_worker(&world).await;
    world.succeed(&["export", "cancel", &id]).await;
    go_on(&daemon).await;
    let told = status(&world, &id).await;
    assert_eq!((&told["state"], &told["reason"]), (&"cancelled".into(), &Value::Null), "{told}");
    wait_parts(&world, "7").await;
    // No process ended it, and its files are deleted in time all the same.
    assert!(told["expires_at"].is_string(), "{told}");
    daemon.stop().await;

    world.source.execute("delete from offtake.job").await;
    world.configure(|c| c["exports"]["work"] = "1ms".into());
    let (daemon, id) = late_worker(&world).await;
    // The last part of a snapshot is stored when the snapshot has ended.
    let held = "select count(*) from pg_stat_activity
                 where datname = current_database() and state like 'idle in transaction%'";
    world.source.wait_text(held, "0").await;
    world.succeed(&["export", "delete", &id, "--yes"]).await;
    go_on(&daemon).await;
    let folder = world.folder().join("files").join(&id);
    assert!(!folder.exists(), "a part was written into what was deleted");
    daemon.stop().await;
}

/// It was frozen when all that was missing was the manifest, and what it knows of the parts is old.
#[tokio::test]
async fn a_worker_that_is_late_at_the_end_leaves_the_export_of_its_successor_whole() {
    let world = world().await;
    let mut first = world.spawn_daemon_with_failpoints(&[("export.before_manifest", "pause")]);
    first.wait_ready().await;
    let told = create(&world, &[]).await;
    let id = told["id"].as_str().unwrap();
    first.wait_at_failpoint("export.before_manifest", 1).await;
    world.source.execute("update item set name = 'newer' where id <= 10").await;
    end_lease(&world).await;
    let second = world.daemon().await;
    wait_state(&world, id, "completed").await;
    go_on(&first).await;
    world.succeed(&["export", "verify", id]).await;
    let to = folder(&world, "fetched");
    world.succeed(&["export", "download", id, "--to", to.to_str().unwrap()]).await;
    assert_whole(&world, "fetched");
    assert!(unzipped(&to.join("items.csv.gz")).contains("newer"));
    for (path, mode) in [(to.clone(), 0o700), (to.join("manifest.json"), 0o600)] {
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
    first.stop().await;
    second.stop().await;
}

/// A store that failed in the middle of `export delete`, or a command that died there.
#[tokio::test]
async fn an_export_whose_deletion_was_interrupted_is_deleted_by_a_daemon() {
    let world = world().await;
    let (mut daemon, id) = late_worker(&world).await;
    daemon.kill();
    let folder = world.folder().join("files").join(&id);
    // A file where the folder was cannot be deleted as one.
    let aside = world.folder().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "").unwrap();
    let failed = world.offtake(&["export", "delete", &id, "--yes"]).await;
    assert!(!failed.status.success());
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    let resumed = world.offtake(&["export", "resume", &id]).await;
    let complained = String::from_utf8(resumed.stderr).unwrap();
    assert!(complained.contains("are being deleted"), "{complained}");
    let daemon = world.daemon().await;
    wait_state(&world, &id, "expired").await;
    assert!(!folder.exists());
    daemon.stop().await;
}

/// A daemon dies and leaves objects that are not recorded, and the daemon that completes the export
/// dies while it deletes those.
#[tokio::test]
async fn a_daemon_that_dies_among_needless_objects_leaves_the_export_whole() {
    let world = world().await;
    let mut first = world.spawn_daemon_with_failpoints(&[("export.after_put", "8*off->pause")]);
    first.wait_ready().await;
    let told = create(&world, &[]).await;
    let id = told["id"].as_str().unwrap();
    first.wait_at_failpoint("export.after_put", 2).await;
    wait_parts(&world, "8").await;
    first.kill();
    end_lease(&world).await;
    let mut second = world.spawn_daemon_with_failpoints(&[("export.tidying", "1*off->abort")]);
    second.wait_exit(PATIENCE).await;
    assert_eq!(status(&world, id).await["state"], "completed");
    let needless = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        ["items.000008.0.a1r0", "items.000009.0.a1r0"].contains(&name)
    };
    let parts = parts_of(&world, id);
    assert_eq!(parts.iter().filter(|path| needless(path)).count(), 1, "{parts:?}");
    world.succeed(&["export", "verify", id]).await;
    let to = folder(&world, "fetched");
    world.succeed(&["export", "download", id, "--to", to.to_str().unwrap()]).await;
    assert_whole(&world, "fetched");
    world.succeed(&["export", "delete", id, "--yes"]).await;
    assert!(!world.folder().join("files").join(id).exists());
}

#[tokio::test]
async fn a_fuse_and_a_cancel_stop_an_export_and_it_goes_on_afterwards() {
    let world = world().await;
    let mut daemon = world.spawn_daemon_with_failpoints(&[("export.before_chunk", "5*off->pause")]);
    daemon.wait_ready().await;
    let told = create(&world, &[]).await;
    let id = told["id"].as_str().unwrap().to_owned();
    wait_parts(&world, "5").await;
    // One of a tenant at a time.
    let more = ["export", "create", "--tenant", world.id("acme"), "--format", "csv"];
    let output = world.offtake(&more).await;
    let complained = String::from_utf8(output.stderr).unwrap();
    assert!(complained.contains(&format!("an export that goes on: {id}")), "{complained}");

    world.succeed(&["fuse", "off", "exports", "--reason", "the disk is moved"]).await;
    let told = wait_state(&world, &id, "paused").await;
    assert_eq!(told["reason"], "the fuse exports is off: the disk is moved", "{told}");
    daemon.clear_failpoints().await;
    world.succeed(&["export", "cancel", &id]).await;
    wait_state(&world, &id, "cancelled").await;
    world.succeed(&["fuse", "on", "exports"]).await;
    // Parts stay for a while, and the tenant may have another export.
    assert!(!parts_of(&world, &id).is_empty());
    world.succeed(&["export", "resume", &id]).await;
    wait_state(&world, &id, "completed").await;
    world.succeed(&["export", "verify", &id]).await;
    daemon.stop().await;
}

/// More exports than one look finds, whose files a store was to delete long ago and cannot. Returns
/// the oldest one.
async fn many_in_a_broken_store(world: &mut World) -> String {
    world.configure(|c| {
        c["stores"]["broken"] = json!({ "kind": "disk", "path": "broken" });
    });
    let many = "insert into offtake.job (public_id, kind, tenant_id, store, state, expires_at)
                select to_char(timestamp '2026-11-28' + n * interval '1 second',
                               '\"exp_\"YYYYMMDD-HH24MISS\"_k7f3a2\"'),
                       'export', 'another', 'broken', 'completed', now() - interval '1 day' / n
                  from generate_series(1, 150) n";
    world.source.execute(many).await;
    let oldest = "exp_20261128-000001_k7f3a2";
    // A file where the folder was cannot be deleted as one.
    let broken = world.folder().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join(oldest), "").unwrap();
    oldest.to_owned()
}

#[tokio::test]
async fn files_are_deleted_when_they_are_kept_no_longer_and_the_queue_has_an_end() {
    let mut world = world().await;
    // A command that was killed ends no export, and is asked to within its lease.
    let to = folder(&world, "killed");
    let create_to = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let create_to = [&create_to[..], &[to.to_str().unwrap()]].concat();
    let killed = world.start(("FAILPOINTS", "export.before_chunk=abort"), &create_to).wait().await;
    assert!(!killed.unwrap().success());
    let killed = world.source.query_text("select public_id from offtake.job").await;
    let told = world.succeed(&["export", "cancel", &killed]).await;
    assert!(told.contains("is asked to end"), "{told}");
    end_lease(&world).await;
    let daemon = world.daemon().await;
    wait_state(&world, &killed, "cancelled").await;

    let told = create(&world, &["--wait"]).await;
    let id = told["id"].as_str().unwrap().to_owned();
    let other = ["export", "create", "--tenant", world.id("globex"), "--format", "csv"];
    world.succeed(&[&other[..], &["--wait"]].concat()).await;
    let other = format!(
        "select public_id from offtake.job where state = 'completed' and public_id <> '{id}'"
    );
    let other = world.source.query_text(&other).await;
    daemon.stop().await;
    let told = create(&world, &[]).await;
    let running = told["id"].as_str().unwrap();
    let over = "update offtake.job set expires_at = now() - interval '1 minute' / job_id
                 where state = 'completed'";
    world.source.execute(over).await;
    let broken = many_in_a_broken_store(&mut world).await;
    // Of the broken store a hundred are tried, and then one of the other.
    let points = [("jobs.expiring", "101*off->pause"), ("export.before_put", "pause")];
    let mut daemon = world.spawn_daemon_with_failpoints(&points);
    daemon.allow("store_failed");
    daemon.wait_ready().await;
    wait_state(&world, &id, "expired").await;
    assert!(!world.folder().join("files").join(&id).exists());
    assert_eq!(status(&world, &broken).await["state"], "completed");
    let others = "select count(*) from offtake.job where store = 'broken' and state = 'expired'";
    assert_eq!(world.source.query_text(others).await, "99");

    // The files of the other one are there, and are not fetched any more: they may go at any moment.
    daemon.wait_at_failpoint("jobs.expiring", 1).await;
    daemon.wait_at_failpoint("export.before_put", 1).await;
    let there = world.folder().join("files").join(&other);
    let file = format!("/api/v1/exports/{other}/files/items.csv.gz");
    assert_eq!(daemon.request("GET", &file, &[], "").await.0, 410);
    let to = folder(&world, "fetched");
    let gone = world.offtake(&["export", "download", &other, "--to", to.to_str().unwrap()]).await;
    assert!(String::from_utf8(gone.stderr).unwrap().contains("are being deleted"));
    // The fuse stops their deletion too, until it is on again.
    world.succeed(&["fuse", "off", "exports", "--reason", "the disk is moved"]).await;
    wait_state(&world, running, "paused").await;
    daemon.clear_failpoints().await;
    let ticks = "offtake_loop_last_tick_timestamp_seconds{loop=\"exports\"}";
    for _ in 0..3 {
        let before = daemon.metric(ticks).await;
        until("the loop has completed a round", PATIENCE, async || {
            if daemon.metric(ticks).await > before { Ok(()) } else { Err(String::new()) }
        })
        .await;
    }
    assert_eq!(status(&world, &other).await["state"], "completed");
    assert!(there.exists());
    world.succeed(&["fuse", "on", "exports"]).await;
    wait_state(&world, &other, "expired").await;
    assert!(!there.exists());
    wait_state(&world, running, "completed").await;
    daemon.stop().await;
    let to = folder(&world, "fetched");
    let gone = world.offtake(&["export", "download", &id, "--to", to.to_str().unwrap()]).await;
    assert!(String::from_utf8(gone.stderr).unwrap().contains("is expired"));

    world.configure(|c| c["exports"]["queue"] = 1.into());
    create(&world, &[]).await;
    let more = ["export", "create", "--tenant", world.id("globex"), "--format", "csv"];
    let refused = world.offtake(&more).await;
    let complained = String::from_utf8(refused.stderr).unwrap();
    assert!(complained.contains("1 exports wait for a daemon already"), "{complained}");
}
