//! A SQLite file as a destination: the only place that composes statements for one or reads its
//! error codes.
//!
//! A batch is one transaction, which holds the file's write lock from its first statement on. The
//! state rows are compared, the rows are written one by one, the cursors are moved with the id of
//! this write, and the transaction commits. A row that the file refuses undoes only itself, so it is
//! known at once.
//!
//! Every call of SQLite may block. So each runs in a thread that may, for a limited time
//! (`connection.rs`), and what has to be told to the source in the middle of a batch is told between
//! two calls.

pub(in crate::destinations) mod apply;
mod audits;
mod begin;
mod cells;
mod connection;
mod damage;
mod file;
mod health;
mod log;
mod orphans;
pub(in crate::destinations) mod purge;
mod read;
pub(in crate::destinations) mod schema;
pub(in crate::destinations) mod sql;
pub(in crate::destinations) mod state;
pub(in crate::destinations) mod tables;
mod take_up;
mod transact;
mod trial;
mod trouble;
pub(in crate::destinations) mod value;
mod write;

use std::sync::Arc;
use std::time::Duration;

use super::Trouble;
use crate::Error;
use crate::cursors::Cursors;
pub(crate) use cells::Cells;
pub use connection::all_closed;
use connection::{Caller, Handle};
pub use file::{DatabaseFile, InvalidPlace};
pub(in crate::destinations) use trial::in_memory as try_in_memory;

/// How long a look at a file may take that has no setting of its own.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// A session with one file.
pub struct Session {
    file: Arc<DatabaseFile>,
    caller: Caller,
}

impl Session {
    /// Opens the file. One that is not there is made when the first copy begins.
    pub(super) async fn open(file: &Arc<DatabaseFile>) -> Result<Self, Trouble> {
        let session = Self { file: file.clone(), caller: Caller::new(file.clone()) };
        let open = |handle: &mut Handle| handle.opened().map(|_| ());
        session.told(session.caller.run(READ_LIMIT, None, open).await)?;
        Ok(session)
    }

    pub(super) fn closed(&self) -> bool {
        self.caller.is_given_up()
    }

    pub(super) fn give_up(&self) {
        self.caller.give_up();
    }

    pub(super) async fn cursors(&self, tenant_id: &str) -> Result<Cursors, Trouble> {
        let tenant_id = tenant_id.to_owned();
        let read = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(Cursors::new()) };
            take_up::read_only(open, |open| {
                let schema = open.schema().map_err(Error::destination)?;
                match state::stands(&open.connection, &schema).map_err(Error::destination)? {
                    true => state::read(&open.connection, &tenant_id).map_err(Error::destination),
                    false => Ok(Cursors::new()),
                }
            })
        };
        self.told(self.caller.run(READ_LIMIT, None, read).await)
    }

    pub(super) fn forget_tenant_statement(&self, tenant_id: &str) -> String {
        state::forget_tenant(tenant_id)
    }

    /// The trouble alone, for operations that have no other error.
    fn told<T>(&self, done: Result<T, Error>) -> Result<T, Trouble> {
        done.map_err(|error| match error {
            Error::Destination(trouble) => trouble,
            other => {
                let message = format!("{} was replaced: {other}", self.file.as_str());
                Trouble::new(offtake_postgres::Fault::Transient, None, message)
            }
        })
    }
}

/// Ends the transaction where it is still open, whatever came of it. After some errors SQLite has
/// ended it by itself; a statement that followed would then stand alone, and commit.
fn rolled_back<T>(handle: &mut Handle, done: Result<T, Error>) -> Result<T, Error> {
    if let Ok(open) = handle.in_transaction()
        && !open.connection.is_autocommit()
    {
        // The version of a schema that was rolled back is given again, to another one.
        open.schema = None;
        let rollback = open.connection.execute_batch("rollback").map_err(Error::destination);
        return done.and_then(|done| rollback.map(|()| done));
    }
    done
}
