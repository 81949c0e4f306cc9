//! The state of a destination's server, apart from its tables.

use super::{Session, Trouble};
use crate::sql;

/// The oldest version that Offtake writes to.
const VERSION_MIN: i32 = 140_000;

/// A destination's server, and the role that writes there.
#[derive(Debug, Clone)]
pub struct Health {
    pub version: String,
    /// Offtake does not write to servers of this version.
    pub too_old: bool,
    /// A standby, or set to read only.
    pub read_only: bool,
    /// Sessions of the role begin with `session_replication_role = replica`.
    pub fires_no_triggers: bool,
    pub superuser: bool,
    /// As SQL writes it.
    pub role: String,
    /// Seconds since 1970, by the server's clock.
    pub clock: f64,
}

impl Session {
    pub(in crate::destinations) async fn health(&self) -> Result<Health, Trouble> {
        let row = async {
            let rows = self.connection.query_typed(sql::READ_HEALTH, &[]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            Ok::<_, tokio_postgres::Error>(Some(Health {
                version: row.try_get("version")?,
                too_old: row.try_get::<_, i32>("version_number")? < VERSION_MIN,
                read_only: row.try_get("read_only")?,
                fires_no_triggers: row.try_get("fires_no_triggers")?,
                superuser: row.try_get("superuser")?,
                role: row.try_get("role")?,
                clock: row.try_get("clock")?,
            }))
        };
        let health = row.await.map_err(|error| self.explained(error.into()))?;
        let strange = || {
            Trouble::new(
                offtake_postgres::Fault::Fatal,
                None,
                "the server does not know its own role".to_owned(),
            )
        };
        health.ok_or_else(strange)
    }
}
