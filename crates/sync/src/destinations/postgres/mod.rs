//! Postgres as a destination: the only place that composes SQL for one or reads its error codes.
//!
//! A batch is one transaction: the state rows are locked and compared, the rows are staged and
//! applied, the cursors are moved, and the transaction commits. Every transaction sets its own
//! settings, so that a pooler or a tenant's trigger cannot change what a statement means.

mod ahead;
mod apply;
mod audits;
mod begin;
mod columns;
mod copies;
mod frame;
mod group;
mod group_take_up;
mod health;
mod key_equality;
mod linked;
mod orphans;
mod purge;
mod restore;
mod sets;
mod state;
mod states;
mod tables;
mod take_up;
mod transact;
mod trial;
mod widening;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use offtake_mapping::{Identifier, Version};
use offtake_postgres::{
    Connection, ConnectionString, Dialer, Error as PostgresError, Fault, TEXT_FORMAT,
};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Trouble;
use crate::cursors::Cursors;
use crate::{Error, Settings, sql};
use copies::Staging;
use frame::Frame;
pub(crate) use group::GroupWritten;
pub(crate) use group_take_up::{GroupBeginning, GroupTakenUp};
pub use health::Health;
pub(super) use purge::Leaf;
pub use purge::{RemainingTable, Remains};
pub use restore::{
    Differences, DifferentRow, RestoreError, RestoreInto, RestoredTo, Restoring, StagedLines, Told,
};
pub use state::STATE_TABLE;
pub use trial::{Misfit, Tried, try_schema_sql};

/// A session with one destination, with what is known of this session alone.
pub struct Session {
    pub(super) connection: Connection,
    pub(super) schema: Identifier,
    user: String,
    /// Mapping versions that have their staging table in this session, as it is.
    staged: HashMap<Version, Staging>,
    frame: Frame,
    /// The mappings whose tables may change or drop what is written to them, as the open transaction
    /// found them.
    altering: BTreeSet<String>,
    /// The server stores text in another encoding than UTF-8; found when it is taken up.
    converts: AtomicBool,
}

impl Session {
    pub(super) async fn open(
        url: &ConnectionString,
        schema: &Identifier,
        dialer: &Dialer,
        application_name: &str,
    ) -> Result<Self, Trouble> {
        let connection = dialer.dial(url, application_name).await.map_err(|error| {
            let login = matches!(error, PostgresError::Login { .. });
            let mut trouble = Trouble::from(error);
            if login && trouble.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
                let right = format!("connect on database {}", quoted(url.database()));
                missing_right(&mut trouble, &right, url.user());
            }
            if trouble.is(&SqlState::INVALID_CATALOG_NAME) {
                trouble.reason = format!("no such database: {}", trouble.message);
            }
            trouble
        })?;
        Ok(Self {
            connection,
            schema: schema.clone(),
            user: url.user().to_owned(),
            staged: HashMap::new(),
            frame: Frame::default(),
            altering: BTreeSet::new(),
            converts: AtomicBool::new(false),
        })
    }

    pub(super) async fn cursors(&self, tenant_id: &str) -> Result<Cursors, Trouble> {
        let told = state::read(&self.connection, &self.schema, tenant_id);
        told.await.map_err(|error| self.explained(error.into()))
    }

    fn converts(&self) -> bool {
        self.converts.load(Ordering::Relaxed)
    }

    pub(super) fn forget_tenant_statement(&self, tenant_id: &str) -> String {
        state::forget_tenant(&self.schema, tenant_id)
    }

    /// Opens a transaction, with the settings of every such transaction.
    async fn open_transaction(&self, settings: &Settings) -> Result<(), tokio_postgres::Error> {
        begin_transaction(&self.connection, &self.schema, settings).await
    }

    /// The same for a transaction of one tenant. The statements of its frame are planned once per
    /// session: left to itself, the server plans the lock of the cursors each time, for 0.3 ms,
    /// because it supposes ten mappings where it plans for any number of them.
    async fn open_for_frame(&self, settings: &Settings) -> Result<(), tokio_postgres::Error> {
        let open = self.open_transaction(settings);
        let planned_once =
            self.connection.batch_execute("set local plan_cache_mode = force_generic_plan");
        let (opened, set) = tokio::join!(biased; open, planned_once);
        opened.and(set)
    }

    /// A destination's own trouble, with the statement that mends it where one is known.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Destination(trouble) => Error::Destination(self.explained(trouble)),
            other => other,
        }
    }

    fn explained(&self, mut trouble: Trouble) -> Trouble {
        if let (Some(cut), None) = (self.connection.cut(), &trouble.code) {
            let cut = Trouble::from(cut);
            let fault =
                if trouble.fault == Fault::OutcomeUnknown { trouble.fault } else { cut.fault };
            return Trouble { fault, ..cut };
        }
        if trouble.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
            let right = format!("usage, create on schema {}", self.schema.sql());
            missing_right(&mut trouble, &right, &self.user);
        }
        trouble
    }
}

fn missing_right(trouble: &mut Trouble, right: &str, user: &str) {
    trouble.reason = format!(
        "missing rights: {}; run there: grant {right} to {}",
        trouble.message,
        quoted(user)
    );
}

fn quoted(name: &str) -> String {
    Identifier::new(name).map_or_else(|_| String::new(), |name| name.sql())
}

async fn begin_transaction(
    client: &Client,
    schema: &Identifier,
    settings: &Settings,
) -> Result<(), tokio_postgres::Error> {
    let statement_ms = settings.statement_timeout.as_millis();
    let begin = sql::BEGIN_APPLY
        .replace("{schema}", &schema.sql())
        .replace("{statement_ms}", &statement_ms.to_string())
        .replace("{lock_ms}", &settings.lock_timeout.as_millis().to_string())
        .replace("{idle_ms}", &(statement_ms * 2).to_string());
    client.batch_execute(&format!("{begin}{TEXT_FORMAT}")).await
}
