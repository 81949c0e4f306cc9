//! What will become a trouble of a destination unless somebody looks, while everything still arrives.

use super::Session;
use crate::Settings;

impl Session {
    /// Why the destination is strained. None: it is not.
    pub(crate) async fn strain(&self, settings: &Settings) -> Option<String> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(session) => session.strain(settings.file_log_bytes).await,
            Self::D1(session) => session.strain(settings.d1_database_bytes),
        }
    }
}
