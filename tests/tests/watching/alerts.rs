//! Each alert is made to fire once, by real daemons in the state that it is about and a real
//! Prometheus that scrapes them.

use std::collections::BTreeSet;
use std::time::Duration;

use offtake_tests::prometheus::{Job, Prometheus};
use offtake_tests::proxy::Mode;
use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{Daemon, World, until};
use serde_json::{Value, json};

use super::rules::{alerts_of, rules, text};

/// Ranges of the rules last minutes and hours; here they last this long.
const RANGE: &str = "10s";
/// What takes longest is to see that nothing was applied within [`RANGE`].
const FIRES_WITHIN: Duration = Duration::from_secs(90);

/// The job whose daemon makes an alert fire.
const FIRING: [(&str, &str); 18] = [
    ("OfftakeDown", "offtake-gone"),
    ("OfftakeSourceUnreadable", "offtake-stalled"),
    ("OfftakeSequencerStalled", "offtake-stalled"),
    ("OfftakeLoopStalled", "offtake-stalled"),
    ("OfftakeNothingApplied", "offtake-stopped"),
    ("OfftakeOldestOwedTooOld", "offtake-stopped"),
    ("OfftakeManyDestinationsBlocked", "offtake-broken"),
    ("OfftakeDestinationsBlocked", "offtake-broken"),
    ("OfftakeDestinationsDegraded", "offtake-broken"),
    ("OfftakeAuditFoundDifferences", "offtake-broken"),
    ("OfftakeFuseBlown", "offtake-stopped"),
    ("OfftakePausedForADay", "offtake-broken"),
    ("OfftakeCapturedChangesGrowing", "offtake-stalled"),
    ("OfftakeLogBeyondRetention", "offtake-stalled"),
    ("OfftakeQuarantineGrowing", "offtake-broken"),
    ("OfftakeWebhookDisabled", "offtake-broken"),
    ("OfftakeReloadFailed", "offtake-broken"),
    ("OfftakeCertificateExpires", "offtake-broken"),
];

/// Limits that a test cannot wait for, and what stands in their place.
const LIMITS: [(&str, &str, &str); 5] = [
    ("OfftakeSourceUnreadable", "> 120", "> 10"),
    ("OfftakeSequencerStalled", "> 60", "> 8"),
    ("OfftakeLoopStalled", "> 300", "> 8"),
    ("OfftakeOldestOwedTooOld", "> 300", "> 3"),
    ("OfftakeCapturedChangesGrowing", "> 1000\n", "> 100\n"),
];

/// The rules with ranges of seconds, and without the time that an alert waits before it fires.
pub(crate) fn hurried() -> Value {
    let mut rules = rules();
    for rule in rules["groups"][0]["rules"].as_array_mut().expect("a list of alerts") {
        let mut expression = text(rule, "expr").to_owned();
        for range in ["[5m]", "[10m]", "[1h]"] {
            expression = expression.replace(range, &format!("[{RANGE}]"));
        }
        rule["expr"] = expression.into();
        rule["for"] = "1s".into();
    }
    rules
}

/// The same with lower limits.
fn impatient() -> Value {
    let mut rules = hurried();
    for (alert, limit, lower) in LIMITS {
        let all = rules["groups"][0]["rules"].as_array_mut().expect("a list of alerts");
        let rule = all.iter_mut().find(|rule| rule["alert"] == alert).expect("it is there");
        let expression = text(rule, "expr");
        assert!(expression.contains(limit), "{alert}: {expression}");
        rule["expr"] = expression.replacen(limit, lower, 1).into();
    }
    rules
}

const USERS: &str = "
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user
target:
  table: users
  schema_sql: create table users (id uuid primary key, display_name text check (display_name <> 'poison'))
";

/// Tenants whose destinations are each broken in another way, and a webhook.
struct Broken {
    // Ends before its world does, which is so of each of these.
    daemon: Daemon,
    receiver: Receiver,
    world: World,
}

