//! A Cloudflare D1 database as a destination: the only place that composes requests to one or reads
//! their errors.
//!
//! There is no connection with a transaction that stays open. One request is one batch of
//! statements, and the database runs a batch as one transaction. So a batch carries everything: it
//! moves the cursors, it compares what it was read for, and it writes the rows. What it compares are
//! guards: statements that insert nothing, or break a constraint and roll the batch back.
//!
//! A request whose answer is lost may still run later. Each batch has the id of its write, which it
//! leaves in the state rows, and which the next batch compares: so the same request may come any
//! number of times, and an older one that comes late changes nothing.

mod audits;
mod begin;
mod call;
mod database;
mod fence;
mod http;
mod lane;
mod look;
mod proof;
mod purge;
mod reach;
mod refusals;
mod size;
mod sql;
mod stage;
mod transact;
mod usage;
mod write;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use offtake_postgres::Fault;

use super::{Health, Trouble, sqlite};
use crate::Error;
use crate::cursors::Cursors;
use call::Statement;
pub use database::{D1Database, D1Settings, ENDPOINT, REQUESTS_PER_SECOND};
use http::Client;
use lane::Lane;
pub(crate) use stage::ROW_BYTES_MAX;
pub use usage::Spent;

/// A session with one database.
pub struct Session {
    database: Arc<D1Database>,
    client: Client,
    lane: Arc<Lane>,
}

impl Session {
    /// Nothing is asked: each request costs some of the token's budget.
    pub(super) fn open(database: &Arc<D1Database>) -> Self {
        let lane = Lane::of(database.token_hash(), database.requests_per_second());
        Self { database: database.clone(), client: Client::default(), lane }
    }

    pub(super) async fn cursors(&self, tenant_id: &str) -> Result<Cursors, Trouble> {
        let read = Statement::returning(sqlite::sql::READ_STATES, 7).with(tenant_id);
        match self.ask(&[read]).await {
            Ok(done) => Ok(done[0].rows.iter().map(sqlite::state::cursor).collect()),
            // No state table, or one that lacks columns.
            Err(trouble) if look::is_missing(&trouble) => Ok(Cursors::new()),
            Err(trouble) => Err(trouble),
        }
    }

    /// The rows of so many columns that a statement of `verify` selects.
    pub(crate) async fn select(
        &self,
        (statement, parameters): (&str, Vec<String>),
        columns: usize,
    ) -> Result<Vec<Vec<rusqlite::types::Value>>, Trouble> {
        let parameters = parameters.into_iter().map(Some);
        let select = Statement::returning(statement, columns).with_all(parameters);
        let mut done = self.ask(&[select]).await?;
        Ok(done.pop().map(|done| done.rows).unwrap_or_default())
    }

    pub(super) fn forget_tenant_statement(&self, tenant_id: &str) -> String {
        sqlite::state::forget_tenant(tenant_id)
    }

    /// One request, which tells whether the token opens the database. The clock is ours.
    pub(super) async fn health(&self) -> Result<Health, Trouble> {
        self.ask(&[Statement::new("select 1")]).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Health {
            version: "Cloudflare D1".to_owned(),
            too_old: false,
            read_only: false,
            fires_no_triggers: false,
            superuser: false,
            role: String::new(),
            clock: now.as_secs_f64(),
        })
    }
}

/// The trouble alone, for operations that have no other error.
fn told(error: Error) -> Trouble {
    match error {
        Error::Destination(trouble) => trouble,
        other => Trouble::new(Fault::Transient, None, other.to_string()),
    }
}
