//! The connection with a file, and how it is called: each call runs in a thread that may block, for
//! a limited time.
//!
//! Dropping the future of a call does not stop the call. It notes that the session is given up: the
//! statement at work is interrupted, and no later one of the session is begun. The next
//! turn that writes to the file waits for it; see [`DatabaseFile::turn`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use offtake_postgres::Fault;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;

use super::file::{DatabaseFile, FileIdentity};
use super::schema::Schema;
use super::{Trouble, log};
use crate::Error;

/// The clock is looked at after so many steps of SQLite's virtual machine: some 20 microseconds.
const STEPS: i32 = 1000;

/// Statements that are kept prepared: five for each of some twenty mappings.
const PREPARED_MAX: usize = 128;

/// How long another program's lock is waited for at most. A wait holds a thread, and a destination that
/// is tried again later holds none.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// An open file.
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) file: FileIdentity,
    /// The write-ahead log beside it, while it has one.
    log: Option<FileIdentity>,
    /// What its schema was, at that version of it.
    pub(super) schema: Option<(i64, Arc<Schema>)>,
}

impl Open {
    /// A database that is no file, to try what would be made in one.
    pub(super) fn in_memory(connection: Connection) -> Self {
        Self { connection, file: FileIdentity::default(), log: None, schema: None }
    }
}

/// The file, and the connection with it while there is one.
pub(super) struct Handle {
    pub(super) file: Arc<DatabaseFile>,
    open: Option<Open>,
    clock: Arc<Clock>,
}

/// When a call must be over.
struct Clock {
    began: Instant,
    /// In microseconds since then.
    until: AtomicU64,
    given_up: AtomicBool,
}

impl Clock {
    fn allow(&self, limit: Duration) {
        let until = self.began.elapsed() + limit;
        self.until.store(until.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
            || self.began.elapsed().as_micros() > u128::from(self.until.load(Ordering::Relaxed))
    }
}

/// Calls into one file, one at a time.
pub(super) struct Caller {
    handle: Arc<Mutex<Handle>>,
    clock: Arc<Clock>,
}

/// Notes that a call was given up, unless it was awaited.
struct Awaited<'a>(Option<&'a Clock>);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(clock) = self.0 {
            clock.given_up.store(true, Ordering::Relaxed);
        }
    }
}

/// The right to write to the file. A call that goes on after it was given up keeps it.
pub(super) type WriteTurn = Arc<OwnedMutexGuard<()>>;

impl Caller {
    pub(super) fn new(file: Arc<DatabaseFile>) -> Self {
        let clock = Arc::new(Clock {
            began: Instant::now(),
            until: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
        });
        let handle = Handle { file, open: None, clock: clock.clone() };
        Self { handle: Arc::new(Mutex::new(handle)), clock }
    }

    /// Runs `work` in a thread that may block. SQLite ends a statement that runs beyond `limit`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        turn: Option<&WriteTurn>,
        work: impl FnOnce(&mut Handle) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (handle, clock, turn) = (self.handle.clone(), self.clock.clone(), turn.cloned());
        let mut awaited = Awaited(Some(&self.clock));
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut handle = handle.lock().unwrap_or_else(PoisonError::into_inner);
            clock.allow(limit);
            work(&mut handle)
        });
        let done = done.await;
        awaited.0 = None;
        done.unwrap_or_else(|_| {
            self.give_up();
            let message = "a call of SQLite ended in a panic".to_owned();
            Err(Error::Destination(Trouble::new(Fault::Fatal, None, message)))
        })
    }

    pub(super) fn give_up(&self) {
        self.clock.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.clock.given_up.load(Ordering::Relaxed)
    }
}

impl Drop for Caller {
    /// Closes the file. Where no other program has it open, that leaves one plain file, which is
    /// what people copy.
    fn drop(&mut self) {
        self.give_up();
        let handle = self.handle.clone();
        let close = move || {
            let mut handle = handle.lock().unwrap_or_else(PoisonError::into_inner);
            handle.close();
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(CLOSING.spawn_blocking_on(close, &runtime)),
            Err(_) => close(),
        }
    }
}

