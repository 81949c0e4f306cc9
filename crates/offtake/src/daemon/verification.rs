//! What `POST …/verify` does inside the daemon: compare one destination's copies with their
//! queries.

use std::sync::Arc;

use offtake_admin::Verifier;
use offtake_admin::verified::{
    Compared, ComparedSide, Comparison, DifferenceKind, DifferingKey, UnprintedRow,
};
use offtake_postgres::Dialer;
use offtake_sync::audit;
use offtake_sync::destinations::{Registered, Registry, Session};
use offtake_sync::verify::{Kind, Options, Report, SideName, VerifyTarget, verify};
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::context::destination_dialer;
use offtake_postgres::chain;

/// A comparison has connections of its own: one that is abandoned half-way leaves transactions
/// open, which end with the connection.
pub(super) fn verifier(
    registry: Registry,
    configuration: watch::Receiver<Arc<Configuration>>,
) -> Verifier {
    Box::new(move |tenant, name| {
        let registered = registry
            .all()
            .values()
            .find(|r| r.spec.tenant_id == tenant && r.spec.name == name)
            .cloned();
        let configuration = configuration.borrow().clone();
        Box::pin(async move {
            let registered = registered
                .ok_or_else(|| format!("this daemon does not know {tenant}/{name} yet"))?;
            compare(&registered, &configuration).await
        })
    })
}

async fn compare(
    registered: &Registered,
    configuration: &Configuration,
) -> Result<Vec<Compared>, String> {
    let source = Dialer::trusted(configuration.sync.connect_timeout)
        .dial(&configuration.source.url, "offtake verify")
        .await
        .map_err(|error| format!("the source: {}", error.message()))?;
    let dialer = destination_dialer(configuration);
    let destination = Session::open(&registered.spec.place, &dialer, "offtake verify").await;
    let destination = destination.map_err(|trouble| trouble.message)?;
    let mut found = Vec::new();
    for mapping in registered.mappings.iter() {
        let name = mapping.name();
        let target = VerifyTarget {
            mapping,
            tenant_id: &registered.spec.tenant_id,
            tenant_at_source: &registered.spec.tenant_at_source,
        };
        let options = Options::default();
        let began = audit::begun(&source).await;
        let compared = verify(&source, destination.reader(), &target, &options);
        let outcome = Box::pin(compared).await;
        if let Ok(report) = &outcome {
            let found = (report, began.as_deref());
            audit::note_equal(&source, &destination, &registered.spec, mapping, found).await;
        }
        let mapping = name.to_owned();
        found.push(match outcome {
            Ok(report) => {
                let equal = report.equal();
                Compared { mapping, equal, report: Some(told(report)), error: None }
            }
            Err(error) => {
                Compared { mapping, equal: false, report: None, error: Some(chain(&error)) }
            }
        });
    }
    Ok(found)
}

/// The report as HTTP tells it, without a value.
fn told(report: Report) -> Comparison {
    let kind = |kind| match kind {
        Kind::Missing => DifferenceKind::Missing,
        Kind::Extra => DifferenceKind::Extra,
        Kind::Different => DifferenceKind::Different,
    };
    let side = |side| match side {
        SideName::Source => ComparedSide::Source,
        SideName::Destination => ComparedSide::Destination,
    };
    let differing = report.differences.into_iter();
    let differing =
        differing.map(|d| DifferingKey { kind: kind(d.kind), key: d.key, columns: d.columns });
    let unprinted = report.unprinted.into_iter();
    let unprinted =
        unprinted.map(|u| UnprintedRow { key: u.key, side: side(u.side), error: u.error });
    Comparison {
        mapping: report.mapping,
        tenant: report.tenant,
        rows: report.rows,
        missing: report.missing,
        extra: report.extra,
        different: report.different,
        unsettled: report.unsettled,
        not_compared: report.not_compared,
        rechecked: report.rechecked,
        disagreements: report.disagreements,
        disagreement: report.disagreement,
        differences: differing.collect(),
        unprinted: unprinted.collect(),
    }
}
