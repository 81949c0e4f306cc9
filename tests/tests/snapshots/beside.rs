//! A restore beside daemons, other restores and a network that fails.

use offtake_tests::proxy::Cut;
use offtake_tests::{PATIENCE, Plan, World, beside, oracle, until};

use super::Snapshots;
use super::making::rows;

/// What the source knows of acme's pause: whether it is paused, and whether that ends by itself.
const PAUSE: &str = "select d.paused_at is not null, d.paused_until is not null
    from offtake.destination d where d.tenant_id = '{acme}'";

const UNPAUSED: &str = "f|f";
const PAUSED: &str = "t|f";
const PAUSED_FOR_A_TIME: &str = "t|t";

/// Rows that were copied by a first copy or a re-copy.
const COPIED: &str = "select coalesce(sum(rows_done), 0) from offtake.destination_mapping";

/// What the source knows of acme's cursors.
const MIRROR: &str = "select d.sequence_id, min(m.sequence_id), max(m.sequence_id)
    from offtake.destination d join offtake.destination_mapping m using (destination_id)
   where d.tenant_id = '{acme}' group by d.destination_id";

const OWED: &str = "select count(*) from offtake.outgoing_request r
    join offtake.destination d using (destination_id) where d.tenant_id = '{acme}'";

impl Snapshots {
    async fn told(&self, query: &str) -> String {
        let query = query.replace("{acme}", self.world.id("acme"));
        self.world.source.query_text(&query).await
    }

    async fn change(&self, amount: usize) {
        let change = "update item set amount = {amount} where tenant = '{acme}' and id <= 5";
        let change = change.replace("{acme}", self.world.id("acme"));
        self.world.source.execute(&change.replace("{amount}", &amount.to_string())).await;
    }
}

/// The late daemon sends no heartbeat during the test, and takes one request at a time.
fn with_late_workers(plan: Plan) -> Plan {
    plan.setting("/poller/lease", "10m").setting("/poller/claim_limit", 1)
}

/// A process that stands still at any step of its turn, until its lease is over and a restore has
/// committed, changes nothing when it goes on: neither the restored rows, nor what the source knows
/// of them, nor what is owed.
#[tokio::test]
async fn a_worker_that_goes_on_after_a_restore_changes_nothing() {
    let plan = with_late_workers(World::with_tenants(["acme", "globex"]));
    let snapshots = Snapshots::planned(plan).await;
    let world = &snapshots.world;
    let late = world.daemon().await;
    world.wait_in_step().await;
    let id = snapshots.make("acme").await;
    let (acme, there) = (world.id("acme"), &world.tenant("acme").destination);
    let (items, copied) = (rows(there, "items").await, snapshots.told(COPIED).await);
    let points =
        ["sync.after_claim", "sync.after_read", "sync.after_commit", "sync.before_complete"];
    for (at, point) in points.into_iter().enumerate() {
        late.set_failpoint(point, "pause").await;
        snapshots.change(1000 + at).await;
        late.wait_at_failpoint(point, 1).await;
        late.freeze();
        let ended = "update offtake.outgoing_request set leased_until = now() where leased_until is not null";
        world.source.execute(ended).await;
        let restored = snapshots.run(&["restore", &id, "--tenant", acme, "--hold", "--yes"]).await;
        restored.assert_says(0, &["restored 210 rows", "it is paused"]);
        let mirror = snapshots.told(MIRROR).await;
        let cursors =
            "select min(sequence_id), min(sequence_id), max(sequence_id) from _offtake_state";
        assert_eq!(there.query_text(cursors).await, mirror, "{point}");

        late.thaw();
        late.clear_failpoint(point).await;
        // Its turn is over when another tenant's is.
        let other =
            format!("update item set amount = {at} where tenant = '{}'", world.id("globex"));
        world.source.execute(&other).await;
        world.wait_tenants_in_step(&["globex"], PATIENCE).await;
        assert_eq!(rows(there, "items").await, items, "{point}");
        assert_eq!(snapshots.told(MIRROR).await, mirror, "{point}");
        assert_eq!(snapshots.told(OWED).await, "1", "{point}");

        world.succeed(&["resume", "--tenant", acme]).await;
        world.wait_in_step().await;
        oracle::assert_equal(world).await;
        assert_eq!(snapshots.told(COPIED).await, copied, "{point}: it was copied again");
    }
    late.stop().await;
}

