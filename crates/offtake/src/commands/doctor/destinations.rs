//! Every destination, asked now: whether it answers, what its server is, and the role there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use offtake_mapping::MappingSet;
use offtake_postgres::Dialer;
use offtake_sync::destinations::{CERTIFICATE_EXPIRES_SOON, DestinationSpec, Health, Session};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Finding, Patient};
use crate::commands::check::{ASKED_AT_ONCE, together};
use crate::commands::phrases::span;
use crate::outcome::Failure;

/// For login and answer of one destination.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What the destination's clock says is shown to its tenant only: how fresh the copy is.
const CLOCK_SECONDS_MAX: f64 = 60.0;

pub(super) async fn ask(
    patient: &Patient<'_>,
    set: &MappingSet,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let list = patient.context.spelt_destinations(&patient.source, set).await?;
    let turns = Arc::new(Semaphore::new(ASKED_AT_ONCE));
    let mut asked = JoinSet::new();
    for spec in list.usable {
        let (dialer, turns) = (patient.context.dialer.clone(), turns.clone());
        asked.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let late = || Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
            let answer = tokio::time::timeout(ANSWER_WITHIN, health(&dialer, &spec)).await;
            (spec.label(), answer.unwrap_or_else(|_| late()))
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    let refused = list.refused.into_iter();
    let refused: Vec<(String, String)> =
        refused.map(|r| (r.why, format!("{}/{}", r.tenant_id, r.name))).collect();
    let unreachable = answers.iter().filter_map(|(label, answer)| {
        let error = answer.as_ref().err()?;
        Some((error.clone(), label.clone()))
    });
    for (what, which) in together(unreachable.collect::<Vec<_>>().into_iter()) {
        findings.push(Finding::warning(
            "destination_unreachable",
            format!("{which}: {what}"),
            "nothing is written there; its changes are kept, and written when it answers again",
            "mend what it says: the server, its address, user, password or certificate",
        ));
    }
    for (what, which) in together(refused.into_iter()) {
        findings.push(Finding::warning(
            "destination_refused",
            format!("{which}: {what}"),
            "no daemon writes there",
            "mend what it says, in offtake.yaml or in what destinations.query returns",
        ));
    }
    for (label, health) in answers.iter().filter_map(|(l, a)| Some((l, a.as_ref().ok()?))) {
        findings.extend(of_server(label, health));
    }
    Ok(())
}

/// The server's own troubles, and what the dial showed.
struct Asked {
    health: Health,
    /// Seconds by which this machine's clock differs from the server's; the way there and back is
    /// left out.
    clock_differs: f64,
    /// None: it showed no certificate.
    certificate_expires_at: Option<SystemTime>,
}

async fn health(dialer: &Dialer, spec: &DestinationSpec) -> Result<Asked, String> {
    let session = Session::open(&spec.place, dialer, "offtake doctor").await;
    let session = session.map_err(|trouble| trouble.reason)?;
    let before = seconds();
    let health = session.health().await.map_err(|trouble| trouble.reason)?;
    let clock_differs = (before - health.clock).max(health.clock - seconds()).max(0.0);
    let certificate_expires_at = session.certificate_expires_at();
    Ok(Asked { health, clock_differs, certificate_expires_at })
}

fn of_server(label: &str, asked: &Asked) -> Vec<Finding> {
    let Asked { health, clock_differs, certificate_expires_at } = asked;
    let role = &health.role;
    let version = Finding::warning(
        "destination_version",
        format!("{label} is PostgreSQL {}", health.version),
        "Offtake is tested with 14 to 18 only",
        "upgrade that server",
    );
    let read_only = Finding::warning(
        "destination_read_only",
        format!("{label} takes no writes: a standby, or set to read only"),
        "nothing is written there; its changes are kept",
        "name the primary in its URL, or make it writable",
    );
    let replication_role = Finding::warning(
        "destination_replication_role",
        format!("sessions of {role} at {label} have session_replication_role = replica"),
        "triggers and foreign keys of the tenant do not fire for what Offtake writes",
        format!("run there: alter role {role} reset session_replication_role;"),
    );
    let superuser = Finding::note(
        "destination_role",
        format!("the role {role} at {label} is a superuser"),
        "Offtake needs no more than connect, and usage and create on one schema",
        "give it a role of its own there",
    );
    let clock = Finding::note(
        "destination_clock",
        format!("the clock of {label} differs by {}", span(*clock_differs)),
        "how fresh the copy is, is judged there by that clock",
        "keep that clock by network time",
    );
    let found = [
        (health.too_old, version),
        (health.read_only, read_only),
        (health.fires_no_triggers, replication_role),
        (health.superuser, superuser),
        (*clock_differs > CLOCK_SECONDS_MAX, clock),
    ];
    let found = found.into_iter().filter_map(|(holds, finding)| holds.then_some(finding));
    found.chain(certificate_expires_at.and_then(|at| of_certificate(label, at))).collect()
}

fn of_certificate(label: &str, expires_at: SystemTime) -> Option<Finding> {
    let now = SystemTime::now();
    if expires_at > now + CERTIFICATE_EXPIRES_SOON {
        return None;
    }
    let verb = if expires_at > now { "expires" } else { "expired" };
    let at = Timestamp::try_from(expires_at).ok()?.strftime("%Y-%m-%d %H:%M:%S UTC");
    Some(Finding::warning(
        "destination_certificate",
        format!("the certificate of the server of {label} {verb} on {at}"),
        "with a certificate that has expired it is blocked, unless its URL says sslmode=require",
        "renew the certificate at that server, or ask its owner to",
    ))
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
