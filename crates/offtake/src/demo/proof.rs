//! The end of the demo: every copy is compared with its query, in both directions, by the same code
//! as in `offtake verify`.

use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::{Identifier, Kind, MappingSet};
use offtake_postgres::Dialer;
use offtake_sync::destinations::{Place, Reader, Session};
use offtake_sync::verify::{Options, Report, VerifyTarget, verify};
use tokio_postgres::Client;

use super::stage::{Stage, Tenant, connect};

/// Nothing is dialled for a file.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How the copies of one tenant compare with their queries.
pub(super) struct Verdict {
    pub(super) tenant: String,
    pub(super) reports: Vec<Report>,
}

impl Verdict {
    pub(super) fn equal(&self) -> bool {
        self.reports.iter().all(Report::equal)
    }

    pub(super) fn rows(&self) -> u64 {
        self.reports.iter().map(|report| report.rows).sum()
    }

    /// The cells of the demo's last table: tenant, equal copies, rows, missing, surplus, different.
    pub(super) fn cells(&self) -> [String; 6] {
        let equal = self.reports.iter().filter(|report| report.equal()).count();
        let sum =
            |count: fn(&Report) -> u64| self.reports.iter().map(count).sum::<u64>().to_string();
        let different = sum(|report| report.different + report.unsettled + report.not_compared);
        [
            self.tenant.clone(),
            format!("{equal} of {}", self.reports.len()),
            self.rows().to_string(),
            sum(|report| report.missing),
            sum(|report| report.extra),
            different,
        ]
    }
}

/// Verifies every mapping of every tenant.
pub(super) async fn prove(
    stage: &Stage,
    mappings: &Arc<MappingSet>,
) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for tenant in &stage.tenants {
        verdicts.push(prove_tenant(stage, tenant, mappings).await?);
    }
    Ok(verdicts)
}

async fn prove_tenant(
    stage: &Stage,
    tenant: &Tenant,
    mappings: &MappingSet,
) -> anyhow::Result<Verdict> {
    let source = connect(&stage.application_url()).await?;
    if let Some(file) = Place::file(&tenant.url, None, None, &[stage.copies()]) {
        let place = file.map_err(|error| anyhow::anyhow!(error.why))?;
        let session = Session::open(&place, &Dialer::trusted(CONNECT_TIMEOUT), "demo").await?;
        return compare(&source, session.reader(), tenant, mappings).await;
    }
    let destination = connect(&tenant.url).await?;
    let schema = Identifier::new("public")?;
    let reader = Reader::Postgres { client: &destination, schema: &schema };
    compare(&source, reader, tenant, mappings).await
}

async fn compare(
    source: &Client,
    reader: Reader<'_>,
    tenant: &Tenant,
    mappings: &MappingSet,
) -> anyhow::Result<Verdict> {
    let kind = match reader {
        Reader::Postgres { .. } => Kind::Postgres,
        Reader::Sqlite(_) => Kind::Sqlite,
        Reader::D1(_) => Kind::D1,
    };
    let mut reports = Vec::new();
    for mapping in mappings.forms_of(kind, false) {
        let target = VerifyTarget { mapping, tenant_id: &tenant.id, tenant_at_source: &tenant.id };
        reports.push(verify(source, reader, &target, &Options::default()).await?);
    }
    Ok(Verdict { tenant: tenant.name.clone(), reports })
}
