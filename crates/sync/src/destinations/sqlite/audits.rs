//! Telling a tenant, in its own file, what the audits of its copies found.

use std::sync::Arc;

use super::connection::{Handle, LOCK_WAIT};
use super::{Session, rolled_back, state};
use crate::cursors::Cursors;
use crate::destinations::{AuditResult, DestinationSpec, STATE_TABLE};
use crate::{Error, Settings};

impl Session {
    /// Writes the results into the state rows, if they are still those that the worker knows.
    /// Returns the cursors as they stand then; None: another worker moved them.
    pub(in crate::destinations) async fn tell_audits(
        &self,
        spec: &DestinationSpec,
        expected: &Cursors,
        audits: &[AuditResult],
        settings: &Settings,
    ) -> Result<Option<Cursors>, Error> {
        let (tenant_id, expected) = (spec.tenant_id.clone(), expected.clone());
        let (audits, lock_timeout) = (audits.to_vec(), settings.lock_timeout);
        let turn = Arc::new(self.file.turn().await);
        let tell = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(None) };
            let told = (|| {
                open.connection.busy_timeout(lock_timeout.min(LOCK_WAIT))?;
                open.connection.execute_batch("begin immediate")?;
                let there = open.schema()?.table(STATE_TABLE).is_some();
                if !there || state::read(&open.connection, &tenant_id)? != expected {
                    return Ok(None);
                }
                let mut cursors = expected.clone();
                state::tell_audits(&open.connection, &tenant_id, &audits, &mut cursors)?;
                Ok(Some(cursors))
            })();
            let told = told.map_err(|error: rusqlite::Error| Error::destination(error));
            let told = match told {
                Ok(Some(_)) if handle.is_moved() => Ok(None),
                Ok(Some(cursors)) => {
                    let open = handle.in_transaction()?;
                    let committed = open.connection.execute_batch("commit");
                    committed.map(|()| Some(cursors)).map_err(Error::destination)
                }
                told => told,
            };
            rolled_back(handle, told)
        };
        self.caller.run(settings.statement_timeout, Some(&turn), tell).await
    }
}
