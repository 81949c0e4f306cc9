//! Telling a tenant, in its own database, what the audits of its copies found.

use super::call::{Failed, Statement};
use super::{Session, fence, look, sqlite};
use crate::Error;
use crate::cursors::Cursors;
use crate::destinations::{AuditResult, DestinationSpec};

impl Session {
    /// Writes the results into the state rows, if they are still those that the worker knows.
    /// Returns the cursors as they stand then; None: another worker moved them.
    pub(in crate::destinations) async fn tell_audits(
        &self,
        spec: &DestinationSpec,
        expected: &Cursors,
        audits: &[AuditResult],
    ) -> Result<Option<Cursors>, Error> {
        self.prove().await.map_err(Error::Destination)?;
        let (tenant, id) = (spec.tenant_id.as_str(), sqlite::state::write_id());
        let mut cursors = expected.clone();
        let mut batch = vec![fence::cursors(tenant, expected, &id)];
        for AuditResult { mapping, verified_at, differences } in audits {
            let Some(cursor) = cursors.get_mut(mapping) else { continue };
            cursor.written.clone_from(&id);
            batch.push(Statement::new(sqlite::sql::WRITE_AUDIT).with_all([
                Some(tenant.to_owned()),
                Some(mapping.clone()),
                verified_at.as_deref().map(sqlite::state::readable_time),
                differences.map(|count| count.to_string()),
                Some(id.clone()),
            ]));
        }
        match self.run(&batch).await {
            Ok(_) => Ok(Some(cursors)),
            Err(Failed::Guard(_)) => Ok(None),
            Err(Failed::Trouble(trouble)) if look::is_missing(&trouble) => Ok(None),
            Err(Failed::Trouble(trouble)) => Err(Error::Destination(trouble)),
        }
    }
}
