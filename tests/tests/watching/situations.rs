//! Three situations of daemons: between them, they make every alert fire. Each is mended as
//! `docs/alerts.md` says.

use std::time::Duration;

use offtake_tests::proxy::Mode;
use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{Daemon, World, until};
use serde_json::json;

use super::alerts::FIRES_WITHIN;
use super::runbook::Runbook;

pub(crate) const USERS: &str = "
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user
target:
  table: users
  schema_sql: create table users (id uuid primary key, display_name text check (display_name <> 'poison'))
";

/// An export that no daemon can work on.
const EXPORT: &str = "exp_20261128-031300_k7f3a2";

/// Tenants whose destinations are each broken in another way, and a webhook.
pub(crate) struct Broken {
    // Ends before its world does, which is so of each of these.
    pub(crate) daemon: Daemon,
    receiver: Receiver,
    pub(crate) world: World,
}

impl Broken {
    pub(crate) async fn begin() -> Self {
        let names = ["unreachable", "refusing", "edited", "paused", "expiring"];
        let mut world = World::with_tenants(names)
            .mappings(&[("users", USERS)])
            .private_destination("expiring")
            .proxied("unreachable")
            .setting("/audit", json!({ "period": "1s", "budget": "100%" }))
            .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
            .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
            .setting("/snapshots", json!({ "every": "24h" }))
            .await;
        world.allow("*");
        world.tenant("expiring").show_certificate(Duration::from_secs(5 * 86_400)).await;
        world.reach_by("expiring", |url| url.replace("sslmode=disable", "sslmode=require"));
        let receiver = Receiver::start().await;
        world.add_webhook("edited", &receiver, json!({}));
        let daemon = world.daemon().await;
        world.fill(20).await;
        world.wait_in_step().await;
        Self { world, receiver, daemon }
    }

    pub(crate) async fn break_it(&self) {
        let world = &self.world;
        let source = &world.source;
        let paused = world.id("paused");
        world.succeed(&["pause", "--tenant", paused, "--reason", "their migration"]).await;
        world.tenant("edited").destination.execute("delete from users").await;
        world.tenant("unreachable").proxy().set(Mode::Refuse);
        self.receiver.play(|_| Play::Status(410));
        // No daemon has that store.
        let export = format!(
            "insert into offtake.job (public_id, kind, tenant_id, store, options) \
             values ('{EXPORT}', 'export', '{paused}', 'elsewhere', '{{\"format\": \"csv\"}}')"
        );
        source.execute(&export).await;
        let refusing = world.id("refusing");
        let poison = format!(
            "update project_user set display_name = 'poison' where tenancy_id = '{refusing}'"
        );
        source.execute(&poison).await;
        // One row each: what was deleted at the destination must stay so.
        for tenant in ["edited", "unreachable"] {
            let tenant = world.id(tenant);
            let change = format!(
                "update project_user set display_name = 'changed' where project_user_id = \
                 (select project_user_id from project_user where tenancy_id = '{tenant}' limit 1)"
            );
            source.execute(&change).await;
        }
        world.write_mapping("users", "source: [");
        // Nobody can write to the store, and that for days.
        std::fs::create_dir(world.folder().join("files")).expect("a folder");
        std::fs::write(world.folder().join("files/snapshots"), "a file").expect("a file");
        let days = "update offtake.snapshot_schedule set next_at = now(), since = now() - interval '3 days'";
        source.execute(days).await;
    }

    pub(crate) async fn mend(&self, page: &Runbook) {
        let world = &self.world;
        page.follow("OfftakeReloadFailed", "`offtake status` has the mistake with its place");
        let status = world.offtake(&["status"]).await;
        let told = [status.stdout, status.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("mappings/users.yaml:2:1: this is not YAML"), "{told}");
        world.write_mapping("users", USERS);

        page.follow("OfftakeDestinationsBlocked", "`offtake status` has the reason of each");
        page.follow("OfftakeManyDestinationsBlocked", "*unreachable*: the network of the daemon");
        let told = world.succeed(&["status"]).await;
        assert!(told.contains("unreachable: "), "{told}");
        world.tenant("unreachable").proxy().set(Mode::Pass);

        page.follow("OfftakeDestinationsDegraded", "Mend the constraint there, or the query.");
        let (refusing, destination) = (world.id("refusing"), &world.tenant("refusing").destination);
        let told = world.succeed(&["quarantine", "list"]).await;
        assert!(told.contains("users_display_name_check"), "{told}");
        destination.execute("alter table users drop constraint users_display_name_check").await;
        let retry = "offtake quarantine retry --tenant T";
        world.succeed(&page.command("OfftakeQuarantineGrowing", retry, &[("T", refusing)])).await;

        let repair = "offtake verify --tenant T --mapping M --repair";
        let values = [("T", world.id("edited")), ("M", "users")];
        let mut repair = page.command("OfftakeAuditFoundDifferences", repair, &values);
        // A person is asked.
        repair.push("--yes");
        world.succeed(&repair).await;

        page.follow("OfftakeSnapshotTooOld", "mend the rights of its folder");
        page.follow("OfftakeStoreFails", "*unreachable* and *unavailable*: the network");
        let log = self.daemon.log_text();
        page.follow("OfftakeSnapshotTooOld", "`snapshot_paused`");
        assert!(log.contains("snapshot_paused") && log.contains("files/snapshots"), "{log}");
        std::fs::remove_file(world.folder().join("files/snapshots")).expect("it is removed");
        page.follow("OfftakeSnapshotTooOld", "at the latest after five minutes");
        world.source.execute("update offtake.job set not_before = now()").await;

        let resume = "offtake resume --tenant T";
        let values = [("T", world.id("paused"))];
        world.succeed(&page.command("OfftakePausedForADay", resume, &values)).await;

        let of = [("T", world.id("edited")), ("N", "main")];
        let attempts = "offtake webhook attempts --tenant T --name N";
        let told = world.succeed(&page.command("OfftakeWebhookDisabled", attempts, &of)).await;
        assert!(told.contains("410"), "{told}");
        self.receiver.play(|_| Play::OK);
        let enable = "offtake webhook enable --tenant T --name N";
        world.succeed(&page.command("OfftakeWebhookDisabled", enable, &of)).await;

        let of = [("EXPORT", EXPORT)];
        let status = "offtake export status EXPORT";
        let told = world.succeed(&page.command("OfftakeExportStuck", status, &of)).await;
        assert!(told.contains("accepted"), "{told}");
        let cancel = "offtake export cancel EXPORT";
        world.succeed(&page.command("OfftakeExportStuck", cancel, &of)).await;

        let expiring = world.tenant("expiring");
        let doctor = page.command("OfftakeCertificateExpires", "offtake doctor --connect", &[]);
        let told = world.offtake(&doctor).await;
        let told = String::from_utf8_lossy(&told.stdout);
        assert!(told.contains(&expiring.id), "{told}");
        expiring.show_certificate(Duration::from_secs(90 * 86_400)).await;
        page.follow("OfftakeCertificateExpires", "at once where the server is restarted");
        expiring.server().await.restart().await.expect("it starts again");
    }
}

