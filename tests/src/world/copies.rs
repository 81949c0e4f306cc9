//! A tenant's copy, read and written as the tenant does, whatever its kind.

use super::{Plan, Tenant, World};
use crate::d1;

/// The kinds of destination that the suite of all kinds runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    Postgres,
    Sqlite,
    D1,
}

impl CopyKind {
    /// Whether this machine has what the kind needs; the test says so where it has not.
    pub fn installed(self) -> bool {
        match self {
            Self::Postgres | Self::Sqlite => true,
            Self::D1 => d1::installed(),
        }
    }
}

impl Plan {
    /// The destinations are of this kind.
    pub fn of_kind(self, kind: CopyKind) -> Self {
        match kind {
            CopyKind::Postgres => self,
            CopyKind::Sqlite => self.in_files(),
            CopyKind::D1 => self.in_d1(),
        }
    }
}

impl World {
    /// Runs statements, with `;` between them and nowhere else, in the tenant's copy.
    pub async fn execute_there(&self, tenant: &str, sql: &str) {
        let place = self.tenants.iter().position(|one| one.name == tenant).expect("it was planned");
        match (&self.d1, &self.tenants[place].file) {
            (Some(d1), _) => {
                let statements: Vec<&str> = sql.split(';').map(str::trim).collect();
                d1.execute(place, &statements).await;
            }
            (None, Some(file)) => file.execute(sql),
            (None, None) => self.tenants[place].destination.execute(sql).await,
        }
    }
}

impl Tenant {
    /// What a query of the copy returns: one line per row, columns separated by `|`.
    pub async fn try_query_there(&self, sql: &str) -> Result<String, String> {
        match &self.file {
            Some(file) => file.try_query_text(sql),
            None => self.destination.try_query_text(sql).await,
        }
    }

    /// The same, and the query must succeed.
    pub async fn query_there(&self, sql: &str) -> String {
        let found = self.try_query_there(sql).await;
        found.unwrap_or_else(|error| panic!("{}: {sql}\n  {error}", self.name))
    }
}
