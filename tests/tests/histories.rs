//! Events around the source and the daemon that copies must survive: a restored source, a log whose
//! partitions are dropped, a long snapshot, a lost request, a daemon that gets two signals, and
//! rows or settings that a policy or a trigger changes.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use offtake_tests::proxy::Mode;
use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, Database, LogLine, PATIENCE, World, oracle, until};

const GRANTS: &str = include_str!("../../deploy/grants.sql");

/// Values whose text depends on the settings of the session that prints or reads it.
const MOMENTS: &str = r"
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: |
  select tenancy_id as tenant_id, project_user_id as id, display_name, signed_up_at, (signed_up_at at time zone 'UTC')::date as day,
         signed_up_at at time zone 'UTC' as local_time, interval '-1 year 2 mons -3 days 04:05:06.789' as span,
         1 / 3::float8 as third, '\x00ff5c'::bytea as bytes, profile
    from public.project_user
target: { table: moments }
";

/// The tables' identities, which show whether a table is still the same one.
async fn tables(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for tenant in world.tenants() {
        let oids = "select string_agg(oid::text, ' ' order by oid) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace";
        found.push(tenant.destination.query_text(oids).await);
    }
    found
}

/// An older data folder is started as a standby and promoted. Later commits are gone, and numbers
/// that destinations have seen are given again, to other changes. The test fails without the
/// comparison of epochs in crates/sync/src/prepare.rs and `Turn::step`: rows were missing.
#[tokio::test]
async fn a_restored_source_begins_a_new_epoch_and_every_copy_is_reconciled() {
    let world = World::with_tenants(["acme", "globex"]).private_source().await;
    // A source that is down or read-only causes many kinds of warnings.
    world.allow("*");
    world.fill(50).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.back_up_source().await;
    // Changes that the restore will undo: rows deleted, changed and inserted.
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "delete from team where team_id in (select team_id from team order by team_id limit 5);
             update project_user set display_name = 'lost';
             insert into team (tenancy_id, display_name) select '{id}', 'lost ' || n from generate_series(1, 100) n"
        ))
        .await;
    world.wait_in_step().await;
    let seen = world.source.query_text("select count(*) from offtake.epoch").await;
    assert_eq!(seen, "1", "a restart begins no new epoch");
    let before = tables(&world).await;
    world.restore_source().await;
    // Enough changes to pass every cursor. Then only the epoch shows that these numbers belong to
    // other changes.
    world
        .source
        .execute(&format!(
            "update team set display_name = 'kept ' || display_name;
             insert into team (tenancy_id, display_name) select '{id}', 'new ' || n from generate_series(1, 1000) n"
        ))
        .await;
    daemon.wait_logged("epoch_began").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(world.source.query_text("select count(*) from offtake.epoch").await, "2");
    assert_eq!(tables(&world).await, before, "in place");
    let lost = "select (select count(*) from users where display_name = 'lost') + (select count(*) from teams where display_name like 'lost%')";
    assert_eq!(world.tenant("acme").destination.query_text(lost).await, "0");
    // Changes go on in the new epoch.
    world.source.execute("update project_user set display_name = 'afterwards'; delete from team where display_name like 'new%'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Makes the log look as if it had been written that long ago.
async fn age(world: &World, by: &str) {
    world
        .source
        .execute(&format!("update offtake.change_log set sequenced_at = now() - interval '{by}'"))
        .await;
}

/// Starts daemons one after another. A daemon looks at the log's partitions every ten seconds and
/// when it starts, so starting a new one avoids the wait. It does not matter which of them does
/// what.
struct Succession<'a> {
    world: &'a World,
    daemon: Daemon,
    ended: Vec<LogLine>,
}

impl Succession<'_> {
    async fn replace(self) -> Self {
        let Self { world, daemon, mut ended } = self;
        ended.extend(daemon.stop().await);
        Self { world, daemon: world.daemon().await, ended }
    }

    /// The events that all daemons logged so far about a partition.
    fn told(&self, partition: u32) -> Vec<String> {
        let about = format!("\"partition\":{partition},");
        let lines = self.ended.iter().cloned().chain(self.daemon.log());
        lines.filter(|line| line.text.contains(&about)).map(|line| line.event).collect()
    }

    /// Waits until one of them has dropped the partition and logged this event.
    async fn wait_dropped(&self, partition: u32, event: &str) {
        self.world
            .source
            .wait_text(
                &format!("select to_regclass('offtake.change_log_{partition}') is null"),
                "t",
            )
            .await;
        // The log line is written after the commit, so wait for the commit's effect too.
        until(&format!("partition {partition} is dropped"), PATIENCE, async || {
            match self.told(partition) {
                told if told.iter().any(|event| event.starts_with("partition_dropped")) => Ok(()),
                told => Err(format!("{told:?}")),
            }
        })
        .await;
        assert_eq!(self.told(partition).last().unwrap(), event);
    }
}

