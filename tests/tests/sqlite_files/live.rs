//! The whole way: the real binary, a real file, and readers of their own.

use std::process::Command;

use offtake_tests::{World, oracle};

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
    // The last connection has left one plain file.
    for beside in ["db-wal", "db-shm"] {
        assert!(!file.path().with_extension(beside).exists(), "{beside}");
    }
}
