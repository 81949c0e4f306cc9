//! Telling a tenant, in its own database, what the audits of its copies found.

use super::{Session, state};
use crate::cursors::Cursors;
use crate::destinations::{AuditResult, DestinationSpec};
use crate::{Error, Settings};

impl Session {
    /// Writes the results into the state rows, under their lock and if they are still those that
    /// the worker knows. Returns the cursors as they stand then; None: another worker moved them. A
    /// state table without the columns is left as it is.
    pub(in crate::destinations) async fn tell_audits(
        &self,
        spec: &DestinationSpec,
        expected: &Cursors,
        audits: &[AuditResult],
        settings: &Settings,
    ) -> Result<Option<Cursors>, Error> {
        let told = self.tell_in_transaction(spec, expected, audits, settings).await;
        if !matches!(told, Ok(Some(_))) {
            // If the connection is gone, so is its transaction.
            let _ = self.connection.batch_execute("rollback").await;
        }
        told.map_err(|error| self.explain(Error::destination(error)))
    }

    async fn tell_in_transaction(
        &self,
        spec: &DestinationSpec,
        expected: &Cursors,
        audits: &[AuditResult],
        settings: &Settings,
    ) -> Result<Option<Cursors>, tokio_postgres::Error> {
        let client = &self.connection;
        self.open_transaction(settings).await?;
        let locked = state::lock(client, &self.frame, &self.schema, &spec.tenant_id, &[]).await?;
        if locked.cursors != *expected {
            return Ok(None);
        }
        let mut cursors = expected.clone();
        if state::find(client, &self.schema).await?.audited {
            let tenant_id = &spec.tenant_id;
            state::tell_audits(client, &self.schema, tenant_id, audits, &mut cursors).await?;
        }
        client.batch_execute("commit").await?;
        Ok(Some(cursors))
    }
}