const FIRST_PARTITION: &str = "select to_regclass('offtake.change_log_0') is not null";

#[tokio::test]
async fn the_log_is_kept_for_those_behind_and_not_for_ever() {
    let plan =
        World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]).proxied("globex");
    let retry = serde_json::json!({ "initial": "50ms", "max": "500ms" });
    let world = plan.setting("/retention/changes", "1h").setting("/sync/retry", retry).await;
    world.allow("destination_failed");
    world.allow("partition_dropped_unread");
    world.fill(30).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let globex = world.tenant("globex").proxy();
    globex.set(Mode::Refuse);
    world.source.execute("delete from team where team_id in (select min(team_id::text)::uuid from team group by tenancy_id)").await;
    world.source.execute("update team set display_name = 'while globex is down'").await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    // The log is older than the retention, but not older than twice the retention.
    age(&world, "90 minutes").await;
    let rolled = "select last_value >= 10000000 from offtake.global_sequence";
    world.source.wait_text(rolled, "t").await;
    // Nothing changed; but the upkeep that judges the old partition enqueues a sync for every
    // destination whose cursor is still in it.
    let acme = format!(
        "select sequence_id >= 10000000 from offtake.destination where tenant_id = '{}'",
        world.id("acme")
    );
    world.source.wait_text(&acme, "t").await;
    assert_eq!(world.source.query_text(FIRST_PARTITION).await, "t", "it is kept for globex");
    world
        .source
        .execute(
            "insert into team (tenancy_id, display_name) select id, 'in the second' from tenancy",
        )
        .await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    let first = "update offtake.change_log_0 set sequenced_at = now() - interval '3 hours'";
    world.source.execute(first).await;
    let daemons = Succession { world: &world, daemon, ended: Vec::new() }.replace().await;
    daemons.wait_dropped(0, "partition_dropped_unread").await;
    globex.set(Mode::Pass);
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // If no destination is behind, the partition is dropped without a warning, even though nothing
    // changes any more. The first look moves on to the next partition. The second enqueues a sync
    // for every destination still in the old one. The third drops it.
    age(&world, "90 minutes").await;
    let daemons = daemons.replace().await;
    world.source.wait_text("select last_value >= 20000000 from offtake.global_sequence", "t").await;
    let daemons = daemons.replace().await;
    world
        .source
        .wait_text("select min(sequence_id) >= 20000000 from offtake.destination", "t")
        .await;
    let daemons = daemons.replace().await;
    daemons.wait_dropped(1, "partition_dropped").await;
    world.source.execute("update team set display_name = 'in the third'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemons.daemon.stop().await;
}

/// How many times all sessions of the database have looked for captured changes so far, and how
/// many pages they read for that. A session reports its numbers once a second.
async fn looks(source: &Database) -> (i64, i64) {
    let sql = "select idx_scan + seq_scan, heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read
                 from pg_stat_user_tables join pg_statio_user_tables using (relid) where relid = 'offtake.captured_change'::regclass";
    let found = source.query_text(sql).await;
    let (scans, pages) = found.split_once('|').unwrap();
    (scans.parse().unwrap(), pages.parse().unwrap())
}

/// How many pages one look for captured changes reads on average, while changes are made and
/// applied.
async fn pages_per_look(world: &World, what: &str) -> i64 {
    const LOOKS: i64 = 200;
    let acme = &world.tenant("acme").destination;
    let before = looks(&world.source).await;
    let mut number = 0;
    let (scans, pages) = until("the sequencer has looked often enough", PATIENCE, async || {
        number += 1;
        world
            .source
            .execute(&format!(
                "update team set display_name = '{what} {number}' where tenancy_id = '{}'",
                world.id("acme")
            ))
            .await;
        acme.wait_text(
            &format!("select count(*) > 0 from teams where display_name = '{what} {number}'"),
            "t",
        )
        .await;
        match looks(&world.source).await {
            now if now.0 >= before.0 + LOOKS => Ok((now.0 - before.0, now.1 - before.1)),
            now => Err(format!("{} times", now.0 - before.0)),
        }
    })
    .await;
    pages / scans
}

