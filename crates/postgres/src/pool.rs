//! The pool of source connections.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult,
};
use deadpool_postgres::ClientWrapper;

use crate::encoding::{holds_any_text, in_ascii};
use crate::settings::{SOURCE_SESSION, TEXT_FORMAT_SESSION};
use crate::wire_guard::AnswerTimeout;
use crate::{ConnectionString, Dialer, Error};

/// How long a caller waits for a connection. Longer than any transaction of ours should take:
/// reaching it means that the pool is too small or the source hangs, and the caller's loop should
/// say so rather than wait on.
const WAIT_FOR_CONNECTION_MAX: Duration = Duration::from_secs(30);

/// The server ends a statement at its timeout and reports that. If nothing arrives for this much
/// longer, which allows for a slow network, the server or the way to it is gone.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// The default of `sync.statement_timeout`, for a pool that was told nothing.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The name under which the source's `pg_stat_activity` shows a daemon's sessions. Commands that
/// look for daemons count the sessions of this name.
const NAME_OF_DAEMON: &str = "offtake";

/// The same for the sessions that a command has besides its own `offtake <command>`.
const NAME_OF_COMMAND: &str = "offtake command";

/// Source sessions, ready to use: text settings as [`TEXT_FORMAT`](crate::TEXT_FORMAT),
/// `row_security = off`, a limit on idle transactions. A session must be left as it was found:
/// settings by `SET LOCAL`, transactions by `transaction()`, which rolls back when dropped; where
/// that was not possible, [`PooledConnection::discard`] it.
#[derive(Clone)]
pub struct SourcePool {
    connections: Pool<Sessions>,
    answer_timeout: AnswerTimeout,
}

impl SourcePool {
    /// A command's pool. No connection is made before the first [`get`](Self::get). At least one
    /// connection is allowed.
    pub fn new(source: ConnectionString, connect_timeout: Duration, size: usize) -> Self {
        Self::named(NAME_OF_COMMAND, source, connect_timeout, size, AnswerTimeout::default())
    }

    /// A daemon's pool of connections to the same source, which a runtime of its own can drive.
    /// What [`expect_answers_within`](Self::expect_answers_within) says to one of them counts for
    /// both.
    #[must_use]
    pub fn sibling(&self, size: usize) -> Self {
        let Sessions { source, connect_timeout, .. } = self.connections.manager();
        let answer_timeout = self.answer_timeout.clone();
        Self::named(NAME_OF_DAEMON, source.clone(), *connect_timeout, size, answer_timeout)
    }

    fn named(
        name: &'static str,
        source: ConnectionString,
        connect_timeout: Duration,
        size: usize,
        answer_timeout: AnswerTimeout,
    ) -> Self {
        let dialer = Dialer::trusted(connect_timeout).answering_within(answer_timeout.clone());
        let sessions = Sessions {
            name,
            source,
            connect_timeout,
            dialer,
            answer_timeout: answer_timeout.clone(),
            holds_any_text: AtomicBool::new(true),
        };
        let connections = Pool::builder(sessions)
            .max_size(size.max(1))
            // The most recently used first, so that spare ones stay idle.
            .queue_mode(QueueMode::Lifo)
            .build()
            .unwrap_or_else(|_| unreachable!("a pool without timeouts needs no runtime"));
        Self { connections, answer_timeout }
    }

    /// Gives a session up, with an error, when the source owes an answer and sends nothing for five
    /// seconds longer than any statement may take. Applies at once to all sessions; before the
    /// first call they wait without end.
    pub fn expect_answers_within(&self, statement_timeout: Duration) {
        self.answer_timeout.set(statement_timeout + ANSWER_MARGIN);
    }

    /// A message as the source can store it. A database in another encoding than UTF-8 refuses a
    /// statement with a character that it lacks, so such a database gets ASCII only.
    pub fn storable<'t>(&self, message: &'t str) -> Cow<'t, str> {
        match self.connections.manager().holds_any_text.load(Ordering::Relaxed) {
            true => Cow::Borrowed(message),
            false => in_ascii(message),
        }
    }

    /// A connection, made now if none is free. Fails after 30 seconds of waiting.
    pub async fn get(&self) -> Result<PooledConnection, Error> {
        let what = "source connection";
        match tokio::time::timeout(WAIT_FOR_CONNECTION_MAX, self.connections.get()).await {
            Ok(Ok(session)) => Ok(PooledConnection { session: Some(session), underway: false }),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(_)) | Err(_) => Err(Error::Exhausted { what, waited: WAIT_FOR_CONNECTION_MAX }),
        }
    }
}

/// A connection that returns to its pool when dropped; dereferences to
/// `deadpool_postgres::ClientWrapper` (`prepare_cached`, `transaction`) and through it to
/// `tokio_postgres::Client`.
pub struct PooledConnection {
    /// Until it is dropped.
    session: Option<Object<Sessions>>,
    /// It is in the middle of [`uninterrupted`](Self::uninterrupted) work.
    underway: bool,
}

impl PooledConnection {
    /// How long a statement may take here, for `set local statement_timeout`: the server must end
    /// it before the answer timeout gives the session up.
    pub fn statement_timeout_ms(&self) -> u128 {
        let answer_timeout =
            Object::pool(self.session()).and_then(|pool| pool.manager().answer_timeout.get());
        answer_timeout
            .map_or(STATEMENT_TIMEOUT, |timeout| timeout.saturating_sub(ANSWER_MARGIN))
            .as_millis()
    }

    /// Closes the connection instead of returning it: after a deadline passed over a running
    /// statement, the next user would wait for that statement.
    pub fn discard(mut self) {
        self.underway = true;
    }

    /// Long work. Where it is dropped before its end, the connection is [discarded](Self::discard).
    pub async fn uninterrupted<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> T) -> T {
        self.underway = true;
        let done = work(self).await;
        self.underway = false;
        done
    }

    fn session(&self) -> &Object<Sessions> {
        self.session.as_ref().unwrap_or_else(|| unreachable!("only dropping takes it"))
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let (true, Some(session)) = (self.underway, self.session.take()) {
            drop(Object::take(session));
        }
    }
}

impl Deref for PooledConnection {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.session()
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        self.session.as_mut().unwrap_or_else(|| unreachable!("only dropping takes it"))
    }
}

/// How the pool makes a session, and knows that it is still one.
struct Sessions {
    /// What `pg_stat_activity` shows.
    name: &'static str,
    source: ConnectionString,
    connect_timeout: Duration,
    dialer: Dialer,
    answer_timeout: AnswerTimeout,
    /// The source's encoding has every character, or none that the server would look at.
    holds_any_text: AtomicBool,
}

impl Manager for Sessions {
    type Type = ClientWrapper;
    type Error = Error;

    async fn create(&self) -> Result<ClientWrapper, Error> {
        let connection = self.dialer.dial(&self.source, self.name).await?;
        connection.batch_execute(TEXT_FORMAT_SESSION).await?;
        connection.batch_execute(SOURCE_SESSION).await?;
        let holds_any_text = holds_any_text(&connection).await?;
        self.holds_any_text.store(holds_any_text, Ordering::Relaxed);
        let (client, driver) = connection.into_parts();
        Ok(ClientWrapper::new(client, driver))
    }

    async fn recycle(&self, session: &mut ClientWrapper, _: &Metrics) -> RecycleResult<Error> {
        if session.is_closed() { Err(RecycleError::message("closed")) } else { Ok(()) }
    }
}
