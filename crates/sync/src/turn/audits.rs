//! The worker tells a tenant, in the tenant's own database, what the audits of its copies found.
//!
//! The worker does it and not the audit, because it has the fence: a state row that another session
//! wrote would look like another worker's to it.

use offtake_postgres::Fault;

use super::{Turn, within_deadline};
use crate::destinations::Link;
use crate::{Error, record};

impl Turn<'_> {
    /// Tells what is not told yet. A destination that cannot be told is no failure of its copies:
    /// where its server refuses, that is the end of it, and where it does not answer, the poller's
    /// sweep owes another turn.
    pub(super) async fn tell_audits(&self, link: &mut Link) -> Result<(), Error> {
        let Some(cursors) = link.cursors.take() else { return Ok(()) };
        let (context, id) = (self.context, self.claim.destination_id);
        let audits = record::untold_audits(&context.pool, id).await?;
        let spec = &self.registered.spec;
        let work = link.session.tell_audits(spec, &cursors, &audits, &context.settings);
        match within_deadline(context, id, work).await {
            Ok(told) => link.cursors = told,
            Err(Error::Destination(trouble)) if !passes(trouble.fault) => {
                tracing::info!(
                    event = "audit_untold",
                    tenant = spec.tenant_id,
                    destination = spec.name,
                    "{} does not tell its tenant what the audit found: {}",
                    spec.label(),
                    trouble.message
                );
                return record::audits_told(&context.pool, id, &audits).await;
            }
            Err(_) => return Ok(()),
        }
        match link.cursors {
            Some(_) => record::audits_told(&context.pool, id, &audits).await,
            None => Ok(()),
        }
    }
}

/// Another attempt may end otherwise.
fn passes(fault: Fault) -> bool {
    matches!(fault, Fault::Transient | Fault::Unreachable | Fault::OutcomeUnknown | Fault::TooSlow)
}