/// While a snapshot is open, VACUUM cannot remove deleted rows, and a probe from the beginning
/// reads every one of them again. The test fails with `after` always 0 in `Sequencer::round`
/// (crates/sequencer/src/sequencer.rs).
#[tokio::test]
async fn a_snapshot_held_elsewhere_does_not_slow_changes_down() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS), ("users", USERS)]).await;
    world.fill(10).await;
    world
        .source
        .execute("delete from team where team_id not in (select team_id from team limit 1)")
        .await;
    // This tenant's changes are captured and sequenced, but no sync work disturbs the measurement.
    world
        .source
        .execute(
            "insert into tenancy (id, project_id, branch_id, display_name) values (md5('nobody')::uuid, 'nobody', 'main', 'nobody');
             insert into project_user (tenancy_id, display_name) select md5('nobody')::uuid, n from generate_series(1, 1000) n",
        )
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let snapshot = world.source.connect().await;
    snapshot
        .batch_execute(
            "begin isolation level repeatable read; select count(*) from offtake.captured_change",
        )
        .await
        .unwrap();
    // Each statement changes fewer rows than are captured in lists.
    for round in 0..200 {
        let parts = (0..6).map(|part| {
            format!(
                "update project_user set display_name = 'round {round}'
                  where tenancy_id = md5('nobody')::uuid and abs(hashtext(project_user_id::text)) % 6 = {part};"
            )
        });
        world.source.execute(&parts.collect::<String>()).await;
    }
    world.wait_in_step_within(PATIENCE * 3).await;
    let held: i64 = world
        .source
        .query_text("select pg_relation_size('offtake.captured_change') / 8192")
        .await
        .parse()
        .unwrap();
    // The first round's numbers may include the test's own looks, which a session may report late.
    // They are not used.
    pages_per_look(&world, "first").await;
    let pages = pages_per_look(&world, "held").await;
    println!("{held} pages are full of changes that are gone, and a look reads {pages}");
    assert!(held > 3000, "the load was too small to tell: {held} pages");
    // At most one look in five starts from the beginning, on any machine: the pause between two of
    // them is 50 ms, or 20 times as long as such a look takes.
    assert!(pages < held / 2, "a look reads {pages} pages of {held}");
    snapshot.batch_execute("commit").await.unwrap();
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Nothing changes afterwards, and the poller's position is past the change. Only the sweep can
/// find it.
#[tokio::test]
async fn the_sweep_alone_brings_a_lost_request_back() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world
        .source
        .execute("insert into offtake.fuse (name, enabled, reason) values ('sync', false, 'test')")
        .await;
    daemon.wait_fuse("sync", true).await;
    daemon.wait_round("sync").await;
    world.source.execute("update team set display_name = 'owed'").await;
    world.source.wait_text("select count(*) from offtake.outgoing_request", "2").await;
    world.source.execute("delete from offtake.outgoing_request").await;
    world.source.execute("delete from offtake.fuse").await;
    for tenant in world.tenants() {
        tenant
            .destination
            .wait_text("select count(*) > 0 and bool_and(display_name = 'owed') from teams", "t")
            .await;
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once_and_does_no_harm() {
    let world = World::with_tenants(["acme"]).setting("/poller/lease", "2s").await;
    world.allow("*");
    world.fill(20).await;
    let mut daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.set_failpoint("sync.before_commit", "pause").await;
    world
        .source
        .execute("delete from team where team_id in (select team_id from team limit 3); update project_user set display_name = 'x'")
        .await;
    daemon.wait_at_failpoint("sync.before_commit", 1).await;
    daemon.terminate();
    // Two signals that are pending at the same moment count as one, so wait until the first one is
    // handled.
    daemon.wait_logged("stopping").await;
    assert!(daemon.runs(), "after the first signal it finishes its current work");
    daemon.terminate();
    // After the first signal alone, it would end with another code, and only when its grace period
    // is over.
    let status = daemon.wait_exit(PATIENCE).await;
    assert_eq!(status.code(), Some(130), "{status}");
    let next = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    next.stop().await;
}

fn grants(number: u32) -> &'static str {
    let rest = &GRANTS[GRANTS.find(&format!("-- Part {number}:")).unwrap()..];
    let end =
        ["-- Part ", "-- At a destination"].iter().filter_map(|mark| rest[3..].find(mark)).min();
    end.map_or(rest, |end| &rest[..end + 3])
}

