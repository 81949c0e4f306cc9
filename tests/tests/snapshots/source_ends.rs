//! How a restore into the source ends that is killed, waits for a lock, or loses its connection.

use offtake_tests::{PATIENCE, beside, until};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::source::{as_role, deletion, world};

/// A process that dies at any step leaves the source as it was before or as it is after.
#[tokio::test]
async fn a_restore_into_the_source_killed_at_any_step_is_before_or_after() {
    let mut snapshots = world(&["acme", "globex"]).await;
    let acme = snapshots.world.id("acme").to_owned();
    let id = snapshots.make_of_source("acme").await;
    let (whole, others) = (snapshots.rows_of("acme").await, snapshots.rows_of("globex").await);
    let points: Vec<&str> = offtake_loops::FAILPOINTS
        .into_iter()
        .filter(|p| p.starts_with("source_restore."))
        .collect();
    assert_eq!(points.len(), 5);
    for point in points {
        snapshots.world.source.execute(&deletion(&acme)).await;
        let before = snapshots.rows_of("acme").await;
        assert_ne!(before, whole);
        snapshots.world.set_variable("FAILPOINTS", &format!("{point}=abort"));
        let killed = snapshots.bring_back(&id, &["--yes"]).await;
        assert_eq!(killed.code, -1, "{point}: {killed:?}");
        snapshots.world.set_variable("FAILPOINTS", "");
        let left = "select count(*) from pg_stat_activity where application_name = 'offtake snapshot restore' \
                    and datname = current_database()";
        snapshots.world.source.wait_text(left, "0").await;
        let expected = if point == "source_restore.after_commit" { &whole } else { &before };
        assert_eq!(snapshots.rows_of("acme").await, *expected, "{point}");
        snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &[]);
        assert_eq!(snapshots.rows_of("acme").await, whole);
        assert_eq!(snapshots.rows_of("globex").await, others);
    }
}

/// Whose lock it is, is told; nothing of the application waits for long.
#[tokio::test]
async fn a_session_that_holds_a_lock_is_told_and_waited_for() {
    let mut snapshots = world(&["acme"]).await;
    let source = &snapshots.world.source;
    let id = snapshots.make_of_source("acme").await;
    source.execute("update customer set name = 'other' where id = 5").await;
    let holder = source.connect().await;
    holder.batch_execute("set application_name = 'the holder'; begin; select from customer where id = 5 for update").await.unwrap();
    let overwrite = ["--mode", "overwrite", "--yes"];
    let failed = snapshots.bring_back(&id, &overwrite).await;
    failed.assert_says(
        1,
        &["a lock was not given", "it waited for pid", "the holder", "nothing was changed"],
    );
    let mut held = true;
    let done = beside(snapshots.bring_back(&id, &overwrite), async || {
        let waits = "select count(*) from pg_stat_activity where application_name = 'offtake snapshot restore' \
                     and wait_event_type = 'Lock' and datname = current_database()";
        if source.query_text(waits).await == "1" && held {
            holder.batch_execute("rollback").await.unwrap();
            held = false;
        }
    })
    .await;
    assert!(!held, "it was not seen waiting");
    done.assert_says(0, &["restored 1 rows"]);
    // What somebody else changes after it was shown is not what was agreed: another row is gone, or a
    // row that would be changed has another value, which no snapshot has.
    for (before, meanwhile, rows) in [
        ("delete from visit where id < 3", "delete from visit where id = 3", 3),
        (
            "update customer set name = 'other' where id = 5",
            "update customer set name = 'newer' where id = 5",
            1,
        ),
    ] {
        let points = snapshots.world.folder().join(format!("points-{rows}.txt"));
        std::fs::write(&points, "source_restore.planned=pause\n").unwrap();
        snapshots.world.set_variable("OFFTAKE_FAILPOINTS_FILE", points.to_str().unwrap());
        let source = &snapshots.world.source;
        source.execute(before).await;
        let changed_meanwhile = async {
            let reached = points.with_extension("reached");
            until("it knows what it would do", PATIENCE, async || {
                if reached.exists() { Ok(()) } else { Err("not yet".to_owned()) }
            })
            .await;
            source.execute(meanwhile).await;
            std::fs::write(&points, "").unwrap();
        };
        let (changed, ()) = tokio::join!(snapshots.bring_back(&id, &overwrite), changed_meanwhile);
        changed.assert_says(1, &["the source has changed", "nothing was changed", "--dry-run"]);
        let again = snapshots.bring_back(&id, &overwrite).await;
        again.assert_says(0, &[&format!("restored {rows} rows")]);
    }
}