impl Broken {
    async fn begin() -> Self {
        let names = ["unreachable", "refusing", "edited", "paused", "expiring"];
        let mut world = World::with_tenants(names)
            .mappings(&[("users", USERS)])
            .private_destination("expiring")
            .proxied("unreachable")
            .setting("/audit", json!({ "period": "1s", "budget": "100%" }))
            .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
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

    async fn break_it(&self) {
        let world = &self.world;
        let source = &world.source;
        let paused = world.id("paused");
        let fuse = format!(
            "insert into offtake.fuse (name, enabled, reason) values ('tenant:{paused}', false, 'test')"
        );
        source.execute(&fuse).await;
        world.tenant("edited").destination.execute("delete from users").await;
        world.tenant("unreachable").proxy().set(Mode::Refuse);
        self.receiver.play(|_| Play::Status(410));
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
    }
}

/// A daemon whose sequencer is going to stand still, and then its source.
struct Stalled {
    daemon: Daemon,
    world: World,
}

impl Stalled {
    async fn begin() -> Self {
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

    async fn break_it(&self) {
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

    async fn change(&self) {
        let change = "update project_user set display_name = display_name || '!'";
        self.world.source.execute(change).await;
    }
}

/// A daemon whose sync loop is going to be stopped, and another daemon beside it that dies.
struct Stopped {
    daemon: Daemon,
    other: Daemon,
    world: World,
}

impl Stopped {
    async fn begin() -> Self {
        let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
        let (daemon, other) = tokio::join!(world.daemon(), world.daemon());
        world.fill(10).await;
        world.wait_in_step().await;
        Self { world, daemon, other }
    }

    async fn break_it(&mut self) {
        self.other.kill();
        let fuse =
            "insert into offtake.fuse (name, enabled, reason) values ('sync', false, 'test')";
        self.world.source.execute(fuse).await;
        self.daemon.wait_fuse("sync", true).await;
        self.world.source.execute("update project_user set display_name = 'changed'").await;
    }

    async fn mend(&self) {
        self.world.source.execute("delete from offtake.fuse").await;
    }
}

/// Alerts that fire, as (alert, job). `OfftakeDown` has no other labels to tell.
async fn firing(prometheus: &Prometheus) -> BTreeSet<(String, String)> {
    let told = prometheus.firing().await.into_iter();
    told.map(|labels| (labels["alertname"].clone(), labels.get("job").cloned().unwrap_or_default()))
        .collect()
}

#[test]
fn every_alert_is_made_to_fire() {
    let rules = rules();
    let named: BTreeSet<&str> = alerts_of(&rules).iter().map(|rule| text(rule, "alert")).collect();
    assert_eq!(named, FIRING.iter().map(|(alert, _)| *alert).collect());
}

#[tokio::test]
async fn every_alert_fires_of_a_daemon_in_its_state_and_ends_when_it_is_mended() {
    let Some(_) = offtake_tests::prometheus::installed("prometheus") else { return };
    let (broken, stalled, mut stopped) =
        tokio::join!(Broken::begin(), Stalled::begin(), Stopped::begin());
    let job = |name, daemon: &Daemon| Job { name, ports: vec![daemon.port()], slow: false };
    let jobs = [
        job("offtake-broken", &broken.daemon),
        Job { slow: true, ..job("offtake-stalled", &stalled.daemon) },
        job("offtake-stopped", &stopped.daemon),
        job("offtake-gone", &stopped.other),
    ];
    let prometheus = Prometheus::start(&jobs, &impatient()).await.expect("it is installed");
    until("everything was scraped twice", FIRES_WITHIN, async || {
        let counted = "count_over_time(offtake_quarantined_rows[1m]) > 1";
        match prometheus.query(counted).await.len() {
            4 => Ok(()),
            scraped => Err(format!("{scraped} of 4 jobs")),
        }
    })
    .await;
    let early = firing(&prometheus).await;
    let expected: BTreeSet<_> =
        FIRING.iter().map(|(alert, job)| ((*alert).to_owned(), (*job).to_owned())).collect();
    let early: Vec<_> = early.intersection(&expected).collect();
    // The certificate is what it is from the beginning.
    assert!(early.iter().all(|(alert, _)| alert == "OfftakeCertificateExpires"), "{early:?}");

    broken.break_it().await;
    stopped.break_it().await;
    stalled.break_it().await;
    let mut seen = BTreeSet::new();
    let mut cut = false;
    until("every alert has fired", FIRES_WITHIN, async || {
        // So that captured changes become more and more.
        stalled.change().await;
        seen.extend(firing(&prometheus).await);
        let missing: Vec<_> = expected.difference(&seen).collect();
        let mut of_stalled = missing.iter().filter(|(_, job)| job == "offtake-stalled");
        if !cut && of_stalled.all(|(alert, _)| alert == "OfftakeSourceUnreadable") {
            // Its others need a source that answers.
            stalled.world.source_proxy().set(Mode::Blackhole);
            cut = true;
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} did not")) }
    })
    .await;

    // The log names the destination, which no metric does.
    let expiring = broken.world.id("expiring");
    let told = broken.daemon.log().into_iter().find(|line| line.event == "certificate_expires");
    assert!(told.is_some_and(|line| line.text.contains(expiring)), "the log does not tell it");

    stopped.mend().await;
    broken.world.write_mapping("users", USERS);
    let mended = [
        "OfftakeNothingApplied",
        "OfftakeOldestOwedTooOld",
        "OfftakeFuseBlown",
        "OfftakeReloadFailed",
    ];
    until("what is mended ends", FIRES_WITHIN, async || {
        let left = firing(&prometheus).await;
        let left: Vec<_> =
            left.iter().filter(|(alert, _)| mended.contains(&alert.as_str())).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} fires")) }
    })
    .await;
}