/// A daemon whose sequencer is going to stand still, and then its source.
pub(crate) struct Stalled {
    pub(crate) daemon: Daemon,
    pub(crate) world: World,
}

impl Stalled {
    pub(crate) async fn begin() -> Self {
        let world = World::with_tenants(["acme"])
            .mappings(&[("users", USERS)])
            .proxied_source()
            .setting("/retention/changes", "1h")
            .await;
        world.allow("*");
        let daemon = world.daemon().await;
        world.fill(20).await;
        world.wait_in_step().await;
        Self { world, daemon }
    }

    pub(crate) async fn break_it(&self) {
        self.keep_changes_for_four_seconds().await;
        // The newest change is in a partition of the log that nothing clears from now on.
        self.change().await;
        self.world.wait_in_step().await;
        self.daemon.set_failpoint("sequencer.after_lock", "pause").await;
        self.change().await;
        self.daemon.wait_at_failpoint("sequencer.after_lock", 1).await;
    }

    async fn keep_changes_for_four_seconds(&self) {
        let files = std::fs::read_dir(self.world.folder()).expect("the test's own folder");
        let mut files = files.map(|file| file.expect("a readable folder").path());
        let file = files.find(|file| file.extension().is_some_and(|yaml| yaml == "yaml"));
        let file = file.expect("the daemon has a configuration");
        let text = std::fs::read_to_string(&file).expect("it is readable").replace("1h", "4s");
        let beside = file.with_extension("new");
        std::fs::write(&beside, text).expect("the folder can be written");
        std::fs::rename(beside, file).expect("the folder can be written");
        until("the daemon keeps changes for 4 s", FIRES_WITHIN, async || {
            let (_, metrics) = self.daemon.get("/metrics").await;
            let kept = metrics.contains("\nofftake_log_retention_seconds 4\n");
            if kept { Ok(()) } else { Err(metrics) }
        })
        .await;
    }

    pub(crate) async fn change(&self) {
        let change = "update project_user set display_name = display_name || '!'";
        self.world.source.execute(change).await;
    }

    pub(crate) async fn mend(&mut self, page: &Runbook) {
        page.follow("OfftakeSourceUnreadable", "can the daemon's machine reach it?");
        self.world.source_proxy().set(Mode::Pass);
        let begin = "Also [OfftakeSequencerStalled](#offtakesequencerstalled)";
        page.follow("OfftakeCapturedChangesGrowing", begin);
        page.follow("OfftakeLogBeyondRetention", "or it stands still");
        page.follow("OfftakeLoopStalled", "restart the daemon");
        page.follow("OfftakeSequencerStalled", "restart the daemon whose loop stands still");
        self.daemon.start_again().await;
    }
}

/// A daemon whose sync loop is going to be stopped, and another daemon beside it that dies.
pub(crate) struct Stopped {
    pub(crate) daemon: Daemon,
    pub(crate) other: Daemon,
    pub(crate) world: World,
}

impl Stopped {
    pub(crate) async fn begin() -> Self {
        let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
        let (daemon, other) = tokio::join!(world.daemon(), world.daemon());
        world.fill(10).await;
        world.wait_in_step().await;
        Self { world, daemon, other }
    }

    pub(crate) async fn break_it(&mut self) {
        self.other.kill();
        self.world.succeed(&["fuse", "off", "sync", "--reason", "test"]).await;
        self.daemon.wait_fuse("sync", true).await;
        self.world.source.execute("update project_user set display_name = 'changed'").await;
    }

    pub(crate) async fn mend(&mut self, page: &Runbook) {
        let world = &self.world;
        page.follow(
            "OfftakeOldestOwedTooOld",
            "Also [OfftakeNothingApplied](#offtakenothingapplied)",
        );
        let list = page.command("OfftakeNothingApplied", "offtake fuse list", &[]);
        let told = world.succeed(&list).await;
        assert!(told.contains("sync") && told.contains("test"), "{told}");
        let values = [("NAME", "sync"), ("R", "mended")];
        let on = page.command("OfftakeFuseBlown", "offtake fuse on NAME --reason R", &values);
        world.succeed(&on).await;
        page.follow("OfftakeDown", "start the daemon again");
        self.other.start_again().await;
    }
}
