//! The whole way: the real binary, a real file, and readers of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use offtake_tests::{PATIENCE, SqliteFile, World, oracle, until};
use serde_json::json;

/// Rows arrive by the first copy, change and leave, and `verify` finds one value that the tenant has
/// changed. Another SQLite reads the file.
#[tokio::test]
async fn a_file_is_made_and_kept_equal_and_verify_finds_one_changed_value() {
    let world = World::with_tenants(["acme", "globex"]).in_files().await;
    world.fill(50).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world
        .source
        .execute(
            "update project_user set display_name = display_name || '!'; \
             delete from team where ctid in (select ctid from team limit 2)",
        )
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.succeed(&["verify"]).await;
    let state = world
        .source
        .query_text("select distinct kind, state, host, port, schema_name from offtake.destination")
        .await;
    assert_eq!(state, "sqlite|in_sync||0|main");

    let file = world.tenant("acme").file();
    let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let read = "import sqlite3, sys\n\
                db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)\n\
                print(db.execute('select count(*) from users').fetchone()[0])";
    let python = Command::new("python3").args(["-c", read]).arg(file.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let users = String::from_utf8_lossy(&python.stdout).trim().to_owned();
    assert_eq!(users, file.query_text("select count(*) from users"));
    assert_ne!(users, "0");

    file.execute(
        "update users set display_name = 'changed here' where id = (select min(id) from users)",
    );
    let output = world.offtake(&["verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("\"different\":1") || told.contains("\"different\": 1"), "{told}");
    daemon.stop().await;
    assert_plain(file);
}

/// The last connection has left one plain file.
fn assert_plain(file: &SqliteFile) {
    for beside in ["db-wal", "db-shm"] {
        assert!(!file.path().with_extension(beside).exists(), "{beside}");
    }
}

/// The daemon ends once its files are closed, however long that takes: a program that copies the
/// file, or opens it as immutable, finds the last changes in it.
#[tokio::test]
async fn a_daemon_that_stops_leaves_one_plain_file() {
    let world = World::with_tenants(["acme"]).in_files().await;
    world.fill(3000).await;
    for _ in 0..4 {
        let daemon = world.daemon().await;
        world.wait_in_step().await;
        let change = "update project_user set display_name = display_name || '.'";
        world.source.execute(change).await;
        world.wait_in_step().await;
        daemon.stop().await;
        assert_plain(world.tenant("acme").file());
    }
    // So does a command.
    world.succeed(&["verify"]).await;
    assert_plain(world.tenant("acme").file());
}

/// The audit finds a row that the tenant has changed in its file, has it copied again, and tells the
/// tenant, in the file, since when its copy is proved equal.
#[tokio::test]
async fn the_audit_mends_a_row_of_a_file_and_tells_it_there() {
    let audit = json!({ "period": "1s", "budget": "100%", "repair": true });
    let world = crate::filled(crate::plan().setting("/audit", audit)).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    let verified = "select count(*) from _offtake_state where verified_at is not null";
    let wait_verified = async || {
        until("every copy is told to be equal", PATIENCE, async || {
            let found = file.try_query_text(verified)?;
            if found == "2" { Ok(()) } else { Err(found) }
        })
        .await;
    };
    wait_verified().await;
    let read = "select datetime(min(verified_at)) is not null from _offtake_state";
    assert_eq!(file.query_text(read), "1");
    file.execute("update items set name = 'by hand' where id = 7; delete from items where id = 8");
    until("both rows are back", PATIENCE, async || {
        let found =
            file.try_query_text("select group_concat(name) from items where id in (7, 8)")?;
        if found == "name 7,name 8" { Ok(()) } else { Err(found) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// `check --connect` says what a copy would run into, and that a file's tables fit; `preview
/// --changed` compares a changed mapping with the file.
#[tokio::test]
async fn check_and_preview_look_into_a_file() {
    let world = crate::world().await;
    let told = world.succeed(&["check", "--connect"]).await;
    assert!(!world.tenant("acme").file().path().exists(), "it was made: {told}");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let told = world.succeed(&["check", "--connect", "--verbose"]).await;
    assert!(!told.contains("differs") && !told.contains(" is TEXT there"), "{told}");
    // A daemon would take the changed mapping over within a second.
    daemon.stop().await;
    let other = crate::ITEMS.replace("i.name from", "upper(i.name) as name from");
    world.write_mapping("items", &other);
    let told = world.succeed(&["preview", "--changed"]).await;
    assert!(told.contains("300"), "{told}");
}
