//! What can happen to a file while a daemon has it open.

use std::path::Path;

use offtake_tests::printed::between;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

use crate::{filled, plan, touch, world, write};

/// Changes acme's rows, and waits until the file at the destination's path has them.
async fn assert_arrives(world: &World, what: &str) {
    write(world, &format!("update item set name = '{what}' where {{acme}}")).await;
    let file = world.tenant("acme").file();
    until(&format!("the rows are there: {what}"), PATIENCE, async || {
        let found =
            file.try_query_text(&format!("select count(*) from items where name = '{what}'"))?;
        if found == "300" { Ok(()) } else { Err(found) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal_after(world, what).await;
}

/// SQLite goes on to write into a file that was moved away, and reports success. The rows must be in
/// the file at the path, whatever happened to it; also an older copy beside the `-wal` of the one
/// before, which shows the rows of that.
#[tokio::test]
async fn a_file_that_is_moved_deleted_or_replaced_is_left_and_the_one_there_is_filled() {
    let world = world().await;
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let path = world.tenant("acme").file().path().to_owned();
    let beside = |ending: &str| path.with_extension(ending);
    let backup = beside("backup");
    let keep = format!("vacuum into '{}'", backup.display());
    world.tenant("acme").file().execute(&keep);

    std::fs::rename(&path, beside("moved")).unwrap();
    assert_arrives(&world, "moved").await;
    // Its write-ahead log went on to belong to the other file.
    for ending in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(beside(ending));
    }
    assert_arrives(&world, "deleted").await;
    std::fs::copy(&backup, beside("new")).unwrap();
    std::fs::rename(beside("new"), &path).unwrap();
    assert_arrives(&world, "replaced beside a write-ahead log").await;
    // An older copy of itself, in place: its cursor is behind what the source was told.
    daemon.stop().await;
    std::fs::copy(&backup, &path).unwrap();
    let daemon = world.daemon().await;
    assert_arrives(&world, "restored").await;
    daemon.stop().await;
}

/// A tenant's program holds the write lock. The destination waits; the other one does not. A reader
/// that keeps a snapshot is in nobody's way.
#[tokio::test]
async fn a_file_that_a_tenant_has_locked_is_waited_for_and_delays_only_itself() {
    let world = world().await;
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let reader = world.tenant("globex").file().connect();
    reader.execute_batch("begin; select count(*) from items").unwrap();
    let writer = world.tenant("acme").file().connect();
    writer.execute_batch("begin immediate").unwrap();
    world.source.execute("update item set name = 'while it is locked'").await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    oracle::assert_tenants_equal(&world, &["globex"]).await;
    until("acme's failure is told", PATIENCE, async || {
        let told = world.told(&daemon, "acme").await;
        let error = told["last_error"].as_str().unwrap_or_default();
        if error.contains("database is locked") { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    writer.execute_batch("rollback").unwrap();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let names = "select count(distinct name) from items";
    let seen: i64 = reader.query_row(names, [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 300, "the reader's snapshot is as it was");
    daemon.stop().await;
}

/// The length of all write-ahead logs, as the daemon's metric has it.
async fn log_bytes(daemon: &Daemon) -> u64 {
    let (_, metrics) = daemon.get("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("offtake_sqlite_wal_bytes "));
    line.expect("the metric").parse::<f64>().unwrap() as u64
}

/// A reader that keeps a snapshot keeps the write-ahead log from being used again. Beyond the bound
/// the destination is degraded and says why; everything still arrives, and when the reader has
/// ended, the log is emptied with the next change.
#[tokio::test]
async fn a_reader_that_makes_the_log_grow_is_told_until_it_ends() {
    const BOUND: u64 = 256 << 10;
    let plan = plan().setting("/sync/file_log_bytes", "256KiB");
    let world = filled(plan).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let reader = world.tenant("acme").file().connect();
    reader.execute_batch("begin; select count(*) from items").unwrap();
    for round in 0..8 {
        write(&world, &format!("update item set name = repeat('{round}', 200)")).await;
        world.wait_in_step().await;
    }
    let says = ["keeps a transaction open", "run: fuser -v", "acme.db"];
    world.wait_told(&daemon, "acme", "degraded", &says).await;
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    assert!(log_bytes(&daemon).await > BOUND);
    let (code, listed) = daemon.get("/api/v1/destinations?state=degraded").await;
    assert_eq!((code, listed.matches("\"tenant\"").count()), (200, 1), "{listed}");
    let why = world.offtake(&["why", "--tenant", world.id("acme")]).await;
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("keeps a transaction open"), "{why}");
    oracle::assert_equal(&world).await;
    let names: i64 =
        reader.query_row("select count(distinct name) from items", [], |row| row.get(0)).unwrap();
    assert_eq!(names, 300, "the reader's snapshot is as it was");

    reader.execute_batch("rollback").unwrap();
    touch(&world).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    assert!(log_bytes(&daemon).await <= BOUND);
    daemon.stop().await;
}

/// A damaged file, or one that is no database, is neither deleted nor made anew: the operator moves
/// it away.
#[tokio::test]
async fn a_damaged_file_is_told_and_kept_and_one_that_is_moved_away_is_made_anew() {
    let world = world().await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let path = world.tenant("acme").file().path().to_owned();
    let garbage = vec![0x5a_u8; std::fs::metadata(&path).unwrap().len() as usize];
    std::fs::write(&path, &garbage).unwrap();
    let daemon = world.daemon().await;
    touch(&world).await;
    world.wait_told(&daemon, "acme", "blocked", &["not a database"]).await;
    assert!(std::fs::read(&path).unwrap() == garbage, "it is as it was");
    std::fs::rename(&path, path.with_extension("damaged")).unwrap();
    touch(&world).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    daemon.stop().await;
}

/// `resync --recreate` moves a damaged file aside, with what is beside it, and a new one is filled.
/// A sound file is not moved, and neither is anything of a Postgres destination.
#[tokio::test]
async fn a_damaged_file_is_moved_aside_by_a_command_and_made_anew() {
    let mut world = filled(plan()).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = world.id("acme").to_owned();
    let recreate = ["resync", "--tenant", &acme, "--recreate", "--yes"];
    let output = world.offtake(&recreate).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && told.contains("finds no damage"), "{told}");
    let again = between(&told, "run: offtake ", "\n").to_owned();
    world.succeed(&again.split(' ').collect::<Vec<_>>()).await;
    world.wait_in_step().await;
    daemon.stop().await;

    // Pages in the middle are garbage: SQLite opens the file and finds it out.
    let path = world.tenant("acme").file().path().to_owned();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    let daemon = world.daemon().await;
    touch(&world).await;
    let says = ["the file is damaged", "offtake resync --recreate"];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    let told = world.succeed(&recreate).await;
    let aside = between(&told, " to ", "; a daemon").to_owned();
    assert!(aside.starts_with(&format!("{}.corrupt-2", path.display())), "{told}");
    assert!(std::fs::read(&aside).unwrap() == bytes, "it is as it was");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    daemon.stop().await;

    let url = world.tenant("acme").destination.url();
    world.reach_by("acme", |_| url.clone());
    let output = world.offtake(&recreate).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && told.contains("a SQLite file can be"), "{told}");
}

/// `POST …/recreate` does what the command does, inside a daemon that has the file open: it refuses
/// a sound file, moves a damaged one aside, and has a new one filled for both tenants in it.
#[tokio::test]
async fn a_damaged_file_is_moved_aside_over_http() {
    let mut world = filled(plan()).await;
    world.allow("*");
    let shared = world.tenant("acme").file().url();
    world.configure(|configuration| {
        let all = configuration["destinations"]["static"].as_array_mut().expect("a list");
        all.iter_mut().for_each(|destination| {
            destination["url"] = shared.clone().into();
            destination["shared"] = true.into();
        });
    });
    let daemon = world.daemon().await;
    let file = world.tenant("acme").file().clone();
    let rows = "select count(*) from items";
    let filled = async || {
        until("both tenants' rows are there", PATIENCE, async || {
            let found = file.try_query_text(rows)?;
            if found == "600" { Ok(()) } else { Err(found) }
        })
        .await;
    };
    filled().await;
    let route = format!("/api/v1/destinations/{}/main/recreate", world.id("acme"));
    let recreate = async |daemon: &Daemon| daemon.request("POST", &route, &[], "").await;
    let (code, told) = recreate(&daemon).await;
    assert!(code == 409 && told.contains("finds no damage"), "{code} {told}");
    daemon.stop().await;

    let mut bytes = std::fs::read(file.path()).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(file.path(), &bytes).unwrap();
    let daemon = world.daemon().await;
    touch(&world).await;
    world.wait_told(&daemon, "acme", "blocked", &["the file is damaged"]).await;
    let (code, told) = recreate(&daemon).await;
    assert_eq!(code, 202, "{told}");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let aside = told["moved_to"].as_str().unwrap();
    assert!(aside.starts_with(&format!("{}.corrupt-2", file.path().display())), "{told}");
    assert!(Path::new(aside).exists() && told["damage"].is_string(), "{told}");
    filled().await;
    for tenant in ["acme", "globex"] {
        world.wait_told(&daemon, tenant, "in_sync", &[]).await;
    }
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

/// Without `security.allow_files` a file is refused with what to write; and a path that leads out of
/// the folder by a link is refused too.
#[tokio::test]
async fn a_file_is_allowed_by_what_the_refusal_says() {
    let mut world = filled(plan()).await;
    world.allow("*");
    world.configure(|all| {
        all["security"].as_object_mut().unwrap().remove("allow_files");
    });
    let output = world.offtake(&["status"]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    let folder = between(&told, "allow_files: [", "]").to_owned();
    assert_eq!(Path::new(&folder), world.folder().join("copies"));
    let allowed = serde_json::json!([folder]);
    world.configure(|all| all["security"]["allow_files"] = allowed);
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;

    let elsewhere = world.folder().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, world.folder().join("copies/link")).unwrap();
    let through = format!("sqlite://{}/link/acme.db", folder);
    world.reach_by("acme", |_| through.clone());
    let daemon = world.daemon().await;
    touch(&world).await;
    world.wait_told(&daemon, "acme", "blocked", &["is a link"]).await;
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    daemon.stop().await;
}

/// Two tenants share one file, each with its own rows and cursors; one that leaves takes its own
/// rows along.
#[tokio::test]
async fn a_tenant_that_leaves_a_file_is_purged_from_it() {
    let mut world = filled(plan()).await;
    let shared = world.tenant("acme").file().clone();
    let url = shared.url();
    world.configure(|all| {
        for destination in all["destinations"]["static"].as_array_mut().unwrap() {
            destination["url"] = url.clone().into();
            destination["shared"] = true.into();
        }
    });
    let daemon = world.daemon().await;
    let (acme, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    let counted = |tenant: &str| {
        shared.try_query_text(&format!("select count(*) from items where tenant_id = '{tenant}'"))
    };
    until("both are there", PATIENCE, async || match (counted(&acme)?, counted(&globex)?) {
        (one, other) if (one.as_str(), other.as_str()) == ("300", "300") => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
    world.configure(|all| {
        let static_ = all["destinations"]["static"].as_array_mut().unwrap();
        static_.retain(|destination| destination["tenant"] != acme.as_str());
    });
    let daemon = world.daemon().await;
    until("acme is not named any more", PATIENCE, async || {
        let active = "select count(*) from offtake.destination where active";
        match world.source.try_query_text(active).await?.as_str() {
            "1" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    world.succeed(&["forget", "--tenant", &acme, "--purge", "--yes"]).await;
    assert_eq!((counted(&acme).unwrap(), counted(&globex).unwrap()), ("0".into(), "300".into()));
    let cursors = format!("select count(*) from _offtake_state where tenant_id = '{acme}'");
    assert_eq!(shared.query_text(&cursors), "0");
    daemon.stop().await;
}