/// The daemon's role owns no table of the application, and may not bypass row-level security. The
/// test fails with `row_security = on` in `SOURCE_SESSION` (crates/postgres/src/settings.rs):
/// nothing was reported.
#[tokio::test]
async fn rows_hidden_at_the_source_are_an_error_and_not_a_gap() {
    let plan = World::with_tenants(["acme"])
        .private_source()
        .mappings(&[("teams", TEAMS), ("users", USERS)]);
    let mut world =
        plan.setting("/sync/retry", serde_json::json!({ "initial": "50ms", "max": "500ms" })).await;
    world.allow("*");
    world.fill(20).await;
    world.source.execute("create role app_owner nologin").await;
    // The superuser has already installed capture.
    for part in [1, 2, 3] {
        world.source.execute(grants(part)).await;
    }
    world.source.execute("alter role offtake password 'daemon'").await;
    let url = world.source_server().await.url_as("offtake", Some("daemon"), world.source.name());
    world.configure(|c| c["source"]["url"] = url.into());
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let acme = &world.tenant("acme").destination;
    let held = acme.query_text("select count(*) from teams").await;
    world
        .source
        .execute("alter table team enable row level security; create policy none on team using (false); update team set display_name = 'hidden'; update project_user set display_name = 'seen'")
        .await;
    until("the hidden rows are reported", PATIENCE, async || {
        let status = daemon.status().await;
        let told = status["destinations"][0].to_string();
        if told.contains("row-level security")
            && told.contains("team")
            && status["destinations"][0]["state"] == "blocked"
        {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
    acme.wait_text("select bool_and(display_name = 'seen') from users", "t").await;
    assert_eq!(acme.query_text("select count(*) from teams").await, held, "nothing is missing");
    let verified = world.offtake(&["verify"]).await;
    assert!(!verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // A re-copy does not take the table for empty either.
    world.succeed(&["resync", "--tenant", world.id("acme")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(acme.query_text("select count(*) from teams").await, held, "nothing is missing");
    world.source.execute("alter role offtake bypassrls").await;
    acme.wait_text("select bool_and(display_name = 'hidden') from teams", "t").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The trigger changes settings for the whole session, so that they outlast the transaction. Decoy
/// tables stand where unqualified names would be looked up.
#[tokio::test]
async fn settings_that_a_trigger_leaves_behind_change_nothing() {
    let world =
        World::with_tenants(["acme"]).mappings(&[("moments", MOMENTS)]).rows_at_once(20).await;
    world.fill(100).await;
    let acme = &world.tenant("acme").destination;
    acme.execute(
        "create schema decoy; create table decoy.moments (id uuid primary key); create table decoy._offtake_state (tenant_id text)",
    )
    .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    acme.execute(
        "create function public.meddle() returns trigger language plpgsql as $$
         begin
           perform set_config('datestyle', 'SQL, DMY', false), set_config('intervalstyle', 'sql_standard', false),
                   set_config('timezone', 'Asia/Kathmandu', false), set_config('extra_float_digits', '-15', false),
                   set_config('bytea_output', 'escape', false), set_config('standard_conforming_strings', 'off', false),
                   set_config('search_path', 'decoy', false);
           return new;
         end $$;
         create trigger meddle before insert or update on public.moments for each row execute function public.meddle()",
    )
    .await;
    for round in 0..5 {
        world
            .source
            .execute(&format!(
                "update project_user set display_name = 'round {round} ' || E'\\\\', signed_up_at = '2026-03-04 05:06:07.891234+00'::timestamptz + {round} * interval '40 days',
                        profile = jsonb_build_object('round', {round}, 'text', E'a\\\\b''c');
                 insert into project_user (tenancy_id, display_name) values ('{}', 'new in round {round}')",
                world.id("acme")
            ))
            .await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    let decoys =
        "select (select count(*) from decoy.moments) + (select count(*) from decoy._offtake_state)";
    assert_eq!(acme.query_text(decoys).await, "0");
    let settled =
        acme.query_text("select count(*) = (select count(*) from moments where display_name like '%round 4%') from moments").await;
    assert_eq!(settled, "t");
    daemon.stop().await;
}