/// Turns that wait for the next change are over before the restore begins, and nothing is copied
/// again.
#[tokio::test]
async fn a_restore_while_the_application_writes_is_followed_by_its_changes() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.id("acme"));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = snapshots.make("acme").await;
    let copied = snapshots.told(COPIED).await;
    let mut written = 0;
    for _ in 0..3 {
        let restore = ["restore", &id, "--tenant", acme, "--yes"];
        let restored = beside(snapshots.run(&restore), async || {
            written += 1;
            snapshots.change(written).await;
        })
        .await;
        restored.assert_says(0, &["restored 210 rows"]);
    }
    assert!(written > 30, "only {written} writes beside it");
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    assert_eq!(snapshots.told(COPIED).await, copied, "it was copied again");
    daemon.stop().await;
}

/// The pause of a restore ends by itself until the restore has committed. Only then does `--hold`
/// make it last, also where something else had paused the destination for a time.
#[tokio::test]
async fn a_pause_lasts_only_once_the_restore_has_committed() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    daemon.stop().await;
    let (id, acme) = (snapshots.make("acme").await, snapshots.world.id("acme").to_owned());
    let restore = ["restore", &id, "--tenant", &acme, "--yes"];
    let hold = [&restore[..], &["--hold"]].concat();
    for (point, command) in [("before_commit", &hold[..]), ("after_commit", &restore[..])] {
        snapshots.world.set_variable("FAILPOINTS", &format!("restore.{point}=abort"));
        assert_eq!(snapshots.run(command).await.code, -1);
        snapshots.world.set_variable("FAILPOINTS", "");
        // The server notices that the session is gone, and gives its locks back.
        snapshots.world.tenant("acme").destination.wait_left().await;
        assert_eq!(snapshots.told(PAUSE).await, PAUSED_FOR_A_TIME, "{point}");
    }
    // The next one goes on where that one died, and ends its pause.
    snapshots.run(&restore).await.assert_says(0, &["restored 210 rows"]);
    assert_eq!(snapshots.told(PAUSE).await, UNPAUSED);
    // An operator's pause stays as it is, unless the rows are to be kept for longer.
    snapshots
        .world
        .succeed(&["pause", "--tenant", &acme, "--reason", "theirs", "--for", "5m"])
        .await;
    snapshots.run(&restore).await.assert_says(0, &["restored 210 rows", "stays paused"]);
    assert_eq!(snapshots.told(PAUSE).await, PAUSED_FOR_A_TIME);
    snapshots.run(&hold).await.assert_says(0, &["restored 210 rows", "it is paused"]);
    assert_eq!(snapshots.told(PAUSE).await, PAUSED);
    snapshots.run(&restore).await.assert_says(0, &["restored 210 rows", "stays paused"]);
    assert_eq!(snapshots.told(PAUSE).await, PAUSED);
}

