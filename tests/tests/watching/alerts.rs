//! Each alert is made to fire once, by real daemons in the state that it is about and a real
//! Prometheus that scrapes them; and each ends when the state is mended as its runbook says.

use std::collections::BTreeSet;
use std::time::Duration;

use offtake_tests::prometheus::{Job, Prometheus};
use offtake_tests::proxy::Mode;
use offtake_tests::{Daemon, until};
use serde_json::Value;

use super::rules::{RUNBOOKS, alerts_of, printed, text};
use super::runbook::Runbook;
use super::situations::{Broken, Stalled, Stopped};

/// Ranges of the rules last minutes and hours; here they last this long.
const RANGE: &str = "10s";
/// What takes longest is to see that nothing was applied within [`RANGE`].
pub(crate) const FIRES_WITHIN: Duration = Duration::from_secs(90);

/// The job whose daemon makes an alert fire.
const FIRING: [(&str, &str); 21] = [
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
    ("OfftakeSnapshotTooOld", "offtake-broken"),
    ("OfftakeExportStuck", "offtake-broken"),
    ("OfftakeStoreFails", "offtake-broken"),
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
    let mut rules = printed();
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

/// Alerts that fire, as (alert, job). `OfftakeDown` has no other labels to tell. Each leads to its
/// heading.
async fn firing(prometheus: &Prometheus) -> BTreeSet<(String, String)> {
    let told = prometheus.firing().await.into_iter();
    let told = told.map(|alert| {
        let name = alert.labels["alertname"].clone();
        let link = format!("{RUNBOOKS}#{}", name.to_lowercase());
        assert_eq!(alert.annotations["runbook_url"], link);
        (name, alert.labels.get("job").cloned().unwrap_or_default())
    });
    told.collect()
}

#[test]
fn every_alert_is_made_to_fire() {
    let rules = printed();
    let named: BTreeSet<&str> = alerts_of(&rules).iter().map(|rule| text(rule, "alert")).collect();
    assert_eq!(named, FIRING.iter().map(|(alert, _)| *alert).collect());
}

#[tokio::test]
async fn every_alert_fires_of_a_daemon_in_its_state_and_ends_when_the_runbook_is_followed() {
    let Some(_) = offtake_tests::prometheus::installed("prometheus") else { return };
    let (broken, mut stalled, mut stopped) =
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

    let page = Runbook::read();
    broken.mend(&page).await;
    stopped.mend(&page).await;
    stalled.mend(&page).await;
    assert_eq!(page.followed(), FIRING.iter().map(|(alert, _)| (*alert).to_owned()).collect());
    until("every alert has ended", FIRES_WITHIN, async || {
        let left = firing(&prometheus).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} fires")) }
    })
    .await;
}
