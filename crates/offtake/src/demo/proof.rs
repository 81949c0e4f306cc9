//! The end of the demo: every copy is compared with its query, in both directions, by the same code
//! as in `offtake verify`.

use std::sync::Arc;

use offtake_mapping::{Identifier, MappingSet};
use offtake_sync::destinations::Reader;
use offtake_sync::verify::{Options, Report, VerifyTarget, verify};

use super::stage::{Stage, Tenant, connect};

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
    let (source, destination) =
        (connect(&stage.application_url()).await?, connect(&tenant.url).await?);
    let schema = Identifier::new("public")?;
    let reader = Reader::Postgres { client: &destination, schema: &schema };
    let mut reports = Vec::new();
    for mapping in mappings.mappings() {
        let target = VerifyTarget { mapping, tenant_id: &tenant.id, tenant_at_source: &tenant.id };
        reports.push(verify(&source, reader, &target, &Options::default()).await?);
    }
    Ok(Verdict { tenant: tenant.name.clone(), reports })
}