/// Two restores of one destination: the second finds the cursors of the first, and is refused.
#[tokio::test]
async fn of_two_restores_at_once_one_commits() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    daemon.stop().await;
    let (one, other) = (snapshots.make("acme").await, snapshots.make("acme").await);
    let acme = snapshots.world.id("acme").to_owned();
    // Each has staged its rows before the other has committed.
    let points = snapshots.world.folder().join("points.txt");
    std::fs::write(&points, "restore.staged=pause\n").unwrap();
    snapshots.world.set_variable("OFFTAKE_FAILPOINTS_FILE", points.to_str().unwrap());
    let both_staged = async {
        let reached = points.with_extension("reached");
        until("both have staged their rows", PATIENCE, async || {
            let reached = std::fs::read_to_string(&reached).unwrap_or_default();
            if reached.lines().count() == 2 { Ok(()) } else { Err(reached) }
        })
        .await;
        std::fs::write(&points, "").unwrap();
    };
    let there = &snapshots.world.tenant("acme").destination;
    let items = rows(there, "items").await;
    there.execute("delete from items where id <= 3").await;
    let restores = [
        ["restore", &one, "--tenant", &acme, "--yes"],
        ["restore", &other, "--tenant", &acme, "--yes"],
    ];
    let (a, b, ()) =
        tokio::join!(snapshots.run(&restores[0]), snapshots.run(&restores[1]), both_staged);
    let (done, refused) = if a.code == 0 { (a, b) } else { (b, a) };
    done.assert_says(0, &["restored 210 rows"]);
    refused.assert_says(1, &["wrote there meanwhile", "run it again", "nothing was changed there"]);
    assert_eq!(rows(there, "items").await, items);
    assert_eq!(snapshots.told(PAUSE).await, UNPAUSED);
}

/// The reply to the commit is lost: what is there tells whether it happened. Where nothing can be
/// asked any more, nothing is claimed.
#[tokio::test]
async fn a_lost_reply_to_the_commit_is_looked_after() {
    let plan = World::with_tenants(["acme"]).proxied("acme");
    let snapshots = Snapshots::planned(plan).await;
    let (world, acme) = (&snapshots.world, snapshots.world.tenant("acme"));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let id = snapshots.make("acme").await;
    let (there, proxy) = (&acme.destination, acme.proxy());
    let items = rows(there, "items").await;
    let restore = ["restore", &id, "--tenant", &acme.id, "--yes"];
    let damage = "delete from items where id <= 3";

    there.execute(damage).await;
    let lost = proxy.arm(Cut::before_reply("COMMIT"));
    snapshots.run(&restore).await.assert_says(0, &["restored 210 rows"]);
    assert_eq!(lost.count(), 1);
    assert_eq!(rows(there, "items").await, items);
    assert_eq!(snapshots.told(PAUSE).await, UNPAUSED);

    there.execute(damage).await;
    // The two transactions before it begin as "read committed".
    let lost = proxy.arm(Cut::before_statement("commit").after_passing(2));
    let failed = snapshots.run(&restore).await;
    failed.assert_says(1, &["was not restored", "run it again"]);
    assert_eq!(lost.count(), 1);
    assert_eq!(rows(there, "items").await.len(), 197);
    assert_eq!(snapshots.told(PAUSE).await, UNPAUSED);

    // The look at the state table comes once for the comparison, once for the restore, and once
    // for the look after the lost reply.
    let lost = proxy.arm(Cut::before_reply("COMMIT"));
    let looked = proxy.arm(Cut::before_statement("to_regnamespace").after_passing(2));
    let unknown = snapshots.run(&restore).await;
    unknown.assert_says(69, &["is not known", "run it again when that database answers"]);
    assert!(!unknown.complained.contains("nothing was changed"), "{unknown:?}");
    assert_eq!((lost.count(), looked.count()), (1, 1));
    assert_eq!(rows(there, "items").await, items);
    // The remedy.
    snapshots.run(&restore).await.assert_says(0, &["items: equal", "restored 210 rows"]);
}

/// A re-copy that was asked for is made, from what the source holds then.
#[tokio::test]
async fn a_resync_that_was_asked_for_follows_a_restore() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.id("acme"));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = snapshots.make("acme").await;
    daemon.stop().await;
    snapshots.change(7).await;
    world.succeed(&["resync", "--tenant", acme, "--mapping", "items"]).await;
    snapshots
        .run(&["restore", &id, "--tenant", acme, "--yes"])
        .await
        .assert_says(0, &["restored 210 rows"]);
    assert_eq!(world.source.query_text("select count(*) from offtake.resync_request").await, "1");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    assert_eq!(world.source.query_text("select count(*) from offtake.resync_request").await, "0");
    daemon.stop().await;
}
