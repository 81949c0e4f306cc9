//! Snapshots that daemons make by themselves: when, by whom, and which are kept.

use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

use super::Snapshots;

/// Both tenants are due.
const DUE: &str = "update offtake.snapshot_schedule set next_at = now()";

const WAITING: &str =
    "select count(*), count(*) filter (where next_at > now()) from offtake.snapshot_schedule";

const STATES: &str = "select string_agg(state || ' ' || jobs, ', ' order by state)
    from (select state, count(*) as jobs from offtake.job where kind = 'snapshot' group by state) s";

impl Snapshots {
    async fn scheduled(names: &[&str], keep: serde_json::Value) -> Self {
        let settings = json!({ "every": "24h", "keep": keep });
        Self::planned(World::with_tenants(names.to_vec()).setting("/snapshots", settings)).await
    }

    /// The schedule has so many tenants, and they are due now.
    async fn make_due(&self, tenants: usize) {
        self.world.source.wait_text(WAITING, &format!("{tenants}|{tenants}")).await;
        self.world.source.execute(DUE).await;
    }

    async fn wait_states(&self, states: &str) {
        self.world.source.wait_text(STATES, states).await;
    }

    /// The second ones where the files of what is kept no longer are deleted already, which
    /// happens once a minute.
    async fn wait_states_or(&self, states: [&str; 2]) {
        until(&format!("the snapshots are {states:?}"), PATIENCE, async || {
            let found = self.world.source.query_text(STATES).await;
            if states.contains(&found.as_str()) { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// The ids that `list` tells, the newest first; all of them are complete.
    async fn ids(&self) -> Vec<String> {
        let listed = self.run(&["list", "--all", "--json"]).await.json();
        let id = |item: &serde_json::Value| {
            assert_eq!(item["complete"], true, "{item}");
            item["id"].as_str().unwrap().to_owned()
        };
        listed.as_array().unwrap().iter().map(id).collect()
    }

    /// Where there is one place left for two tenants that are due, two daemons record one snapshot.
    /// The second daemon goes as far as it can before the first one's snapshot is recorded. What is
    /// recorded keeps its place.
    async fn record_beside_each_other(&self) {
        let source = &self.world.source;
        let other = self.world.daemon().await;
        // It has looked for new tenants, which waits for a daemon that records.
        complete_round(&other).await;
        let holds = "create function waits() returns trigger language plpgsql as
              $$ begin
                perform pg_advisory_xact_lock_shared(7);
                new.leased_until = now() + interval '1 h';
                return new;
              end $$;
            create trigger waits before insert on offtake.job
              for each row execute function waits();
            update offtake.job
               set state = 'processing', not_before = now(), leased_until = now() + interval '1 h'
             where state = 'paused' and public_id <> 'snap_100'";
        source.execute(holds).await;
        let holder = source.connect().await;
        holder.batch_execute("begin; select pg_advisory_xact_lock(7)").await.unwrap();
        self.make_due(2).await;
        let both = "select count(*) >= 2 from pg_stat_activity where datname = current_database()
                     and wait_event_type = 'Lock' and application_name like 'offtake%'";
        source.wait_text(both, "t").await;
        holder.batch_execute("rollback").await.unwrap();
        for _ in 0..2 {
            complete_round(&other).await;
        }
        assert_eq!(source.query_text(WAITING).await, "2|1");
        other.stop().await;
    }

    async fn ended(&self, daemon: Daemon) -> Daemon {
        daemon.stop().await;
        self.world.daemon().await
    }
}

/// The daemon's loop completes a round.
pub(super) async fn complete_round(daemon: &Daemon) {
    let ticks = "offtake_loop_last_tick_timestamp_seconds{loop=\"snapshots\"}";
    let before = daemon.metric(ticks).await;
    until("the loop has completed a round", PATIENCE, async || {
        if daemon.metric(ticks).await > before { Ok(()) } else { Err(String::new()) }
    })
    .await;
}

/// One of each tenant in each interval; what is not kept is deleted, and never the newest. An empty
/// tenant's interval passes without one.
#[tokio::test]
async fn daemons_make_one_snapshot_of_each_tenant_in_each_interval() {
    let keep = json!({ "last": 1, "within": "0s" });
    let mut snapshots = Snapshots::scheduled(&["acme", "globex"], keep).await;
    let (daemon, other) = (snapshots.world.daemon().await, snapshots.world.daemon().await);
    snapshots.world.wait_in_step().await;
    // A new tenant's first interval begins within one; each at its own time.
    let spread = "select count(distinct next_at), bool_and(next_at between now() and now() + interval '24 h')
        from offtake.snapshot_schedule";
    snapshots.world.source.wait_text(spread, "2|t").await;
    assert_eq!(snapshots.ids().await, [""; 0]);
    snapshots.make_due(2).await;
    snapshots.wait_states("completed 2").await;
    let first = snapshots.ids().await;
    assert_eq!(first.len(), 2);
    let again =
        "select count(*) from offtake.snapshot_schedule where next_at <= now() or made_at is null";
    assert_eq!(snapshots.world.source.query_text(again).await, "0");
    for id in &first {
        snapshots.run(&["validate", id]).await.assert_says(0, &["210 rows"]);
    }
    other.stop().await;

    // What is restored, and how old they are, is told to a scrape.
    let acme = snapshots.world.id("acme").to_owned();
    let of_acme = snapshots.run(&["list", "--tenant", &acme, "--json"]).await.json();
    let id = of_acme[0]["id"].as_str().unwrap().to_owned();
    snapshots.world.tenant("acme").destination.execute("delete from items where id <= 3").await;
    let restored = snapshots.run(&["restore", &id, "--tenant", &acme, "--yes"]).await;
    restored.assert_says(0, &["restored 210 rows"]);
    // A scrape does not wait for a source that answers late.
    let added = "offtake_restore_rows_total{operation=\"add\"}";
    until("the added rows are told", PATIENCE, async || match daemon.metric(added).await {
        rows if rows > 0.0 => Ok(()),
        rows => Err(rows.to_string()),
    })
    .await;
    assert_eq!(daemon.metric(added).await, 3.0);
    assert_eq!(daemon.metric("offtake_restore_rows_total{operation=\"change\"}").await, 0.0);
    assert_eq!(daemon.metric("offtake_snapshots{state=\"completed\"}").await, 2.0);
    assert_eq!(daemon.metric("offtake_snapshot_interval_seconds").await, 86_400.0);
    assert!(daemon.metric("offtake_snapshot_age_seconds").await < 60.0);
    let aged = "update offtake.snapshot_schedule set made_at = now() - interval '3 days' where tenant_id = '{}'";
    snapshots.world.source.execute(&aged.replace("{}", &acme)).await;
    let age = "offtake_snapshot_age_seconds";
    until("the age is told", PATIENCE, async || match daemon.metric(age).await {
        age if age > 250_000.0 => Ok(()),
        age => Err(age.to_string()),
    })
    .await;

    // Globex has no row any more: its snapshot stays, however old, and acme's is replaced.
    let emptied = "delete from item where tenant = '{}'; delete from other where tenant = '{}'";
    let globex = snapshots.world.id("globex").to_owned();
    snapshots.world.source.execute(&emptied.replace("{}", &globex)).await;
    snapshots.make_due(2).await;
    let replaced = "cancelled 1, completed 2, expired 1";
    snapshots.wait_states_or(["cancelled 1, completed 3", replaced]).await;
    let daemon = snapshots.ended(daemon).await;
    snapshots.wait_states(replaced).await;
    let second = snapshots.ids().await;
    assert_eq!(second.len(), 2);
    assert!(first.contains(&second[1]) && !first.contains(&second[0]), "{first:?} {second:?}");

    // A hundred others that wait for their next attempt keep no tenant from its turn.
    let waiting = "insert into offtake.job (public_id, kind, tenant_id, store, state, not_before)
        select 'snap_' || n, 'snapshot', 'tenant ' || n, 'disk', 'paused', now() + interval '1 h'
          from generate_series(1, 100) n";
    snapshots.world.source.execute(waiting).await;
    snapshots.make_due(2).await;
    let states = [
        "cancelled 2, completed 3, expired 1, paused 100",
        "cancelled 2, completed 2, expired 2, paused 100",
    ];
    snapshots.wait_states_or(states).await;
    snapshots.record_beside_each_other().await;

    // Without `every`, nothing is due any more.
    daemon.stop().await;
    snapshots.world.configure(|c| c["snapshots"] = json!(null));
    let daemon = snapshots.world.daemon().await;
    snapshots.world.source.wait_text("select count(*) from offtake.snapshot_schedule", "0").await;
    daemon.stop().await;
}

/// A daemon that dies, or stands still beyond its lease, at any step of making one: there is one
/// complete snapshot in the end, made by the other.
#[tokio::test]
async fn of_an_interval_one_snapshot_is_made_whatever_dies() {
    let snapshots = Snapshots::scheduled(&["acme"], json!(null)).await;
    let (world, source) = (&snapshots.world, &snapshots.world.source);
    let daemon = world.daemon().await;
    source.wait_text(WAITING, "1|1").await;
    daemon.stop().await;
    let mut made = 0;
    for point in ["snapshot.before_card", "snapshot.naming_card", "snapshot.after_card"] {
        for freeze in [false, true] {
            let action = if freeze { "pause" } else { "abort" };
            let mut first = world.spawn_daemon_with_failpoints(&[(point, action)]);
            source.execute(DUE).await;
            if freeze {
                first.wait_at_failpoint(point, 1).await;
                first.freeze();
            } else {
                assert!(!first.wait_exit(PATIENCE).await.success());
            }
            source
                .execute(
                    "update offtake.job set leased_until = now() where leased_until is not null",
                )
                .await;
            made += 1;
            let second = world.daemon().await;
            snapshots.wait_states(&format!("completed {made}")).await;
            let attempts = "select attempt from offtake.job order by job_id desc limit 1";
            assert_eq!(source.query_text(attempts).await, "2", "{point}");
            if freeze {
                first.thaw();
                first.clear_failpoints().await;
                first.terminate();
                first.wait_exit(PATIENCE).await;
            }
            let ids = snapshots.ids().await;
            assert_eq!(ids.len(), made, "{point}");
            snapshots.run(&["validate", &ids[0]]).await.assert_says(0, &["210 rows"]);
            assert_eq!(source.query_text(STATES).await, format!("completed {made}"));
            second.stop().await;
        }
    }
}

/// A daemon that stands still while another one deletes its snapshot brings nothing back.
#[tokio::test]
async fn a_snapshot_stays_deleted_when_its_late_daemon_goes_on() {
    let snapshots = Snapshots::scheduled(&["acme"], json!(null)).await;
    let (world, source) = (&snapshots.world, &snapshots.world.source);
    let mut cancelled = 0;
    for point in ["snapshot.before_card", "snapshot.naming_card"] {
        let mut late = world.spawn_daemon_with_failpoints(&[(point, "pause")]);
        source.wait_text(WAITING, "1|1").await;
        source.execute(DUE).await;
        late.wait_at_failpoint(point, 1).await;
        late.freeze();
        source
            .execute(
                "update offtake.job set cancel_requested_at = now(), leased_until = now()
                  where leased_until is not null",
            )
            .await;
        cancelled += 1;
        let other = world.daemon().await;
        snapshots.wait_states(&format!("cancelled {cancelled}")).await;
        late.thaw();
        late.clear_failpoints().await;
        until("the late daemon has given it up", PATIENCE, async || {
            let lost = late.log().iter().any(|line| line.event == "snapshot_lost");
            if lost { Ok(()) } else { Err(late.log_text()) }
        })
        .await;
        assert_eq!(snapshots.ids().await, [""; 0], "{point}");
        assert_eq!(source.query_text(STATES).await, format!("cancelled {cancelled}"));
        late.terminate();
        late.wait_exit(PATIENCE).await;
        other.stop().await;
    }
}

/// A store that cannot be written to, a fuse, and a newest snapshot that an operator has deleted.
#[tokio::test]
async fn what_stands_in_the_way_is_told_and_nothing_is_deleted_for_it() {
    let mut snapshots = Snapshots::scheduled(&["acme"], json!({ "last": 5, "within": "0s" })).await;
    let folder = snapshots.archive("x").parent().unwrap().to_owned();
    let daemon = snapshots.world.daemon().await;
    snapshots.make_due(1).await;
    snapshots.wait_states("completed 1").await;
    daemon.stop().await;

    let away = folder.with_file_name("away");
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "a file").unwrap();
    snapshots.world.source.execute(DUE).await;
    snapshots.world.succeed(&["fuse", "off", "snapshots", "--reason", "the disk is moved"]).await;
    let point = "snapshot.before_card";
    let mut daemon = snapshots.world.spawn_daemon_with_failpoints(&[(point, "pause")]);
    daemon.wait_ready().await;
    for event in ["snapshot_paused", "store_failed"] {
        daemon.allow(event);
    }
    for _ in 0..3 {
        complete_round(&daemon).await;
    }
    assert_eq!(snapshots.world.source.query_text(STATES).await, "completed 1");
    snapshots.world.succeed(&["fuse", "on", "snapshots"]).await;
    snapshots.wait_states("completed 1, paused 1").await;
    // Each attempt clears the reason while it goes on, and is counted after its end was recorded.
    until("the reason names the folder", PATIENCE, async || {
        let reason = "select reason from offtake.job where state = 'paused'";
        let reason = snapshots.world.source.query_text(reason).await;
        if reason.contains(folder.to_str().unwrap()) { Ok(()) } else { Err(reason) }
    })
    .await;
    let denied = "offtake_store_errors_total{class=\"denied\"}";
    until("the failures are counted", PATIENCE, async || match daemon.metric(denied).await {
        count if count >= 1.0 => Ok(()),
        count => Err(count.to_string()),
    })
    .await;
    // Each failure in a row lengthens the pause before the next attempt.
    let in_a_row = "select count(*) from offtake.job where failures >= 2";
    snapshots.world.source.wait_text(in_a_row, "1").await;
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();

    // One that is being made is given back, and leftovers are looked for once the fuse is on.
    daemon.wait_at_failpoint(point, 1).await;
    snapshots.world.succeed(&["fuse", "off", "snapshots", "--reason", "it is moved back"]).await;
    let reason = "select reason from offtake.job where state = 'paused'";
    let given = "the fuse snapshots is off: it is moved back";
    snapshots.world.source.wait_text(reason, given).await;
    let left = snapshots.unfinished(2);
    daemon.clear_failpoints().await;
    snapshots.world.succeed(&["fuse", "on", "snapshots"]).await;
    snapshots.wait_states("completed 2").await;
    until("the leftover is gone", PATIENCE, async || {
        if left.exists() { Err(String::new()) } else { Ok(()) }
    })
    .await;
    daemon.stop().await;

    // The newest is lost, so the one before it is the newest. What a command makes stays, and one of
    // another kind replaces none.
    let [newest, before] = &snapshots.ids().await[..] else { panic!("two were made") };
    let of_source = snapshots.make_of_source("acme").await;
    for end in [".tar.zst", ".json"] {
        std::fs::remove_file(snapshots.file(newest, end)).unwrap();
    }
    let fewer = json!({ "last": 1, "within": "0s" });
    snapshots.world.configure(|c| c["snapshots"]["keep"] = fewer);
    let parts = [snapshots.unfinished(2), snapshots.unfinished(0)];
    let daemon = snapshots.world.daemon().await;
    snapshots.wait_states("completed 2, expired 1").await;
    assert_eq!(snapshots.ids().await, [of_source.as_str(), before.as_str()]);
    assert_eq!(parts.each_ref().map(|part| part.exists()), [false, true], "a sweep goes before");
    daemon.stop().await;
}