/// The reply to the commit is lost: the source is asked what became of the transaction.
#[tokio::test]
async fn a_lost_reply_to_the_commit_is_asked_for() {
    let mut snapshots = world(&["acme"]).await;
    let acme = snapshots.world.id("acme").to_owned();
    let id = snapshots.make_of_source("acme").await;
    let whole = snapshots.rows_of("acme").await;
    let role = format!("restorer_{}", snapshots.world.source.name());
    let url = as_role(&snapshots.world.source.url(), &role);
    let proxy = offtake_tests::proxy::Proxy::before(&url);
    let proxied = proxy.url(&url);
    snapshots.world.configure(|c| c["restore"]["source_url"] = proxied.into());
    for committed in [true, false] {
        snapshots.world.source.execute(&deletion(&acme)).await;
        let before = snapshots.rows_of("acme").await;
        let armed = match committed {
            true => proxy.arm(offtake_tests::proxy::Cut::before_reply("commit")),
            false => proxy.arm(offtake_tests::proxy::Cut::before_statement("\u{b}commit")),
        };
        let ended = snapshots.bring_back(&id, &["--yes"]).await;
        drop(armed);
        proxy.disarm();
        match committed {
            true => {
                ended.assert_says(0, &["the reply to the commit was lost", "restored 89 rows"]);
                assert_eq!(snapshots.rows_of("acme").await, whole);
            }
            false => {
                ended.assert_says(1, &["was not restored", "run it again"]);
                assert_eq!(snapshots.rows_of("acme").await, before);
                snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &["restored 89 rows"]);
            }
        }
    }
}

/// Ctrl-C ends it without a change until its commit is sent. Then its outcome is told first.
#[tokio::test]
async fn ctrl_c_before_and_during_the_commit_of_a_restore_into_the_source() {
    let snapshots = world(&["acme"]).await;
    let (source, acme) = (&snapshots.world.source, snapshots.world.id("acme"));
    let id = snapshots.make_of_source("acme").await;
    let whole = snapshots.rows_of("acme").await;
    source.execute(&deletion(acme)).await;
    let before = snapshots.rows_of("acme").await;
    let restore = ["snapshot", "restore", &id, "--tenant", acme, "--into", "source", "--yes"];
    // Where it stands, how many signals it gets there, and how it ends.
    for (point, signals, code) in [
        ("source_restore.before_write", 1, 130),
        ("source_restore.before_commit", 2, 130),
        ("source_restore.before_commit", 1, 0),
    ] {
        let points = snapshots.world.folder().join(format!("points-{point}-{signals}.txt"));
        std::fs::write(&points, format!("{point}=pause\n")).unwrap();
        let follows = ("OFFTAKE_FAILPOINTS_FILE", points.to_str().unwrap());
        let mut command = snapshots.world.start(follows, &restore);
        let reached = points.with_extension("reached");
        until("it stands there", PATIENCE, async || {
            if reached.exists() { Ok(()) } else { Err(point.to_owned()) }
        })
        .await;
        let pid = Pid::from_raw(command.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let mut heard = BufReader::new(command.stderr.take().unwrap()).lines();
        if point == "source_restore.before_commit" {
            while !heard.next_line().await.unwrap().unwrap().contains("a second signal") {}
        }
        match (signals, code) {
            (2, _) => kill_process(pid, Signal::INT).unwrap(),
            (_, 0) => std::fs::write(&points, "").unwrap(),
            _ => {}
        }
        let ended = command.wait_with_output().await.unwrap();
        let told = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{point}: {told}");
        let left = "select count(*) from pg_stat_activity where datname = current_database() \
                    and application_name = 'offtake snapshot restore'";
        source.wait_text(left, "0").await;
        assert_eq!(told.contains("restored 89 rows"), code == 0, "{point}: {told}");
        let expected = if code == 0 { &whole } else { &before };
        assert_eq!(snapshots.rows_of("acme").await, *expected, "{point}");
    }
}
