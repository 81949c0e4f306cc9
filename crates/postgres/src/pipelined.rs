//! Transactions of which several statements are sent without waiting in between.

use std::ops::Deref;

use futures_util::FutureExt as _;
use tokio_postgres::Error;

use crate::PooledConnection;

/// A transaction on a [`PooledConnection`] whose opening is sent together with its first statement:
/// on an idle system, waiting for the opening's answer would delay every change by a quarter of a
/// millisecond. Dropping it rolls back without waiting: the rollback is sent before the session's
/// next user can send anything.
pub struct PipelinedTransaction<'a> {
    session: &'a PooledConnection,
    ended: bool,
}

impl<'a> PipelinedTransaction<'a> {
    /// Sends `opening` (BEGIN and settings) and, right behind it, the statement that `first` sends
    /// when polled. Returns the transaction and the result of `first`. If the opening fails,
    /// the transaction is aborted or the session is gone, so `first` cannot succeed outside it.
    pub async fn open<T>(
        session: &'a mut PooledConnection,
        opening: &str,
        first: impl AsyncFnOnce(&PooledConnection) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let transaction = Self { session, ended: false };
        let (opened, first) = tokio::join!(biased; transaction.session.batch_execute(opening), first(transaction.session));
        opened?;
        Ok((transaction, first?))
    }

    /// A whole transaction without waiting in between: sends `opening`, what `work` sends when
    /// polled, and the commit. If the opening or a statement of `work` fails, the server answers
    /// the commit with a rollback, and the error is returned. `work` must not have to wait before
    /// it sends: its statements are prepared before.
    pub async fn whole<T>(
        session: &'a mut PooledConnection,
        opening: &str,
        work: impl AsyncFnOnce(&PooledConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut transaction = Self { session, ended: false };
        let session = transaction.session;
        let (opened, done, committed) = tokio::join!(
            biased;
            session.batch_execute(opening),
            work(session),
            session.batch_execute("commit")
        );
        opened?;
        let done = done?;
        committed?;
        transaction.ended = true;
        Ok(done)
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        self.session.batch_execute("commit").await?;
        self.ended = true;
        Ok(())
    }
}

impl Deref for PipelinedTransaction<'_> {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        self.session
    }
}

impl Drop for PipelinedTransaction<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // One poll puts the request into the session's queue. The session drops the answer.
            let _ = self.session.batch_execute("rollback").now_or_never();
        }
    }
}
