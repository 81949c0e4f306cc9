//! Programs of tenants that read the file.

use std::path::{Path, PathBuf};
use std::process::Command;

use offtake_tests::{PATIENCE, until};

use crate::{filled, plan, write};

/// SQLite 3.31.1, of January 2020. None, with the remedy, where it was not built.
fn old_sqlite() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("old_sqlite/target/debug/old-sqlite");
    if !program.is_file() {
        eprintln!("skipped: SQLite 3.31 was not built\n  remedy: scripts/ensure-tools");
        return None;
    }
    Some(program)
}

/// What the documents promise: that SQLite reads the file, while a daemon writes to it and has a
/// `-wal` beside it, and afterwards as one plain file. What it reads is what the newest one reads.
#[tokio::test]
async fn the_oldest_sqlite_that_is_promised_reads_the_file() {
    let Some(program) = old_sqlite() else { return };
    let world = filled(plan()).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    let read = |sql: &str| {
        let output = Command::new(&program).arg(file.path()).arg(sql).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        let (version, rows) = told.split_once('\n').unwrap_or_default();
        assert!(output.status.success(), "{sql}: {complained}");
        assert_eq!(version, "3.31.1");
        rows.trim_end().to_owned()
    };
    let all = [
        "select * from items order by id",
        "select * from others order by id",
        "select mapping, sequence_id, backfilled, epoch, updated_at from _offtake_state order by 1",
        "select type, name, tbl_name, sql from sqlite_master order by 1, 2",
    ];
    let same = || {
        assert_eq!(read("pragma integrity_check"), "ok");
        for sql in all {
            assert_eq!(read(sql), file.query_text(sql), "{sql}");
        }
    };
    let wal = PathBuf::from(format!("{}-wal", file.path().display()));
    assert!(wal.exists(), "the daemon has it open");
    same();
    write(
        &world,
        "update item set name = 'Zoë 🦀 ' || id where id % 2 = 0; delete from item where id = 7",
    )
    .await;
    until("the old program sees the change", PATIENCE, async || {
        let found = read("select count(*) from items where name like 'Zoë 🦀 %'");
        if found == "150" { Ok(()) } else { Err(found) }
    })
    .await;
    world.wait_in_step().await;
    same();
    daemon.stop().await;
    assert!(!wal.exists(), "one plain file is left");
    same();
}
