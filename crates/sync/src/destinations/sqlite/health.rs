//! The state of a file, apart from its tables. It has no server: version and clock are ours.

use std::time::{SystemTime, UNIX_EPOCH};

use super::connection::Handle;
use super::{READ_LIMIT, Session, Trouble};
use crate::Error;
use crate::destinations::Health;

impl Session {
    pub(in crate::destinations) async fn health(&self) -> Result<Health, Trouble> {
        let look = |handle: &mut Handle| {
            let read_only = match handle.opened()? {
                Some(open) => open.connection.is_readonly("main").map_err(Error::destination)?,
                None => false,
            };
            Ok(read_only)
        };
        let read_only = self.told(self.caller.run(READ_LIMIT, None, look).await)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Health {
            version: format!("SQLite {}", rusqlite::version()),
            too_old: false,
            read_only,
            fires_no_triggers: false,
            superuser: false,
            role: String::new(),
            clock: now.as_secs_f64(),
        })
    }
}