/// The files that are being closed, in threads that nobody waits for before the process ends.
static CLOSING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Waits until every file whose session has ended is closed, but no longer than a closing waits for
/// other programs. To be called before the process ends: it would leave write-ahead logs behind,
/// from which the next program that opens the files has to restore the last changes.
pub async fn all_closed() {
    CLOSING.close();
    // Whoever holds a lock for longer keeps the log alive anyhow.
    let _ = tokio::time::timeout(LOCK_WAIT * 2, CLOSING.wait()).await;
}

impl Handle {
    /// The open file. None: there is none. One that was moved away or replaced since it was opened
    /// is left, and the one that is there now is opened: SQLite would go on to write into the old
    /// file, which no reader opens any more.
    pub(super) fn opened(&mut self) -> Result<Option<&mut Open>, Error> {
        let there = self.file.look().map_err(Error::Destination)?;
        if self.open.as_ref().is_some_and(|open| there != Some(open.file)) {
            self.leave();
        }
        if let (None, Some(there)) = (&self.open, there) {
            self.open = Some(self.connect(there)?);
        }
        if let Some(open) = &mut self.open {
            open.log = self.file.log().or(open.log);
        }
        Ok(self.open.as_mut())
    }

    /// Closes a file that is not at its path any more. The last connection deletes the write-ahead
    /// log by its name: also where the log of another file is there by now.
    fn leave(&mut self) {
        if let Some(open) = self.open.as_ref().filter(|open| self.file.log() != open.log) {
            let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = open.connection.set_db_config(keep, true);
        }
        self.open = None;
    }

    /// The same; where there is no file, it is made.
    pub(super) fn made(&mut self) -> Result<&mut Open, Error> {
        if self.opened()?.is_none() {
            self.make()?;
        }
        self.open.as_mut().ok_or(Error::Stale)
    }

    fn make(&mut self) -> Result<(), Error> {
        let flags = flags() | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags(self.file.path(), flags);
        let connection = connection.map_err(Error::destination)?;
        // SQLite makes the file when it first locks it.
        connection.execute_batch("begin immediate; rollback").map_err(Error::destination)?;
        self.file.set_mode().map_err(Error::Destination)?;
        drop(connection);
        let there = self.file.look().map_err(Error::Destination)?.ok_or(Error::Stale)?;
        self.open = Some(self.connect(there)?);
        Ok(())
    }

    /// The file as it was opened by an earlier call, which has a transaction open.
    pub(super) fn in_transaction(&mut self) -> Result<&mut Open, Error> {
        self.open.as_mut().ok_or(Error::Stale)
    }

    /// Whether the file was moved away, deleted or replaced since it was opened. To be asked right
    /// after a transaction has begun, and again right before it commits: in between SQLite writes
    /// to the file that was opened, wherever that is, and reports success.
    pub(super) fn is_moved(&mut self) -> bool {
        let there = self.file.look().ok().flatten();
        let Some(open) = self.open.as_mut().filter(|open| there == Some(open.file)) else {
            return true;
        };
        open.log = self.file.log().or(open.log);
        false
    }

    /// Notes how long the write-ahead log is, and returns it.
    pub(super) fn note_log(&self) -> u64 {
        let bytes = self.file.log_bytes();
        log::note(&self.file, Some(bytes));
        bytes
    }

    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            log::note(&self.file, None);
            if open.connection.is_autocommit() {
                let _ = open.connection.execute_batch("pragma wal_checkpoint(truncate)");
            }
            // An open transaction is rolled back.
            drop(open);
        }
    }

    fn connect(&self, there: FileIdentity) -> Result<Open, Error> {
        let connection = Connection::open_with_flags(self.file.path(), flags());
        let mut connection = connection.map_err(Error::destination)?;
        self.prepare(&mut connection).map_err(Error::destination)?;
        if self.file.look().map_err(Error::Destination)? != Some(there) {
            return Err(Error::Stale);
        }
        Ok(Open { connection, file: there, log: None, schema: None })
    }

    fn prepare(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(LOCK_WAIT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
        // The file may be anybody's: nothing in its schema runs code, and no other file is opened.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.execute_batch(include_str!("../../../sql/sqlite/begin_session.sql"))?;
        let clock = self.clock.clone();
        connection.progress_handler(STEPS, Some(move || clock.is_over()))?;
        Ok(())
    }
}

/// No URI, so that no part of the path is an option. One thread at a time uses a connection.
pub(super) fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE
}
